"""Golden strings of the rules."""

import pytest

from k15.rewards import rules
from k15.rewards import thinking
from k15.rewards.verdict import Verdict

GOOD = '<think> 3 + 4 </think> <answer> 7 </answer>'


def test_template_is_that_of_the_paper():
  prompt = rules.r1_prompt('What is {3} + 4?')
  assert prompt.startswith('A conversation between User and Assistant. The ')
  assert prompt.endswith(
    'i.e., <think> reasoning process here </think> <answer> answer here '
    '</answer>. User: What is {3} + 4?. Assistant:'
  )


@pytest.mark.parametrize(
  ('response', 'fault'),
  [
    (GOOD, ''),
    (f'\n{GOOD}\n', ''),
    ('<think>a\nb</think><answer>\\boxed{7}</answer>', ''),
    ('', 'missing <think>'),
    ('7', 'missing <think>'),
    ('3 + 4 </think> <answer> 7 </answer>', 'missing <think>'),
    ('<think> 3 + 4 <answer> 7 </answer>', 'missing </think>'),
    ('<think> 3 + 4 </think> 7', 'missing <answer>'),
    ('<think> 3 + 4 </think> <answer> 7', 'missing </answer>'),
    ('<think> <think> a </think> </think> <answer> 7 </answer>',
     'repeated <think>'),
    (GOOD + GOOD, 'repeated <think>'),
    ('<think> a </think> <answer> <answer> 7 </answer> </answer>',
     'repeated <answer>'),
    ('<think> a </think> <answer> 7 </answer> </answer>',
     'repeated </answer>'),
    ('<think> a <answer> 7 </answer> </think>', 'order'),
    ('<answer> 7 </answer> <think> a </think>', 'order'),
    ('</think> a <think> <answer> 7 </answer>', 'order'),
    (f'So {GOOD}', 'outside'),
    (f'{GOOD} So it is.', 'outside'),
    ('<think> a </think> so <answer> 7 </answer>', 'outside'),
    ('<think> </think> <answer> 7 </answer>', 'empty'),
    ('<think> a </think> <answer>\n</answer>', 'empty'),
    ('< think > a </ think > <answer> 7 </answer>', 'missing <think>'),
    ('<THINK> a </THINK> <answer> 7 </answer>', 'missing <think>'),
  ],
)  # fmt: skip
def test_format(response, fault):
  assert rules.format_fault(response) == fault
  kind = 'wrong' if fault else 'correct'
  assert rules.verify_format(response, '7') == Verdict(kind)


def test_format_after_a_prompt_that_opened_the_thinking():
  opening = thinking.opening_of('Assistant: <think>\n')
  assert not rules.format_fault(f'{opening}a </think> <answer> 7 </answer>')
  assert rules.format_fault(opening + GOOD) == 'repeated <think>'


@pytest.mark.parametrize(
  ('response', 'latin', 'cjk'),
  [
    ('<think> We add three and four </think> 答案是七', 1.0, 0.0),
    ('<think> 我们把三和四相加 </think> So it is seven', 0.0, 1.0),
    # 3 English words, 2 ideographs.
    ('<think> so the sum 相加 </think>', 3 / 5, 2 / 5),
    # Russian and Japanese kana are neither; ideographs in Japanese are cjk.
    ('<think> sum сумма </think>', 1 / 2, 0.0),
    ('<think> sum カタカナ </think>', 1 / 2, 0.0),
    # Code, formulas, LaTeX, links, digits and names in formulas do not count.
    ('<think> 设 x 为 `value` 12 $a cd$ \\(ef\\) \\pi http://a.bc </think>',
     0.0, 1.0),
    ('<think> ```python\nfor 数 in range(3):\n``` done </think>', 1.0, 0.0),
    ('<think> naïve café don\'t </think>', 1.0, 0.0),
    ('no tags at all', 1.0, 0.0),
    ('<think> never closed', 1.0, 0.0),
    ('<think> 1 + 2 = 3 </think> words', 0.0, 0.0),
    ('', 0.0, 0.0),
  ],
)  # fmt: skip
def test_language_consistency(response, latin, cjk):
  assert rules.language_consistency(response, 'latin') == pytest.approx(latin)
  assert rules.language_consistency(response, 'cjk') == pytest.approx(cjk)


def test_unknown_script():
  with pytest.raises(ValueError, match="'greek' is none of"):
    rules.language_consistency('', 'greek')


def test_total_is_the_sum():
  verify = lambda response, reference: Verdict(reference)  # noqa: E731
  assert rules.total(GOOD, 'correct', verify) == 2.0
  assert rules.total(GOOD, 'wrong', verify) == 1.0
  assert rules.total('7', 'correct', verify) == 1.0
  assert rules.total(GOOD, 'error', verify) is None
  spoken = GOOD.replace('3 + 4', 'three plus 四')
  assert rules.total(spoken, 'correct', verify, 'latin') == 2 + 2 / 3


def test_a_megabyte_of_anything_is_quick():
  for unit in ('<think>', '`', '$', '\\(', '```', 'a' * 99 + '$', '我'):
    text = unit * (2**20 // len(unit))
    rules.format_fault(text)
    rules.language_consistency(text, 'latin')
