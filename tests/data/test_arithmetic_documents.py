"""Generated documents: true, never of held-out problems, and verified."""

import itertools
import re

import numpy as np

from k15.data import arithmetic
from k15.data import arithmetic_documents
from k15.data import arithmetic_traces
from k15.data_types import Problem


def _problems(rng):
  return arithmetic_documents.problems_of(arithmetic.KINDS, 0.0, 1.0, rng)


def _is_held_out(prompt):
  return arithmetic.is_held_out(Problem('', prompt, ''))


def test_domains_take_turns_and_say_what_is_true():
  rng = np.random.default_rng(0)
  found = list(
    itertools.islice(arithmetic_documents.stream(_problems(rng), rng), 90)
  )
  assert [d.domain for d in found[:5]] == [
    'equations', 'prose', 'tables', 'notes', 'equations'
  ]  # fmt: skip
  facts = 0
  for document in found:
    for line in document.text.splitlines():
      match = re.fullmatch(r'(\d) (and|times|less) (\d) is (\d+)\.', line)
      if match:
        a, b, c = int(match[1]), int(match[3]), int(match[4])
        assert c == {'and': a + b, 'times': a * b, 'less': a - b}[match[2]]
        facts += 1
      if document.domain == 'equations':
        assert not _is_held_out(line.rpartition(' = ')[0])
  assert facts > 30
  table = next(d.text for d in found if d.domain == 'tables').splitlines()
  number = int(table[0].removeprefix('table '))
  for row in table[1:]:
    n, total, product = map(int, row.split())
    assert (total, product) == (n + number, n * number)


def test_questions_are_verified():
  """A writer that always guesses is right now and then, and only that stays."""
  rng = np.random.default_rng(1)
  habits = arithmetic_traces.Habits(guess_rate=1.0, give_up_rate=0.5)
  counts = arithmetic_documents.Counts()
  kinds = ('add', 'pay')
  problems = arithmetic_documents.problems_of(kinds, 0.0, 0.0, rng)
  found = list(
    itertools.islice(
      arithmetic_documents.verified(
        problems, habits, '\n', '####', rng, counts
      ),
      30,
    )
  )
  assert counts.kept == 30 < counts.problems < counts.written
  for document in found:
    assert document.domain == 'qa'
    prompt, *_, last = document.text.splitlines()
    answer = last.removeprefix('#### ')
    if ' + ' in prompt:
      a, b = (int(n.replace(' ', '')) for n in prompt.split(' + '))
      assert int(answer.replace(' ', '')) == a + b
    assert not _is_held_out(prompt)


def test_long_documents_repeat_their_notes():
  rng = np.random.default_rng(2)
  [document] = itertools.islice(
    arithmetic_documents.long(_problems(rng), 200, rng), 1
  )
  assert document.is_long and document.domain == 'notes'
  lines = document.text.splitlines()
  assert len(lines) >= 200  # a table has several
  notes = [line for line in lines if line.startswith('note ')]
  assert len(notes) == 4 and len(set(notes)) == 1
