"""Which answers count as one."""

import pytest

from k15.rewards import votes


@pytest.mark.parametrize(
  ('reward', 'response', 'answer'),
  [
    ('math_answers', 'So it is \\boxed{\\frac12}.', '\\frac12'),
    ('math_answers', '<think>never ends', None),
    ('exact_answer', 'thus\n#### 12 \nmore', '12'),
    ('exact_answer', 'thus 12', None),
    ('exact_answer', '####', None),
    ('code_tests', 'so\n```python\nx = 1\n```', 'x = 1\n'),
    ('code_tests', 'no program', None),
    ('r1_format', 'as it is', 'as it is'),
  ],
)
def test_what_a_response_votes_for(reward, response, answer):
  assert votes.answer_of(response, reward, '####') == answer


@pytest.mark.parametrize(
  ('a', 'b', 'same'),
  [
    ('\\frac{1}{2}', '0.5', True),
    ('0.5', '\\frac{1}{3}', False),
    ('x^2+1', '1+x^2', True),
    ('\\text{east}', 'east', True),
    ('east', 'west', False),
  ],
)
def test_mathematics_is_equal_by_value(a, b, same):
  assert votes.equal_by('math_answers')(a, b) is same
  assert not votes.equal_by('exact_answer')(a, b)


def test_anything_else_is_equal_letter_by_letter():
  assert votes.equal_by('code_tests')('x = 1', 'x = 1')
