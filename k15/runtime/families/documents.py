"""The documents of a run that names no files: of the arithmetic family.

What the config's `task` and `documents` say of them; `k15.data` has the
documents themselves.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from k15 import streams
from k15.data import arithmetic_documents
from k15.data import arithmetic_traces
from k15.data.documents import Document

_LINE_TOKENS = 12  # About what a line of a long document has.


def facts_of(config: Any, stage: str) -> list[Any]:
  """All that decides the documents of a stage, in values that JSON can hold."""
  t = config.task
  return [
    stage, config.seed, config.documents.number, list(t.kinds),
    t.min_difficulty, t.max_difficulty, t.give_up_rate, t.guess_rate,
    t.slip_rate, t.check_rate, t.prompt_suffix, t.answer_marker,
    _lines(config, stage),
  ]  # fmt: skip


def make(config: Any, stage: str) -> Iterator[Document]:
  """Documents of a stage: a quarter verified questions from cooldown on.

  Long context has long ones too, of the length of its longest row.
  """
  t, number = config.task, config.documents.number
  rng = streams.rng(config.seed, 'documents', stage)
  problems = arithmetic_documents.problems_of(
    t.kinds, t.min_difficulty, t.max_difficulty, rng
  )
  plain = arithmetic_documents.stream(problems, rng)
  if stage == 'pretrain':
    yield from itertools.islice(plain, number)
    return
  yield from itertools.islice(plain, number - number // 4)
  if stage == 'cooldown' and config.cooldown_questions.problems:
    return  # A model's answers are in the place of these.
  habits = arithmetic_traces.Habits(
    t.give_up_rate, t.guess_rate, t.slip_rate, t.check_rate
  )
  counts = arithmetic_documents.Counts()
  yield from itertools.islice(
    arithmetic_documents.verified(
      problems, habits, t.prompt_suffix, t.answer_marker, rng, counts
    ),
    number // 4,
  )
  print(
    f'{stage}: {counts.problems} questions, {counts.written} solutions written,'
    f' {counts.kept} right and kept',
    flush=True,
  )
  lines = _lines(config, stage)
  if lines:
    long = arithmetic_documents.long(problems, lines, rng)
    yield from itertools.islice(long, max(8, number // 4))


def _lines(config, stage):
  """Of a long document; 0: there are none."""
  if stage != 'long_context':
    return 0
  group = config.long_context
  longest = max((*group.lengths, *group.measured_lengths))
  return -(-longest // _LINE_TOKENS)
