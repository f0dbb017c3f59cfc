"""Reward of a mathematical answer: verify(response, reference) -> Verdict.

A cascade, cheapest rung first:

  1. the final answer (answer_text.py) is the reference, letter by letter;
  2. both are the same text, or the same number, expression, tuple, set,
     interval, matrix or equation (answer_reading.py, answer_equality.py):
     written here, bounded, and never wrong about what it understands;
  3. what that does not read goes to math-verify, in a worker process with a
     time limit (answer_workers.py).

Nothing of a response is ever executed.  'wrong' is an answer that is read and
differs, and a response that gives none: no box, tag or statement, a box or a
thinking that is never closed.  'error' is an answer that nobody could judge:

  unparsable   markup that no rung reads, or too long, or numbers too large to
               compare; 'unparsable: reference' blames the reference
  timeout      its time was over
  crash        a worker died otherwise; memory: for want of it
"""

import re
import time

from k15.rewards import answer_equality
from k15.rewards import answer_numbers
from k15.rewards import answer_reading
from k15.rewards import answer_scalars
from k15.rewards import answer_shapes
from k15.rewards import answer_text
from k15.rewards import answer_units
from k15.rewards import answer_values
from k15.rewards import answer_workers
from k15.rewards.verdict import Verdict

MAX_NESTING = 40
OWN_SECONDS = 0.15  # of processor time, for rung 2
# Not 58,500, whose comma groups its digits.
_DECIMAL_COMMA = re.compile(r'-?(?:0,\d+|\d+,(?!\d{3}$)\d+)')
_PAIR = re.compile(r'-?[1-9],\d')


def verify(
  response: str, reference: str, pool: answer_workers.Pool | None = None
) -> Verdict:
  """Whether a response ends on the reference's answer.

  Args:
    response: with what its prompt has written of it.
    reference: an answer, or a whole solution.
    pool: of workers for rung 3; without one, those that the process shares.
  """
  start = time.perf_counter()
  try:
    outcome = _judge(response, reference)
  except Exception as error:  # Whatever hostile text raises.
    outcome = f'error: crash: {type(error).__name__}'
  if isinstance(outcome, tuple):
    outcome, _ = (pool or answer_workers.shared()).judge(*outcome)
  kind, _, reason = outcome.partition(': ')
  return Verdict(kind, reason, seconds=time.perf_counter() - start)


def _judge(response, reference):
  """'kind' or 'kind: reason', or the (gold, answer) a worker has to judge."""
  answer = answer_text.final_answer(response)
  if answer_text.is_missing(reference):
    return 'error: unparsable: reference'
  if not answer:
    return 'wrong'
  if answer == reference:
    return 'correct'
  gold = answer_text.reference_answer(reference)
  if answer == gold:
    return 'correct'
  if not gold or len(gold) > answer_reading.MAX_LENGTH:
    return 'error: unparsable: reference'
  if len(answer) > answer_reading.MAX_LENGTH:
    return f'error: unparsable: {len(answer)} characters'
  return _compare(answer_reading.read(gold), answer_reading.read(answer))


def _compare(gold, answer):
  if answer_reading.same_text(gold, answer):
    return 'correct'
  if gold.choice and answer.choice and gold.choice != answer.choice:
    return 'wrong'
  if gold.behind_choice and answer.behind_choice:
    return _compare(gold.behind_choice, answer.behind_choice)
  # One of both names a choice, the other says what it is.
  if not gold.choice and answer.behind_choice:
    return _compare(gold, answer.behind_choice)
  if not answer.choice and gold.behind_choice:
    return _compare(gold.behind_choice, answer)
  for same in (answer_reading.same_time, answer_reading.same_numeral):
    said = same(gold, answer)
    if said is not None:
      return 'correct' if said else 'wrong'
  try:
    with answer_values.limited_to(OWN_SECONDS):
      understood = _same_mathematics(gold, answer)
  except answer_numbers.TooLong:
    return 'error: timeout'
  except answer_numbers.TooLarge as error:
    return f'error: unparsable: too large: {error}'
  except RecursionError:
    return 'error: unparsable: nested too deeply'
  if understood is not None:
    return 'correct' if understood else 'wrong'
  if gold.has_words or answer.has_words:
    return 'wrong'
  if _nesting(answer.markup) > MAX_NESTING:
    return 'error: unparsable: nested too deeply'
  return gold.markup, answer.markup


def _same_mathematics(gold, answer):
  """True or False, None where one of both is not read."""
  factors = answer_units.factors(gold.unit, answer.unit)
  read = None
  for ours, theirs in _trees(gold, answer):
    if not factors:
      return False
    for factor in factors:
      scaled = ('mul', theirs, ('num', factor, None))
      try:
        if answer_equality.equal(ours, theirs if factor == 1 else scaled):
          return True
        if (
          gold.integer
          and answer.integer
          and (answer_scalars.same_progression(ours, theirs, gold.integer))
        ):
          return True
        read = False
      except answer_numbers.Undefined:
        continue
  if read is False and _comma_is_point(gold, answer):
    return True
  return read


def _trees(gold, answer):
  """Pairs of trees, one for each meaning of a comma in a number."""
  pairs = []
  for ours, theirs in zip(gold.trees, answer.trees, strict=True):
    ours, theirs = ours or gold.trees[0], theirs or answer.trees[0]
    if ours is None and theirs and theirs[0] != 'rel':
      ours = gold.stated
    if theirs is None and ours and ours[0] != 'rel':
      theirs = answer.stated
    if ours is None or theirs is None:
      continue
    if gold.integer and answer.integer:
      common = ('sym', gold.integer)
      theirs = answer_shapes.replaced(theirs, answer.integer, common)
    if gold.bound and answer.bound:
      theirs = answer_shapes.replaced(theirs, answer.bound, ('sym', gold.bound))
    pairs.append((ours, theirs))
  return pairs


def _comma_is_point(gold, answer):
  """1,22 for 1.22; a reference of 1,2 is two numbers."""
  for a, b in ((gold, answer), (answer, gold)):
    if a is gold and _PAIR.fullmatch(a.body):
      continue
    if _DECIMAL_COMMA.fullmatch(a.body) and b.trees[0] and ',' not in b.body:
      tree = answer_reading.read(a.body.replace(',', '.')).trees[0]
      return b.trees[0][0] == 'num' and answer_equality.equal(tree, b.trees[0])
  return False


def _nesting(text):
  depth = deepest = 0
  for c in text:
    depth += (c in '([{') - (c in ')]}')
    deepest = max(deepest, depth)
  return deepest
