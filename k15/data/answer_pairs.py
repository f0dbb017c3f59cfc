"""Answers that are equal, or nearly, in another form: an endless labelled set.

What a reward model has to learn (Kimi k1.5, section 2.3.5): 27/36 is 3/4,
(x+2)(x+5) is x^2+7x+10, 180 min are 3 h, and 27/35 is not 3/4.  Half of the
pairs are equivalent; the others differ by a slip that a hasty reader misses.
Every pair comes with the reasoning that decides it, step by step, for models
that think before they judge; models that do not are given the label alone.

Five forms in which an answer is written twice, and what tells them apart.

Each form draws a question, a reference, a response and the steps of reasoning
that compare the two.  Asked for an equivalent response, it gives one; asked
for a wrong one, it slips, and the slip may by chance leave the answer right:
a step that ends in `no` says that it did not.  `k15.data.answer_pairs` draws
again.
"""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from k15 import streams
from k15.data import rows
from k15.data_types import Problem

# Unit, smaller unit, how many of it.
_UNITS = (
  ('h', 'min', 60), ('min', 's', 60), ('week', 'days', 7), ('m', 'cm', 100),
  ('km', 'm', 1000), ('kg', 'g', 1000), ('l', 'ml', 1000), ('cm', 'mm', 10),
  ('t', 'kg', 1000), ('dm', 'cm', 10),
)  # fmt: skip
_TERMINATING = (2, 4, 5, 8)
# So many without a new pair, a thousand of each form and label: no more come.
_DRAWS_IN_VAIN = 10_000


def _compare(left, right):
  """The step that says whether two numbers are the same, digit by digit.

  180 and 186 side by side, up to where they differ, are `11 88 06 no`.
  """
  pairs = []
  for pair in itertools.zip_longest(str(left), str(right), fillvalue='_'):
    pairs.append(''.join(pair))
    if pair[0] != pair[1]:
      return f'{" ".join(pairs)} no'
  return f'{" ".join(pairs)} yes'


def _slip(number: int, rng: np.random.Generator) -> int:
  """Another number that looks alike: one digit changed, or two swapped."""
  digits = list(str(number))
  if len(digits) > 1 and rng.random() < 0.4:
    i = int(rng.integers(len(digits) - 1))
    digits[i], digits[i + 1] = digits[i + 1], digits[i]
  else:
    i = int(rng.integers(len(digits)))
    digits[i] = str((int(digits[i]) + int(rng.choice([1, 2, 8, 9]))) % 10)
  slipped = ''.join(digits)
  if slipped.startswith('0') or int(slipped) == number:
    return number + int(rng.choice([1, 2]))
  return int(slipped)


def _fraction(is_correct, rng, asked=None):
  """a/b in lowest terms and another: both parts have to be k times as large."""
  a, b = asked or _lowest_terms(rng)
  k = int(rng.integers(2, 10))
  top, bottom = k * a, k * b
  if not is_correct:
    slip = rng.integers(4)
    if slip == 0:
      top = _slip(top, rng)
    elif slip == 1:
      bottom = _slip(bottom, rng)
    elif slip == 2:
      bottom = (k + int(rng.choice([-1, 1]))) * b
    else:
      top, bottom = bottom, top
  times = max(1, round(bottom / b))
  steps = [f'{times}*{b}={times * b}', _compare(times * b, bottom)]
  if times * b == bottom:
    steps += [f'{times}*{a}={times * a}', _compare(times * a, top)]
  return f'{a} of {b} equal parts', f'{a}/{b}', f'{top}/{bottom}', steps


def _lowest_terms(rng):
  while True:
    a, b = int(rng.integers(1, 21)), int(rng.integers(2, 13))
    if math.gcd(a, b) == 1:
      return a, b


def _decimal(is_correct, rng, asked=None):
  """a/b and a decimal number: divided out, digit by digit."""
  a, b = asked or _terminating(rng)
  whole, rest = divmod(a, b)
  steps, digits = [f'{a}/{b}={whole} r{rest}'], ''
  while rest:
    digit, rest_after = divmod(10 * rest, b)
    steps.append(f'{10 * rest}/{b}={digit} r{rest_after}')
    digits, rest = f'{digits}{digit}', rest_after
  shown = f'{whole}.{digits}'
  if not is_correct:
    slip = rng.integers(3)
    if slip == 0:  # The point in the wrong place.
      shown = f'{whole}.0{digits}'
      if not whole and len(digits) > 1:
        shown = f'{digits[0]}.{digits[1:]}'
    elif slip == 1 and len(digits) > 1:  # Cut off.
      shown = f'{whole}.{digits[:-1]}'
    else:
      shown = f'{whole}.{_slip(int(digits), rng)}'
  steps.append(_compare(f'{whole}.{digits}', shown.rstrip('0')))
  shown += '0' * int(rng.choice([0, 0, 0, 1, 2, 3]))
  return f'{a} shared by {b}', f'{a}/{b}', shown, steps


def _terminating(rng):
  b = int(rng.choice(_TERMINATING))
  a = b
  while math.gcd(a, b) != 1:
    a = int(rng.integers(1, 20 * b))
  return a, b


def _expression(is_correct, rng):
  """x^2+sx+p and (x+a)(x+b), or a number and a*b+c."""
  if rng.random() < 0.5:
    return _product_and_sum(is_correct, rng)
  a, b = (int(n) for n in rng.choice([*range(-9, 0), *range(1, 10)], 2))
  total, product = a + b, a * b
  if not is_correct:
    slip = rng.integers(3)
    if slip == 0:
      total += int(rng.choice([-2, -1, 1, 2]))
    elif slip == 1:
      product += int(rng.choice([-abs(a), abs(a), -1, 1]))
    else:
      total = -total if total else 1
  middle = f'{total:+d}x' if total else ''
  end = f'{product:+d}' if product else ''
  steps = [f'{a:+d}{b:+d}={a + b:+d}', _compare(f'{a + b:+d}', f'{total:+d}')]
  if a + b == total:
    steps.append(f'{a:+d}*{b:+d}={a * b:+d}')
    steps.append(_compare(f'{a * b:+d}', f'{product:+d}'))
  return 'factor it', f'x^2{middle}{end}', f'(x{a:+d})(x{b:+d})', steps


def _product_and_sum(is_correct, rng):
  a, b, c = (int(n) for n in rng.integers(2, 10, size=3))
  value = a * b + c
  reference = value if is_correct else _slip(value, rng)
  steps = [f'{a}*{b}={a * b}', f'{a * b}+{c}={value}']
  steps.append(_compare(value, reference))
  return 'work it out', str(reference), f'{a}*{b}+{c}', steps


def _unit(is_correct, rng):
  """n units and a number of smaller ones."""
  unit, smaller, factor = _UNITS[int(rng.integers(len(_UNITS)))]
  n = int(rng.integers(2, 100))
  amount, shown = n * factor, smaller
  if not is_correct:
    slip = rng.integers(4)
    if slip == 0:  # Ten times too much or too little.
      amount = amount // 10 if amount % 10 == 0 else amount * 10
    elif slip == 1:  # Another unit's factor.
      amount = n * int(rng.choice([f for _, _, f in _UNITS]))
    elif slip == 2:
      shown = str(rng.choice([name for _, name, _ in _UNITS]))
    else:
      amount = _slip(amount, rng)
  steps = [f'1 {unit}={factor} {smaller}', *_times(n, factor)]
  steps.append(_compare(n * factor, amount))
  if n * factor == amount:
    same = 'yes' if smaller == shown else 'no'
    steps.append(f'{smaller} is {shown} {same}')
  return 'how much', f'{n} {unit}', f'{amount} {shown}', steps


def _times(n, factor):
  """n times a digit and zeros, from the right."""
  digit = str(factor)[0]
  if digit == '1':
    return []
  steps, carry, done = [], 0, ''
  for x in reversed(str(n)):
    product = int(x) * int(digit)
    total = product + carry
    steps.append(f'{x}*{digit}={product}+{carry}={total}')
    carry, done = total // 10, f'{total % 10}{done}'
  return [*steps, f'so {carry or ""}{done}']


def _ordering(is_correct, rng):
  """The same numbers: in any order, or in the order that was asked for."""
  count = int(rng.integers(3, 6))
  numbers = [int(n) for n in rng.choice(np.arange(1, 10), count, False)]
  in_order = bool(rng.random() < 0.4)
  shown = list(numbers)
  if not in_order:
    rng.shuffle(shown)
  if not is_correct:
    i, slip = int(rng.integers(count)), rng.integers(3)
    if slip == 0 and in_order:
      shown[i], shown[i - 1] = shown[i - 1], shown[i]
    elif slip == 1:
      shown[i] = shown[i - 1]
    else:
      shown[i] = _slip(shown[i], rng)
  steps = []
  for i, number in enumerate(numbers):
    if in_order:
      steps.append(_compare(number, shown[i]))
    else:
      steps.append(f'{number} {"yes" if number in shown else "no"}')
    if steps[-1].endswith(' no'):
      break
  question = 'in this order' if in_order else 'in any order'
  response = str(rng.choice([' ', ';', ' and '])).join(map(str, shown))
  return question, ', '.join(map(str, numbers)), response, steps


MAKERS = {
  'fraction': _fraction,
  'decimal': _decimal,
  'expression': _expression,
  'unit': _unit,
  'ordering': _ordering,
}


KINDS = tuple(MAKERS)

# One pair in 16, chosen by the hash of its text, is never trained on; of
# problems one question in 6.
_HELD_OUT_SHARE, _HELD_OUT_QUESTIONS = 16, 6
# Kinds whose question alone asks for the reference.
_ASKED = ('fraction', 'decimal')


@dataclasses.dataclass(frozen=True)
class Pair:
  """A reference answer, a response, and whether they are equivalent.

  Attributes:
    kind: one of KINDS.
    question: what was asked; for orderings it says whether order matters.
    reference, response: the two answers.
    is_correct: the label.
    reasoning: steps, one a line, that end in the decision.
  """

  kind: str
  question: str
  reference: str
  response: str
  is_correct: bool
  reasoning: str

  @property
  def case(self) -> tuple[str, str, str]:
    """Question, reference and response: what a judge may see."""
    return self.question, self.reference, self.response


def make_pair(kind: str, is_correct: bool, rng: np.random.Generator) -> Pair:
  """Draws a pair of a kind, equivalent or nearly."""
  if kind not in KINDS:
    raise ValueError(f'unknown kind {kind!r}, known are {", ".join(KINDS)}')
  while True:
    question, reference, response, steps = MAKERS[kind](is_correct, rng)
    # A slip may happen to give an equal answer: the steps tell.
    if _holds(steps) == is_correct:
      text = '\n'.join(steps)
      return Pair(kind, question, reference, response, is_correct, text)


def is_held_out(pair: Pair) -> bool:
  """Whether the pair belongs to the held-out side."""
  digest = hashlib.sha256('\n'.join(pair.case).encode()).digest()
  return digest[0] % _HELD_OUT_SHARE == 0


def stream(
  kinds: Sequence[str], rng: np.random.Generator, held_out: bool = False
) -> Iterator[Pair]:
  """Pairs without end; kinds and labels take turns.

  Held-out and training pairs never meet, whatever the seeds.
  """
  turns = itertools.product(kinds, (True, False))
  for kind, is_correct in itertools.cycle(turns):
    while True:
      pair = make_pair(kind, is_correct, rng)
      if is_held_out(pair) == held_out:
        break
    yield pair


def read(path: str) -> list[Pair]:
  """Pairs of a user's file, JSONL, JSON or Parquet.

  A row has the texts `question`, `reference` and `response`, `correct`, true or
  false, and perhaps `reasoning`, which decides it, and `domain`, the kind.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a row is not what it should be; says which and why.
  """
  pairs = []
  for _, where, row in rows.read_rows(path):
    texts = [row.get(name) for name in ('question', 'reference', 'response')]
    more = [row.get(name) or '' for name in ('reasoning', 'domain')]
    if not all(isinstance(text, str) for text in texts + more):
      raise ValueError(
        f'{where}: question, reference and response have to be texts'
      )
    if not isinstance(row.get('correct'), bool):
      raise ValueError(
        f"{where}: 'correct' is {row.get('correct')!r}, and has to be true or"
        ' false'
      )
    pairs.append(Pair(more[1], *texts, row['correct'], more[0]))
  return pairs


def make_pairs(
  count: int, kinds: Sequence[str], held_out: bool, seed: int
) -> list[Pair]:
  """Distinct pairs, as many of every kind and label, but for the remainder.

  Raises:
    ValueError: the family has too few.
  """
  side = 'held-out' if held_out else 'training'
  rng = streams.rng(seed, f'{side} answer pairs')
  pairs, turns = {}, len(kinds) * 2
  wanted = {
    key: count // turns + (i < count % turns)
    for i, key in enumerate(itertools.product(kinds, (True, False)))
  }
  since_the_last = 0
  for pair in stream(kinds, rng, held_out):
    key = pair.kind, pair.is_correct
    if wanted[key] and pair.case not in pairs:
      pairs[pair.case] = pair
      wanted[key] -= 1
      since_the_last = 0
    if len(pairs) == count:
      return list(pairs.values())
    since_the_last += 1
    if since_the_last == _DRAWS_IN_VAIN:
      break
  raise ValueError(f'found only {len(pairs)} of {count} distinct pairs')


def make_problems(
  train: int, held_out: int, seed: int
) -> tuple[list[Problem], list[Problem]]:
  """Distinct problems to train on and held-out ones, by their questions.

  Of the kinds whose question says all that is asked.  Their answers have
  several right forms: what is 3/4 is also 27/36 or 0.750.

  Raises:
    ValueError: the family has too few.
  """
  sides = {False: ({}, train), True: ({}, held_out)}
  rng, in_vain = streams.rng(seed, 'training problems'), 0
  kinds = itertools.cycle(_ASKED)
  while any(len(found) < wanted for found, wanted in sides.values()):
    kind = next(kinds)
    question, reference, *_ = MAKERS[kind](True, rng)
    # By the question: whatever the form of its answer, it is on one side.
    digest = hashlib.sha256(question.encode()).digest()
    found, wanted = sides[digest[0] % _HELD_OUT_QUESTIONS == 0]
    in_vain += 1
    if question not in found and len(found) < wanted:
      found[question] = Problem(question, question, reference, kind)
      in_vain = 0
    if in_vain == _DRAWS_IN_VAIN:
      counts = [len(found) for found, _ in sides.values()]
      raise ValueError(
        f'found only {counts} of {train} training and {held_out} held-out'
        ' problems'
      )
  return tuple([*found.values()] for found, _ in sides.values())


def answer(problem: Problem, is_correct: bool, rng: np.random.Generator) -> str:
  """An answer to a problem of `make_problems`, in a form that is drawn."""
  asked = tuple(map(int, problem.answer.split('/')))
  while True:
    *_, shown, steps = MAKERS[problem.domain](is_correct, rng, asked)
    if _holds(steps) == is_correct:
      return shown


def _holds(steps):
  return not any(step.endswith(' no') for step in steps)
