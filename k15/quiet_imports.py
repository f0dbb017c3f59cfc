"""Orbax and grain, without what importing them does to the root logger.

Orbax, which grain imports, logs while it is imported, by absl, which gives a
root logger without handlers one; whoever configures logging afterwards would
see every line twice.

The root logger is the program's: libraries give back what they change.
"""

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


with unchanged():
  import grain as grain
  import orbax.checkpoint as ocp  # noqa: F401  (for those who import this)
