"""What is left out of a model's own responses: R1's three faults."""

import pytest

from k15.curation import readable

LATIN = readable.Readable('latin', 0.75, longest_paragraph=40)


@pytest.mark.parametrize(
  ('response', 'fault'),
  [
    ('<think>\nso it is 7\n</think>\n7', ''),
    ('<think>\n3+4=7\n</think>\n7', ''),  # Numbers are of no language.
    ('', ''),
    # Words 'so', 'it', 'is' and one ideograph: 3 of 4.
    ('<think>so it is 得</think>7', ''),
    ('<think>so it is 得到</think>7', 'mixed_languages'),
    ('<think>得到</think>7', 'mixed_languages'),
    # What is said is no thinking.
    ('<think>so it is</think>得到', ''),
    ('<think>a\n```\nx\n```\n</think>7', 'code_block'),
    ('<think>' + 'so ' * 20 + '</think>7', 'long_paragraph'),
    ('<think>' + 'so so so so\n \n' * 9 + '</think>7', ''),
  ],
)
def test_faults(response, fault):
  assert LATIN.fault(response) == fault


def test_each_can_be_switched_off():
  anything = readable.Readable('', drop_code_blocks=False)
  assert not anything.fault('<think>so 得到 ' + '```' * 1000)


def test_another_script():
  chinese = readable.Readable('cjk', 1.0)
  assert not chinese.fault('<think>得到 7</think>7')
  assert chinese.fault('<think>得到 so</think>7') == 'mixed_languages'
