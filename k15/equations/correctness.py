"""Which responses count as right: the one place that says so.

A reward is a number with parts, and what trains is their sum; whether a
response is right hangs on its accuracy alone.  So success rates, pass rates,
charts, measures and the length reward ask here, and not how large a reward is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def accuracy_of(found: Any) -> float:
  """The accuracy of a response, in [0, 1]; 0 where nothing has judged it.

  Args:
    found: a record of a file or a `Trajectory`.  Records that were written
      before rewards had parts hold the accuracy as their reward.
  """
  if isinstance(found, Mapping):
    return found.get('accuracy', found.get('reward')) or 0.0
  return found.accuracy or 0.0


def is_right(found: Any) -> bool:
  """Whether a response counts as right; see `accuracy_of`."""
  return accuracy_of(found) >= 0.5


def of_pictures(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Mean accuracies of an evaluation some of whose problems have pictures.

  Returns:
    'accuracy_pictures', 'accuracy_texts' if there are any, and 'pictures_X' of
    the problems of domain X that have pictures; {} where none has.
  """
  parts: dict[str, list[float]] = {}
  for record in records:
    side = 'pictures' if record.get('images') else 'texts'
    names = [f'accuracy_{side}']
    if side == 'pictures':
      names.append(f'pictures_{record.get("domain") or "all"}')
    for name in names:
      parts.setdefault(name, []).append(accuracy_of(record))
  if 'accuracy_pictures' not in parts:
    return {}
  return {name: float(np.mean(found)) for name, found in parts.items()}


def of_groups(groups: Any) -> np.ndarray:
  """bool [P, K]: which responses of each `Group` count as right."""
  return np.array([[is_right(t) for t in g.trajectories] for g in groups])
