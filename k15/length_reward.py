"""The length penalty of Kimi k1.5, section 2.3.3: short right answers win.

Host side, numpy.  Lengths are those of whole responses, cut or resumed ones
included.
"""

import numpy as np


def length_rewards(lengths_P_K, is_correct_P_K):
  """Rewards short responses within a group; wrong ones never gain by it.

  Kimi k1.5, section 2.3.3: len_reward(i) = lambda_i if correct, else
  min(0, lambda_i), with
  lambda_i = 0.5 - (len(i) - min_len) / (max_len - min_len).
  min_len and max_len are over all K responses, right and wrong; if they are
  equal every reward is 0.

  Args:
    lengths_P_K: int [P, K], tokens.
    is_correct_P_K: bool [P, K].

  Returns:
    float64 [P, K] in [-0.5, 0.5].
  """
  lengths_P_K = np.asarray(lengths_P_K, np.float64)
  min_P_1 = lengths_P_K.min(axis=1, keepdims=True)
  range_P_1 = lengths_P_K.max(axis=1, keepdims=True) - min_P_1
  relative_P_K = (lengths_P_K - min_P_1) / np.where(range_P_1, range_P_1, 1)
  lambda_P_K = np.where(range_P_1, 0.5 - relative_P_K, 0.0)
  return np.where(is_correct_P_K, lambda_P_K, np.minimum(0.0, lambda_P_K))


def total_rewards(rewards_P_K, is_correct_P_K, lengths_P_K, weight):
  """Raw reward + weight * length reward, to be taken before any baseline.

  Where a reward is 1 for a correct answer and 0 for a wrong one, below a weight
  of 2 the longest right answer (1 - weight / 2) still beats every wrong one (at
  most 0).

  Args:
    rewards_P_K: float [P, K], raw; sums of several parts perhaps.
    is_correct_P_K: bool [P, K].
    lengths_P_K: int [P, K], tokens.
    weight: >= 0.

  Returns:
    float64 [P, K].
  """
  rewards_P_K = np.asarray(rewards_P_K, np.float64)
  return rewards_P_K + weight * length_rewards(lengths_P_K, is_correct_P_K)


def length_weight(iteration, weight, start_iteration):
  """The warm-up of section 2.3.3: no penalty, then a constant one.

  Args:
    iteration: the current one, counted from 0.
    weight: from `start_iteration` on.
    start_iteration: first iteration with a penalty.

  Returns:
    0.0 or `weight`.
  """
  return weight if iteration >= start_iteration else 0.0
