"""Two places and two roads, by hand, and a table that is drawn."""

import functools

import numpy as np

from k15.data.facts import table as table_lib

LEADS = np.array([[1, 0], [0, 1]])  # red swaps mill and inn, blue stays
# The writer knows red half of the time and blue always; mill is north.
TABLE = table_lib.Table(
  leads=LEADS,
  misconceptions=1 - LEADS,
  right_rates=np.array([[0.5, 1.0], [0.5, 1.0]]),
  is_hard=np.array([[True, False], [True, False]]),
  land=np.array([0, 1]),
  answers=('north', 'south'),
)


@functools.cache
def drawn() -> table_lib.Table:
  """Of ten places and eight roads."""
  return table_lib.draw(
    10, 8, 3, 0.3, (2, 4), (0.9, 0.99), (0.2, 0.6), 0.3, seed=0
  )
