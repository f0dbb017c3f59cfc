"""What a trace sees is there or taken back, and its equations are true."""

import functools
import re

import numpy as np
import pytest

from k15.vision import drawn
from k15.vision import rendered_text
from k15.vision import scenes
from k15.vision import traces
from k15.vision.traces import Habits

_EQUATION = re.compile(r'(?<![-+\d])\d{1,4}(?:[-+]\d{1,4})+=\d{1,4}')


def false_statements(trace: str, seen: str) -> list[str]:
  """What a trace says of its picture and is not so, nor taken back.

  `see A wait see B` says B; an equation is false if its sides differ.
  """
  wrong = []
  for line in trace.split('\n'):
    said = line.rpartition(' wait ')[2]
    if said.startswith('see ') and said != f'see {seen}':
      wrong.append(said)
    if said.startswith('see '):
      continue
    for found in _EQUATION.findall(said):
      left, right = found.split('=')
      terms = re.findall(r'[-+]?\d+', left)
      if sum(map(int, terms)) != int(right):
        wrong.append(found)
  return wrong


@pytest.fixture(scope='module')
def problems():
  rng = np.random.default_rng(0)
  draws = [functools.partial(scenes.draw, d) for d in scenes.DOMAINS]
  found = drawn.make_problems(90, draws, [0, 1, 2], False, rng)
  for level in range(3):
    for domain in ('code', 'table'):
      for _ in range(5):
        found.append(rendered_text.draw(domain, level, False, rng).picture)
  return found


def test_the_check_finds_what_is_false():
  assert false_statements('see red ring\n#### 1', 'blue ring')
  assert not false_statements('see red ring wait see blue ring', 'blue ring')
  assert false_statements('see blue ring wait see red ring', 'blue ring')
  assert false_statements('rows 1+2=4', '') and false_statements('9-5=3', '')
  assert not false_statements('rows 1+2=3\ns=9-5=4', '')


@pytest.mark.parametrize('rate', [0.0, 0.5, 1.0])
def test_traces_are_true_and_end_in_the_answer(problems, rate):
  rng, habits = np.random.default_rng(1), Habits(0.2, 0.8, rate)
  slips = 0
  for each in problems:
    trace = traces.write_trace(each, habits, rng)
    assert false_statements(trace, each.seen) == []
    assert trace.split('\n')[-1] == f'#### {each.problem.answer}'
    slips += ' wait ' in trace
  assert (slips > 0) == (rate > 0)


def test_habits_are_as_often_as_asked(problems):
  rng = np.random.default_rng(2)
  habits = Habits(at_once_rate=0.3, read_rate=0.5, misread_rate=0.2)
  written = [
    traces.write_trace(each, habits, rng)
    for each in problems
    for _ in range(20)
    if each.work
  ]
  share = lambda holds: np.mean([holds(t) for t in written])  # noqa: E731
  # Of n = 2,400, a standard deviation is at most 0.0103.
  assert abs(share(lambda t: t.startswith('####')) - 0.3) < 0.04
  assert abs(share(lambda t: t.startswith('see ')) - 0.7 * 0.5) < 0.04
  assert abs(share(lambda t: ' wait ' in t) - 0.7 * 0.5 * 0.2) < 0.03


def test_a_slip_changes_one_word_for_one_of_its_kind():
  rng = np.random.default_rng(3)
  for _ in range(50):
    slip = traces.misread('red a1 up / b2', rng)
    ours = ('red', 'a1', 'up', '/', 'b2')
    pairs = zip(ours, slip.split(), strict=True)
    ((a, b),) = ((a, b) for a, b in pairs if a != b)
    # Of a cell, the digit alone.
    assert any(
      {a, b} <= set(alike) or (a[0] == b[0] and {a[1], b[1]} <= set(alike))
      for alike in traces._ALIKE
    )
  assert traces.misread('coffee', rng) == ''
