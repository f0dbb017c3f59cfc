"""Golden strings of the rules.

The answer after the marker, equal as text or as a number.
"""

import pytest

from k15.rewards import rules
from k15.rewards import thinking
from k15.rewards.verdict import Verdict

GOOD = '<think> 3 + 4 </think> <answer> 7 </answer>'


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


def test_a_verdict_earns_the_share():
  verdict = rules.verify_language(
    '<think> so the sum 相加 </think>', script='cjk'
  )
  assert (verdict.kind, verdict.reward) == ('wrong', pytest.approx(2 / 5))
  assert rules.verify_language('all of one', script='latin').kind == 'correct'


def test_a_megabyte_of_anything_is_quick():
  for unit in ('<think>', '`', '$', '\\(', '```', 'a' * 99 + '$', '我'):
    text = unit * (2**20 // len(unit))
    rules.format_fault(text)
    rules.language_consistency(text, 'latin')


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    ('work\n#### 42', '42'),
    ('#### 1\nwait\n####  2 \nmore', '2'),  # The last marker, its line only.
    ('##### 7', '7'),
    ('#### ', ''),
    ('####\n42', ''),
    ('####7\r\nend', '7'),
    ('no marker', None),
    ('', None),
  ],
)
def test_final_answer(text, answer):
  assert rules.final_answer(text, '####') == answer


@pytest.mark.parametrize(
  ('answer', 'reference'),
  [
    ('42', '42'),
    ('42', ' 42 '),
    ('x + 1', 'x + 1'),
    ('1,080', '1080'),
    ('1080.00', '1,080'),
    ('+5', '5'),
    ('-0.5', '-1/2'),
    ('.5', '2/4'),
    ('007', '7'),
    ('0', '-0'),
    ('12,345,678.5', '12345678.50'),
  ],
)
def test_correct(answer, reference):
  assert rules.is_correct(f'so #### {answer}', reference, '####')
  assert rules.is_correct(f'so #### {answer}', reference, '####')


@pytest.mark.parametrize(
  ('answer', 'reference'),
  [
    ('43', '42'),
    ('42 apples', '42'),
    ('$42', '42'),
    ('', '42'),
    ('', ''),  # An empty answer is never correct.
    ('1,08', '108'),  # Thousands have three digits.
    ('1,0800', '10800'),
    ('1e2', '100'),
    ('1_000', '1000'),
    ('٤٢', '42'),  # Other scripts' digits are text.
    ('1/0', '1/0.0'),
    ('0.3333', '1/3'),
    ('--5', '5'),
    ('1/2/1', '1/2'),
    ('1/-2', '-1/2'),
    ('5.', '5'),
    ('.', '0'),
    ('/2', '0'),
    ('nan', 'NaN'),
    ('inf', 'Infinity'),
    ('40+2', '42'),
    ('__import__("os")', '42'),
  ],
)
def test_wrong(answer, reference):
  assert not rules.is_correct(f'#### {answer}', reference, '####')


def test_division_by_zero_is_text():
  assert rules.is_correct('#### 1/0', '1/0', '####')
  assert not rules.is_correct('#### 2/0', '1/0', '####')


def test_no_marker_is_wrong_even_with_the_answer_in_the_text():
  assert not rules.is_correct('the answer is 42', '42', '####')


def test_long_numbers_are_compared_as_text():
  # 64 characters are still a number, 65 are not.
  assert rules.is_correct('#### ' + '0' * 62 + '42', '42', '####')
  assert not rules.is_correct('#### ' + '0' * 63 + '42', '42', '####')
  assert rules.is_correct('#### ' + '9' * 99, '9' * 99, '####')


def test_hostile_text_is_read_to_its_end():
  # What took quadratic time would not come back.
  for text in ('9' * 10**6, '1,' * 10**6, '#' * 10**6, '#### ' * 10**5):
    rules.is_correct(f'#### {text}', '42', '####')
    rules.is_correct(text, '42', '####')


@pytest.mark.parametrize('missing', ['nan', 'NaN', 'inf', '-inf'])
def test_a_number_that_is_missing_is_never_right(missing):
  assert not rules.is_correct(f'#### {missing}', missing, '####')
