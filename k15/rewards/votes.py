"""Which samples of a problem give the same answer: for majority votes."""

from collections.abc import Callable

from k15.rewards import answer_text
from k15.rewards import code_tests
from k15.rewards import exact_answer
from k15.rewards import math_answers


def answer_of(response: str, reward: str, marker: str) -> str | None:
  """The answer a response votes for, as text; None if it gives none.

  Args:
    response: of a policy, with what its prompt has written of it.
    reward: what judges it, a name of `routes.REWARDS`.
    marker: of exact_answer.
  """
  if reward == 'math_answers':
    return answer_text.final_answer(response) or None
  if reward == 'exact_answer':
    return exact_answer.final_answer(response, marker) or None
  if reward == 'code_tests':
    return code_tests.extract_program(response)
  return response


def equal_by(reward: str) -> Callable[[str, str], bool]:
  """Whether two answers are one: as mathematics, or letter by letter."""
  return _same_mathematics if reward == 'math_answers' else _same_text


def _same_mathematics(answer, other):
  # Boxed, or an answer of several words would be searched for a number.
  response = f'\\boxed{{{answer}}}'
  return math_answers.verify(response, other).kind == 'correct'


def _same_text(answer, other):
  return answer == other
