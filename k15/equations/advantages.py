"""From rewards to what a response weighs in a loss: groups in, numbers out.

A run does all of it on the host, in numpy, over groups [P, K] of P problems and
K responses, in this order: the length penalty of Kimi k1.5, section 2.3.3,
which is part of the reward; a baseline (section 2.3.2), which makes advantages;
what becomes of negative ones; and the weights that turn sums into means.
Lengths are those of whole responses, cut or resumed ones included.

Given arrays of jax, the same equations can be traced, in its float32: the toy
of benchmarks/worlds does so.
"""

import numpy as np

# Rewards of a group that differ by less, as a share of the largest, are equal:
# sums of the same parts in another order are off by some 1e-16.
_ROUNDING = 1e-9


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
  xp, lengths_P_K = _floats(lengths_P_K)
  min_P_1 = lengths_P_K.min(axis=1, keepdims=True)
  range_P_1 = lengths_P_K.max(axis=1, keepdims=True) - min_P_1
  relative_P_K = (lengths_P_K - min_P_1) / xp.where(range_P_1, range_P_1, 1)
  lambda_P_K = xp.where(range_P_1, 0.5 - relative_P_K, 0.0)
  is_correct_P_K = xp.asarray(is_correct_P_K)
  return xp.where(is_correct_P_K, lambda_P_K, xp.minimum(0.0, lambda_P_K))


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
  _, rewards_P_K = _floats(rewards_P_K)
  return rewards_P_K + weight * length_rewards(lengths_P_K, is_correct_P_K)


def overlong_shares(lengths_P_K, longest_P, last_tokens):
  """How far into the last tokens of the longest response each one is.

  DAPO, arXiv 2503.14476, equation 13, whose punishment is minus this share.

  Args:
    lengths_P_K: int [P, K], tokens.
    longest_P: int [P], tokens of the longest response to each problem.
    last_tokens: over which the share grows, >= 1.

  Returns:
    float64 [P, K] in [0, 1]: 0 up to longest - last_tokens, 1 at the longest.
  """
  start_P = np.asarray(longest_P) - last_tokens
  over = np.asarray(lengths_P_K) - start_P[:, None]
  return np.clip(over / last_tokens, 0.0, 1.0)


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


def over_baseline(rewards_P_K, baseline, tau):
  """Reward minus baseline, over the K responses of each problem.

  'mean': r-bar = mean_j r_j, what k1.5 uses (section 2.3.2);
  'tau_log_z': tau log mean_j exp(r_j / tau), its derivation's own baseline;
  'leave_one_out': the mean of the other responses; 'none': 0.

  Args:
    rewards_P_K: float [P, K], total rewards.
    baseline: one of the four names.
    tau: used by 'tau_log_z' alone, > 0.

  Returns:
    float64 [P, K]; exactly 0 where rewards `are_equal`, but under 'none'.

  Raises:
    ValueError: for an unknown name, tau <= 0, or leave_one_out with K = 1.
  """
  xp, rewards_P_K = _floats(rewards_P_K)
  group_size = rewards_P_K.shape[1]
  if baseline == 'none':
    return rewards_P_K
  # Every baseline moves along with its group, so the best may count as 0:
  # then equal rewards cancel exactly, and exp(r / tau) cannot overflow.
  gap_P_K = rewards_P_K - rewards_P_K.max(axis=1, keepdims=True)
  gap_P_K = xp.where(are_equal(rewards_P_K)[:, None], 0.0, gap_P_K)
  mean_P_1 = gap_P_K.mean(axis=1, keepdims=True)
  if baseline == 'mean':
    return gap_P_K - mean_P_1
  if baseline == 'leave_one_out':
    if group_size < 2:
      raise ValueError(f'leave_one_out needs 2 responses, not {group_size}')
    # r - (K mean - r) / (K - 1) = (r - mean) K / (K - 1).
    return (gap_P_K - mean_P_1) * group_size / (group_size - 1)
  if baseline == 'tau_log_z':
    if tau <= 0:
      raise ValueError(f'tau_log_z needs tau > 0, not {tau}')
    z_P_1 = xp.exp(gap_P_K / tau).mean(axis=1, keepdims=True)
    return gap_P_K - tau * xp.log(z_P_1)
  raise ValueError(f'unknown baseline {baseline!r}')


def are_equal(rewards_P_K):
  """Whether all rewards of a group are the same, but for rounding.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    bool [P].
  """
  xp, rewards_P_K = _floats(rewards_P_K)
  largest_P = xp.abs(rewards_P_K).max(axis=1)
  return xp.ptp(rewards_P_K, axis=1) <= _ROUNDING * largest_P


def group_normalized(rewards_P_K):
  """GRPO's advantage, (r - mean) / std of the group; 0 where all are equal.

  DeepSeek-R1, equation 3, with the population's standard deviation.  Nothing is
  added to it; rewards that `are_equal` would otherwise be rounding blown up.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    float64 [P, K].
  """
  centred_P_K = over_baseline(rewards_P_K, 'mean', 0.0)
  xp, _ = _floats(centred_P_K)
  std_P_1 = xp.sqrt((centred_P_K**2).mean(axis=1, keepdims=True))
  return centred_P_K / xp.where(std_P_1 > 0, std_P_1, 1.0)


def rest_advantages(rewards_P_K):
  """ReST, k1.5, section 3.5: 1 for a group's best response, 0 for the rest.

  The first one wins a tie.  A group without a positive reward has no best.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    float64 [P, K].
  """
  xp, rewards_P_K = _floats(rewards_P_K)
  is_best = xp.arange(rewards_P_K.shape[1]) == rewards_P_K.argmax(1)[:, None]
  return (is_best & (rewards_P_K > 0)).astype(float)


def apply_negative_gradients(advantages_P_K, mode, discard_rate, rng):
  """Decides which responses with a negative advantage stay in the loss.

  'keep' keeps all, 'drop' none, and 'discard' leaves each one out with
  probability `discard_rate`.  A response left out leaves the loss entirely,
  its regularizer included; those with an advantage of 0 always stay.

  Args:
    advantages_P_K: float [P, K].
    mode: 'keep', 'drop' or 'discard'.
    discard_rate: in [0, 1], used by 'discard'.
    rng: a numpy Generator, drawn from by 'discard' alone.

  Returns:
    The advantages, 0 where left out, and a bool mask [P, K] of those kept.

  Raises:
    ValueError: for an unknown mode.
  """
  xp, advantages_P_K = _floats(advantages_P_K)
  is_negative = advantages_P_K < 0
  if mode == 'keep':
    left_out = xp.zeros_like(is_negative)
  elif mode == 'drop':
    left_out = is_negative
  elif mode == 'discard':
    left_out = is_negative & (rng.random(is_negative.shape) < discard_rate)
  else:
    raise ValueError(f'unknown mode of negative gradients {mode!r}')
  return xp.where(left_out, 0.0, advantages_P_K), ~left_out


def sequence_weights(lengths, norm, max_length, in_loss=True):
  """Weights that turn sums over sequences and tokens into a mean.

  Of N responses, response j with n_j tokens in the loss weighs
  'seq_sum': 1 / N (k1.5, section 2.3.2); 'const_max_len': 1 / (N max_length);
  'seq_mean': 1 / (N n_j); 'token_mean': 1 / sum_i n_i.

  Args:
    lengths: int [N], tokens of every response of the minibatch that enter the
      loss, if it does.
    norm: one of the four names.
    max_length: tokens, used by 'const_max_len'.
    in_loss: bool [N], whether a response does.  Those left out get weight 0,
      but count in every mean: the others weigh what they would beside them.

  Returns:
    float32 [N].

  Raises:
    ValueError: for an unknown norm.
  """
  xp, lengths = _floats(lengths)
  count = xp.full(lengths.shape, len(lengths), float)
  divisors = {
    'seq_sum': count,
    'seq_mean': count * xp.maximum(lengths, 1),
    'token_mean': count * 0 + xp.maximum(lengths.sum(), 1),
    'const_max_len': count * max_length,
  }
  if norm not in divisors:
    raise ValueError(f'norm {norm!r} is not one of {sorted(divisors)}')
  weighs = (lengths > 0) & in_loss
  return xp.where(weighs, 1 / divisors[norm], 0.0).astype(np.float32)


def _floats(values):
  """The library of an array, numpy for a list, and the array as floats.

  numpy and jax.numpy both hold to the array API; floats of the first have 64
  bits, of the second 32.
  """
  has_library = hasattr(values, '__array_namespace__')
  xp = values.__array_namespace__() if has_library else np
  return xp, xp.asarray(values, float)
