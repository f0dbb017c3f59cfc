"""The pictures of the files that stages learn from, kept before they learn."""

import collections
from typing import Any

from k15.config import stages as stages_lib
from k15.data import conversations
from k15.data import documents
from k15.vision import references


def hand_over(config: Any, keep: references.Keep) -> None:
  """Hands over all pictures of conversations and of documents, row by row.

  Raises:
    DataError: a row that is none, unless it may be left out.
  """
  # What is left out is counted when the stage begins.
  leave_out = (lambda error: None) if config.task.drop_unusable else None
  readers = dict(
    sft=lambda path: conversations.read(path, leave_out, keep),
    text=lambda path: documents.read(path, keep=keep),
  )
  for curves, read in readers.items():
    stages = set(config.stages) & set(stages_lib.with_curves(curves))
    paths = {
      path
      for group in map(config.get, stages)
      for path in (*group.files, *group.get('long_files', ()))
    }
    for path in sorted(paths):
      collections.deque(read(path), maxlen=0)
