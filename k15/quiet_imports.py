"""Orbax and grain, without what importing them does to the root logger.

Orbax, which grain imports, logs while it is imported, by absl, which gives a
root logger without handlers one; whoever configures logging afterwards would
see every line twice.
"""

from k15 import root_logger

with root_logger.unchanged():
  import grain as grain
  import orbax.checkpoint as ocp  # noqa: F401  (for those who import this)
