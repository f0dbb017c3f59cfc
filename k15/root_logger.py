"""The root logger is the program's: libraries give back what they change."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
  """Restores level and handlers of the root logger."""
  root = logging.getLogger()
  level, handlers = root.level, list(root.handlers)
  try:
    yield
  finally:
    root.setLevel(level)
    root.handlers[:] = handlers
