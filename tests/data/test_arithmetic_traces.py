"""Traces end where they should, state what is true, and show their habits."""

import re

import numpy as np
import pytest

from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data.arithmetic_traces import Habits

# Numbers are short: a trace may be a model's, and models write anything.
_CHAIN = re.compile(
  r'(?<![-+*/\d])\d{1,6}[-+*/][-+*/\d]{0,40}(?:=[-+*/\d]{1,40}(?: r\d+)?)+'
)
HABITS = Habits(give_up_rate=0.35, guess_rate=0.5, slip_rate=0.05)


def _false_statements(trace: str) -> list[str]:
  """Equations in a trace that are false and not taken back by `wait`.

  A chain such as 40-7=33+3=36 states 40-7=33 and 33+3=36.
  """
  wrong = []
  for line in trace.split('\n'):
    # What comes before the last `wait` has been taken back.
    for chain in _CHAIN.findall(line.rpartition(' wait ')[2]):
      parts = chain.split('=')
      for left, right in zip(parts, parts[1:], strict=False):
        if not _holds(left, right):
          wrong.append(f'{left}={right}')
  return wrong


def _holds(left: str, right: str) -> bool:
  """Whether left = the number that `right` begins with; r is a remainder."""
  value = re.match(r'(\d{1,9})(?:.*? r(\d{1,9}))?', right)
  terms = re.fullmatch(r'(\d{1,9})((?:[-+*/]\d{1,9})+)', left)
  if not value or not terms:
    return False
  total, remainder = int(terms[1]), 0
  # From left to right: steps have * or / in the first place only.
  for operator, digits in re.findall(r'([-+*/])(\d+)', terms[2]):
    number = int(digits)
    if operator == '+':
      total += number
    elif operator == '-':
      total -= number
    elif operator == '*':
      total *= number
    elif number == 0:
      return False
    else:
      total, remainder = divmod(total, number)
  stated = value[2] if '/' in left else None
  return total == int(value[1]) and remainder == int(stated or 0)


@pytest.fixture(scope='module')
def problems():
  return arithmetic.make_problems(420, arithmetic.KINDS, 0.0, 1.0, False, 0)


def _write(problems, habits):
  rng = np.random.default_rng(0)
  return [arithmetic_traces.write_trace(p, habits, rng) for p in problems]


def _answer(trace):
  return trace.rpartition('#### ')[2]


def test_without_bad_habits_every_trace_is_right(problems):
  for slip_rate in (0.0, 0.3):
    traces = _write(problems, Habits(slip_rate=slip_rate))
    assert [_answer(t) for t in traces] == [p.answer for p in problems]


def test_all_that_traces_state_is_true(problems):
  for trace in _write(problems, HABITS):
    assert _false_statements(trace) == []


def test_the_four_processes_and_both_bad_habits_appear(problems):
  text = '\n'.join(_write(problems[:200], HABITS))
  for mark in ('plan ', ' yes', ' no', ' wait ', 'check ', 'try ', 'guess',
               'give up'):  # fmt: skip
    assert mark in text


def test_a_slip_is_a_slip(problems):
  traces = _write(problems, Habits(slip_rate=1.0))
  slips = [
    line for trace in traces for line in trace.split('\n') if 'wait' in line
  ]
  assert len(slips) > 400
  for line in slips:
    first, _, second = line.partition(' wait ')
    assert _false_statements(first)
    assert not _false_statements(second)


def test_bad_habits_come_at_their_rates(problems):
  traces = _write(problems, HABITS)
  procedures = [t for t in traces if not t.startswith('plan search')]
  guessed = np.mean([t.startswith('guess') for t in procedures])
  # Half, with a standard error of 0.5 / sqrt(240) = 0.03.
  assert 0.38 < guessed < 0.62
  failed = sum(t.count(' no\n') for t in traces)
  given_up = sum(t.count('give up') for t in traces)
  # 0.35 of some 300 failed tries, standard error 0.03; a last failed try
  # cannot be given up, as the next one holds, which only the count of tries
  # tells, so the bound is wide.
  assert 0.25 < given_up / failed < 0.45


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('3+4=7', []),
    ('3+4=8', ['3+4=8']),
    ('3+4=8 wait 3+4=7', []),
    ('3+4=8 wait 3+4=8', ['3+4=8']),
    ('40-7=33+3=36', []),
    ('40-7=33+3=35', ['33+3=35']),
    ('17/5=3 r2', []),
    ('17/5=3 r1', ['17/5=3 r1']),
    ('17/5=3', ['17/5=3']),
    ('try 1 31-3=28/8=3 r4 no', []),
    ('try 1 31-3=28/8=3 r5 no', ['28/8=3 r5']),
    ('5/0=1 r0', ['5/0=1 r0']),
    ('12+3=15 want 15 yes', []),
    ('no equation at all', []),
  ],
)
def test_false_statements(text, expected):
  assert _false_statements(text) == expected


def test_hostile_text_is_read_to_its_end():
  # What took quadratic time would not come back.
  for text in ('9' * 100_000 + '+1=2', '1+1=' * 30_000, '1*' * 50_000 + '=1',
               ' wait ' * 20_000, '1-' + '=' * 90_000):  # fmt: skip
    _false_statements(text)
