"""Which responses count as right: the one place that says so.

A reward is a number with parts, and what trains is their sum; whether a
response is right hangs on its accuracy alone.  So success rates, pass rates,
charts, measures and the length reward ask here, and not how large a reward is.
"""

from collections.abc import Mapping
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


def of_groups(groups: Any) -> np.ndarray:
  """bool [P, K]: which responses of each `Group` count as right."""
  return np.array([[is_right(t) for t in g.trajectories] for g in groups])
