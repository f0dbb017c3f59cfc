"""What counts as a choice, and what a response gains by naming many."""

import pytest

from k15.config import routes
from k15.rewards import choices

REFERENCE = choices.of_options('B', ['3 cm', '5 cm', '$\\frac{1}{2}$', 'a dog'])


def kind(response, reference=REFERENCE):
  return choices.verify(response, reference).kind


@pytest.mark.parametrize(
  'response',
  [
    '\\boxed{B}', '\\boxed{(B)}', '\\boxed{\\text{B}}', '\\boxed{B. 5 cm}',
    '\\boxed{5 cm}', '\\boxed{5\\text{ cm}}', 'So it is 5 cm.\n#### B', 'B',
    '(B)', 'B. 5 cm', 'The answer is (B).', 'The correct option is **B**.',
    'Answer: B', 'The answer is A. Wait, no: the answer is B.',
    'The answer is A.\n\nI was wrong, so the final answer is B',
    '\\boxed{A} is wrong. It has to be longer. \\boxed{B}',
    '<think>the answer is A</think>The answer is B.',
  ],
)  # fmt: skip
def test_the_letter_or_its_option_stated_last(response):
  assert kind(response) == 'correct'


@pytest.mark.parametrize(
  'response',
  [
    '', '\\boxed{A}', '\\boxed{}', 'The answer is B. No, the answer is C.',
    'The answer is a dog.', '\\boxed{3 cm, 5 cm}', '\\boxed{A}, \\boxed{B}',
    'A B C D', '<think>the answer is B', '\\boxed{E}', '\\boxed{1/2}',
    '\\boxed{' + 'B' * 3000 + '}', 'A or B', 'It may be B or not.',
  ],
)  # fmt: skip
def test_another_or_many_or_none(response):
  assert kind(response) == 'wrong'


def test_options_are_compared_as_mathematics():
  reference = choices.of_options('C', ['3 cm', '5 cm', '$\\frac{1}{2}$'])
  assert kind('\\boxed{0.5}', reference) == 'correct'
  # Two options that are one value: nobody knows which is meant.
  reference = choices.of_options('A', ['0.5', '1/2'])
  assert kind('\\boxed{0.50}', reference) == 'wrong'
  assert kind('\\boxed{A}', reference) == 'correct'


@pytest.mark.parametrize(
  'reference, right, wrong',
  [
    # 12.5 shows one decimal: 12.45 to 12.55.
    ('12.5', ['12.5', '12.46', '12.5 cm', '$12.549$'], ['12.4', '13']),
    ('4', ['4', '4.0', '4.2', '3.5'], ['5', '4.6', 'four or five', '14']),
    ('0.50', ['1/2', '0.5', '.504'], ['0.51', '-0.5']),
    ('1200', ['1,200', '1200.3'], ['1201', '12']),
    ('red', ['red', 'Red', '\\text{red}'], ['blue', 'not red']),
    ('-3', ['-3', '−3'], ['3']),
  ],
)
def test_a_number_is_rounded_as_the_reference_is_written(
  reference, right, wrong
):
  for answer in right:
    assert kind(f'\\boxed{{{answer}}}', reference) == 'correct', answer
  for answer in wrong:
    assert kind(f'\\boxed{{{answer}}}', reference) != 'correct', answer


def test_one_of_several_answers():
  reference = choices.of_several(['apple tree', '7'])
  assert kind('\\boxed{7}', reference) == 'correct'
  assert kind('\\boxed{apple tree}', reference) == 'correct'
  assert kind('\\boxed{8}', reference) == 'wrong'
  assert choices.of_several(['7']) == '7'


def test_a_number_that_is_too_long_is_no_news():
  assert kind('\\boxed{' + '9' * 5000 + '}', '4') != 'correct'
  assert kind('\\boxed{1e999999999}', '4') != 'correct'


def test_no_reward_of_training_is_a_choice():
  assert not set(routes.FOR_EVALUATION) & set(routes.REWARDS)
  with pytest.raises(ValueError, match="no reward 'choice'"):
    routes.routes_of('choice', ())
  with pytest.raises(ValueError, match="no reward 'choice'"):
    routes.routes_of('exact_answer', ('x:choice',))
