"""Toggle of Kimi K2.5 (arXiv 2602.02276): budgets that come and go.

m iterations ask for short responses where a problem is solved well enough, the
m after them for right ones alone, so that a policy learns to save tokens and
does not forget to use them.  Host side, numpy, over groups [P, K].
"""

import numpy as np


def budgets(lengths_P_K, is_correct_P_K, percentile):
  """A problem's budget: a percentile of its right lengths.

  Args:
    lengths_P_K: int [P, K], tokens.
    is_correct_P_K: bool [P, K].
    percentile: rho, in [0, 100], interpolated linearly.

  Returns:
    float64 [P], tokens; NaN for a group without a right response.
  """
  lengths_P_K = np.asarray(lengths_P_K, np.float64)
  return np.array(
    [
      np.percentile(lengths[right], percentile) if right.any() else np.nan
      for lengths, right in zip(lengths_P_K, is_correct_P_K, strict=True)
    ]
  )


def rewards(
  rewards_P_K, is_correct_P_K, lengths_P_K, budgets_P, accuracy, is_limited
):
  """Rewards of an iteration, with a budget or without.

  In a limited phase a response longer than its problem's budget earns 0, but
  only where the group's mean accuracy is at least `accuracy`, lambda: what is
  solved has to be solved shorter, the rest may take its time.  In a free phase
  nothing changes.

  Args:
    rewards_P_K: float [P, K].
    is_correct_P_K: bool [P, K].
    lengths_P_K: int [P, K], tokens.
    budgets_P: float [P], tokens; NaN: none.
    accuracy: lambda, in [0, 1].
    is_limited: whether the phase is; see `is_limited`.

  Returns:
    float64 [P, K].
  """
  rewards_P_K = np.asarray(rewards_P_K, np.float64)
  if not is_limited:
    return rewards_P_K
  is_solved_P = np.mean(is_correct_P_K, axis=1) >= accuracy
  is_over_P_K = np.asarray(lengths_P_K) > np.asarray(budgets_P)[:, None]
  return np.where(is_over_P_K & is_solved_P[:, None], 0.0, rewards_P_K)


def is_limited(iteration, phase_iterations):
  """Whether an iteration has budgets: m have, the m after them have not.

  Args:
    iteration: the current one, counted from 0.
    phase_iterations: m; 0: none is limited.
  """
  return bool(phase_iterations) and iteration // phase_iterations % 2 == 0
