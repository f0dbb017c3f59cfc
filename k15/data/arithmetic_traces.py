"""Worked solutions of `k15.data.arithmetic`, with the habits of a long-CoT
writer.

Kimi k1.5, section 2.2: the warm-up set shows planning, evaluation, reflection
and exploration.  Here they are `plan ...`; `yes` and `no`; `wait` after a slip
and `check` of a result; `try ...`, one after the other.  It also shows bad
habits: to `guess` without working, and to `give up` in the middle of a search.
Whatever a trace states is true, or is taken back by `wait` at once; the tests
read every equation again.  Which habits pay is left to RL.
"""

import dataclasses
import itertools
import re

import numpy as np

from k15.data import arithmetic
from k15.data_types import Problem


@dataclasses.dataclass(frozen=True)
class Habits:
  """How often the writer of warm-up traces does what, each in [0, 1]."""

  give_up_rate: float = 0.0  # after each failed try
  guess_rate: float = 0.0  # at the start, instead of working
  slip_rate: float = 0.0  # per step, noticed at once
  check_rate: float = 0.2  # of a division's result


def write_trace(
  problem: Problem, habits: Habits, rng: np.random.Generator
) -> str:
  """Writes a response to a problem of the arithmetic family."""
  if problem.domain in _PROCEDURES:
    if rng.random() < habits.guess_rate:
      return f'guess\n#### {_guess(problem.answer, rng)}'
    plan, steps = _PROCEDURES[problem.domain](problem.prompt, habits, rng)
    lines = [_with_slip(step, habits, rng) for step in steps]
    return '\n'.join([f'plan {plan}', *lines, f'#### {problem.answer}'])
  lines, answer = _search(problem, habits, rng)
  return '\n'.join(['plan search', *lines, f'#### {answer}'])


def _with_slip(step: str, habits: Habits, rng: np.random.Generator) -> str:
  """Sometimes states a wrong last result first, and takes it back."""
  if rng.random() >= habits.slip_rate:
    return step
  left, _, right = step.rpartition('=')
  value, _, rest = right.partition(' ')
  value = int(value)
  slips = [value + d for d in (-10, -2, -1, 1, 2, 10) if value + d >= 0]
  slip = int(rng.choice(slips))
  rest = f' {rest}' if rest else ''
  return f'{left}={slip}{rest} wait {left}={right}'


def _guess(answer: str, rng: np.random.Generator) -> str:
  """Digits in the right number: the first one kept, the others random."""
  first, *others = answer.split(' ')
  while True:
    guess = ' '.join([first, *(str(rng.integers(10)) for _ in others)])
    if guess != answer or not others:
      return guess


def _numbers(prompt: str) -> list[list[int]]:
  """Digits of the two numbers around an operator, ones first."""
  parts = re.split(r' [-+*/] ', prompt)
  return [[int(d) for d in reversed(part.split(' '))] for part in parts]


def _add(prompt, habits, rng):
  steps, carry, done = [], 0, ''
  for x, y in zip(*_numbers(prompt), strict=True):
    total = x + y + carry
    carry, digit = divmod(total, 10)
    done = f'{digit} {done}'.rstrip()
    steps.append(f'{x}+{y}={x + y}+{total - x - y}={total} so {done}')
  return 'columns', _with_carry(steps, carry)


def _subtract(prompt, habits, rng):
  steps, borrow, done = [], 0, ''
  for x, y in zip(*_numbers(prompt), strict=True):
    top = x if x >= y + borrow else x + 10
    digit = top - y - borrow
    done = f'{digit} {done}'.rstrip()
    steps.append(f'{top}-{y}={top - y}-{borrow}={digit} so {done}')
    borrow = int(top != x)
  return 'columns', steps


def _multiply(prompt, habits, rng):
  digits, (factor,) = _numbers(prompt)
  return 'digits', _multiply_steps(digits, factor)


def _multiply_steps(digits, factor):
  steps, carry, done = [], 0, ''
  for x in digits:
    total = x * factor + carry
    old_carry = carry
    carry, digit = divmod(total, 10)
    done = f'{digit} {done}'.rstrip()
    steps.append(f'{x}*{factor}={x * factor}+{old_carry}={total} so {done}')
  return _with_carry(steps, carry)


def _with_carry(steps, carry):
  """Puts a last carry in front of the result of the last step."""
  if carry:
    steps[-1] = steps[-1].replace(' so ', f' so {carry} ')
  return steps


def _divide(prompt, habits, rng):
  digits, (divisor,) = _numbers(prompt)
  steps, quotient, rest = [], [], 0
  for digit in reversed(digits):
    part = rest * 10 + digit
    result, rest = divmod(part, divisor)
    if quotient or result:
      quotient.append(result)
    done = ' '.join(map(str, quotient)) or '0'
    steps.append(f'{part}/{divisor}={result} r{rest} so {done}')
  if rng.random() < habits.check_rate:
    checks = _multiply_steps(quotient[::-1], divisor)
    steps += [f'check {step}' for step in checks]
  return 'digits', steps


def _search(problem, habits, rng):
  """Tries until the check holds, or until the writer gives up."""
  lines, answer = [], ''
  for line, holds, found in _SEARCHES[problem.domain](problem.prompt, rng):
    answer = found
    lines.append(
      f'try {_with_slip(line, habits, rng)} {"yes" if holds else "no"}'
    )
    if holds:
      break
    if rng.random() < habits.give_up_rate:
      lines.append('give up')
      break
  return lines, answer


def _signs(prompt, rng):
  """All choices of signs, counting up from a random one."""
  target, start, *terms = map(int, re.findall(r'\d+', prompt))
  choices = arithmetic.sign_choices(len(terms))
  first = int(rng.integers(len(choices)))
  for signs in choices[first:] + choices[:first]:
    value, line = start, str(start)
    for sign, term in zip(signs, terms, strict=True):
      value += sign * term
      line += f'{"+" if sign > 0 else "-"}{term}={value}'
    expression = arithmetic.signs_expression(start, terms, signs)
    yield f'{line} want {target}', value == target, expression


def _pay(prompt, rng):
  """Takes the first number once more with every try."""
  rest, a, b = map(int, re.findall(r'\d+', prompt))
  for n in itertools.count():
    line = f'{n} {rest - a * (n - 1)}-{a}=' if n else f'{n} '
    left = rest - a * n
    if left < 0:
      return
    line += f'{left}/{b}={left // b} r{left % b}'
    yield line, left % b == 0, f'{n} {left // b}'


def _remainder(prompt, rng):
  """Numbers with the first remainder, counting up from a random one."""
  a, r, b, s = map(int, re.findall(r'\d+', prompt))
  first = int(rng.integers(b))
  for i in range(b):
    x = r + a * ((first + i) % b)
    yield f'{x}/{b}={x // b} r{x % b} want {s}', x % b == s, str(x)


_PROCEDURES = {
  'add': _add,
  'subtract': _subtract,
  'multiply': _multiply,
  'divide': _divide,
}
_SEARCHES = {'signs': _signs, 'pay': _pay, 'remainder': _remainder}
