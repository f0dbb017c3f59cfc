"""The problems: right, unique, disjoint from the held-out, reproducible."""

import itertools
import re

import numpy as np
import pytest

from k15.data import arithmetic


def _draw(kind, level, count=40):
  rng = np.random.default_rng([level, len(kind)])
  return [arithmetic.make_problem(kind, level, rng) for _ in range(count)]


def _number(text):
  return int(text.replace(' ', ''))


@pytest.mark.parametrize('level', range(arithmetic.LEVELS))
@pytest.mark.parametrize(
  ('kind', 'symbol', 'operate'),
  [
    ('add', '+', lambda a, b: a + b),
    ('subtract', '-', lambda a, b: a - b),
    ('multiply', '*', lambda a, b: a * b),
    ('divide', '/', lambda a, b: divmod(a, b)),
  ],
)
def test_procedures_have_the_right_answer(kind, symbol, operate, level):
  for problem in _draw(kind, level):
    a, b = map(_number, problem.prompt.split(f' {symbol} '))
    answer = _number(problem.answer)
    expected = (answer, 0) if kind == 'divide' else answer
    assert operate(a, b) == expected
    assert answer >= 0


@pytest.mark.parametrize('level', range(arithmetic.LEVELS))
def test_exactly_one_choice_of_signs_reaches_the_target(level):
  for problem in _draw('signs', level):
    target, start, *terms = map(int, re.findall(r'\d+', problem.prompt))
    solutions = []
    for signs in itertools.product((1, -1), repeat=len(terms)):
      if (
        start + sum(s * t for s, t in zip(signs, terms, strict=True)) == target
      ):
        steps = (f'{"-+"[s > 0]}{t}' for s, t in zip(signs, terms, strict=True))
        solutions.append(f'{start}{"".join(steps)}')
    assert solutions == [problem.answer]


@pytest.mark.parametrize('level', range(arithmetic.LEVELS))
def test_a_sum_is_paid_in_exactly_one_way(level):
  for problem in _draw('pay', level):
    total, a, b = map(int, re.findall(r'\d+', problem.prompt))
    ways = [
      f'{n} {m}'
      for n in range(total + 1)
      for m in range(total + 1)
      if n * a + m * b == total
    ]
    assert ways == [problem.answer]


@pytest.mark.parametrize('level', range(arithmetic.LEVELS))
def test_one_number_has_the_remainders(level):
  for problem in _draw('remainder', level):
    a, r, b, s = map(int, re.findall(r'\d+', problem.prompt))
    found = [x for x in range(a * b) if x % a == r and x % b == s]
    assert [str(x) for x in found] == [problem.answer]


def test_held_out_and_training_problems_never_meet():
  draw = (400, arithmetic.KINDS, 0.0, 1.0)
  train = arithmetic.make_problems(*draw, held_out=False, seed=0)
  held_out = arithmetic.make_problems(*draw, held_out=True, seed=1)
  assert len({p.id for p in train}) == len({p.id for p in held_out}) == 400
  assert not {p.prompt for p in train} & {p.prompt for p in held_out}
  rng = np.random.default_rng(0)
  stream = arithmetic.stream(arithmetic.KINDS, 0.0, 1.0, rng)
  assert not any(
    arithmetic.is_held_out(p) for p in itertools.islice(stream, 500)
  )


def test_draws_are_reproducible_and_differ_by_seed():
  draw = (50, arithmetic.KINDS, 0.0, 1.0, False)
  assert arithmetic.make_problems(*draw, 3) == arithmetic.make_problems(
    *draw, 3
  )
  assert arithmetic.make_problems(*draw, 3) != arithmetic.make_problems(
    *draw, 4
  )


def test_kinds_and_difficulties_are_as_asked():
  problems = arithmetic.make_problems(30, ('add', 'pay'), 0.4, 0.6, False, 0)
  assert {p.domain for p in problems} == {'add', 'pay'}
  assert {p.difficulty for p in problems} == {0.5}


def test_refuses_what_it_does_not_know():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match="unknown kind 'power'"):
    arithmetic.make_problem('power', 0, rng)
  with pytest.raises(ValueError, match=r'level 3 is not in \[0, 3\)'):
    arithmetic.make_problem('add', 3, rng)
  with pytest.raises(ValueError, match='no level has a difficulty'):
    arithmetic.make_problems(1, ('add',), 0.6, 0.9, False, 0)
  with pytest.raises(ValueError, match='of 500 distinct problems'):
    arithmetic.make_problems(500, ('remainder',), 0.0, 0.0, False, 0)
