"""Losses, baselines and weights: the equations of the policy update.

The first half runs on devices.  Its arrays are the fields of a packed Batch
(see data_types), and `logprobs` [B, T], log pi_theta of each target token in
nats, is the only one differentiated.  Every loss is a SUM over sequences:
what turns it into a mean (1 / responses, 1 / length) is already inside the
weights, so the losses of micro-batches add up.  So do their metrics, but for
those named `*_max`; `merge_metrics` knows both kinds.

The second half runs on the host, in numpy: rewards of groups [P, K] in,
advantages and weights out.
"""

import jax
import jax.numpy as jnp
import numpy as np

# exp is cut beyond it: a diverged policy gives large numbers, never inf.
MAX_LOG_RATIO = 60.0

# Rewards of a group that differ by less, as a share of the largest, are equal:
# sums of the same parts in another order are off by some 1e-16.
_ROUNDING = 1e-9


def sequence_sums(values, segment_ids, mask, num_sequences):
  """Sums the values of each packed sequence over masked tokens, in float32.

  Args:
    values: float [B, T].
    segment_ids: int32 [B, T], s + 1 for tokens of sequence s, 0 for padding.
    mask: float32 or bool [B, T], tokens to be summed.
    num_sequences: S, sequences a row can hold.

  Returns:
    float32 [B, S], 0 for absent sequences.
  """
  # A masked sum, not a product with a one-hot matrix: matrix products may
  # round to bfloat16, and 0 * inf would leak out of masked tokens.
  numbers = jnp.arange(1, num_sequences + 1)[None, None]
  member = segment_ids[..., None] == numbers
  member &= mask[..., None] > 0
  values = values.astype(jnp.float32)[..., None]
  return jnp.sum(jnp.where(member, values, 0.0), axis=1)


def policy_mirror_descent(
  logprobs,
  ref_logprobs,
  segment_ids,
  loss_mask,
  advantage,
  pg_weight,
  reg_weight,
  tau,
  token_weight=None,
):
  """The loss of Kimi k1.5, section 2.3.2; minus its gradient is equation 3.

  J = sum_j [ -pg_weight_j A_j log pi(y_j) + reg_weight_j tau/2 l_j^2 ],
  l_j = log pi(y_j) - log pi_theta_i(y_j), both summed over masked tokens.

  Args:
    tau: strength of the pull towards pi_theta_i, >= 0; others as in Batch.
    token_weight: float32 [B, T], of each log pi in the first sum; None: 1.

  Returns:
    The loss, float32 [], and a dict of metrics.
  """
  stop = jax.lax.stop_gradient

  def sums(values):
    return sequence_sums(values, segment_ids, loss_mask, advantage.shape[-1])

  logprobs = logprobs.astype(jnp.float32)
  log_pi, log_ratio = sums(logprobs), sums(logprobs - stop(ref_logprobs))
  weighted = log_pi
  if token_weight is not None:
    weighted = sums(stop(token_weight) * logprobs)
  pg_loss = -jnp.sum(stop(pg_weight * advantage) * weighted)
  reg_loss = 0.5 * tau * jnp.sum(stop(reg_weight) * log_ratio**2)
  metrics = _metrics(log_pi, segment_ids, loss_mask)
  metrics |= _log_ratio_metrics(log_ratio, pg_loss, reg_loss)
  return pg_loss + reg_loss, stop(metrics)


def surrogate(
  logprobs, ref_logprobs, segment_ids, loss_mask, advantage, weight, tau
):
  """The squared surrogate L of Kimi k1.5, section 2.3.2, over 2 tau.

  sum_j weight_j (A_j - tau l_j)^2 / (2 tau).  Its gradient is that of
  `policy_mirror_descent` with both weights equal to `weight`; divided so,
  the size of a step does not depend on tau.

  Args:
    weight: float32 [B, S]; tau: > 0; others as in Batch.

  Returns:
    float32 [].
  """
  log_ratio = sequence_sums(
    logprobs.astype(jnp.float32) - ref_logprobs,
    segment_ids,
    loss_mask,
    advantage.shape[-1],
  )
  return jnp.sum(weight * (advantage - tau * log_ratio) ** 2) / (2 * tau)


def grpo(
  logprobs,
  ref_logprobs,
  kl_logprobs,
  segment_ids,
  loss_mask,
  advantage,
  pg_weight,
  reg_weight,
  clip,
  beta,
  ratio='token',
  token_weight=None,
):
  """The GRPO loss of DeepSeek-R1, equations 1 and 2.

  J = -sum_j pg_weight_j sum_t min(rho A_j, clip(rho, 1-eps, 1+eps) A_j)
      + beta sum_j reg_weight_j sum_t (e^d - d - 1),
  rho = pi_theta / pi_theta_i and d = log pi_ref - log pi_theta, per token;
  weights of the norm 'seq_mean' bring the usual 1 / (G |o_j|).  With
  ratio='sequence' rho and d are those of a whole output, as R1 prints them,
  the sum over t has one term, and 'seq_sum' brings 1 / G.

  Args:
    clip: eps > 0; from 1 on there is no lower side.
    beta: weight of the KL estimate against kl_logprobs; others as in Batch.
    ratio: 'token' or 'sequence'.
    token_weight: float32 [B, T], of each term of the first sum; None: 1.

  Returns:
    The loss, float32 [], and a dict of metrics.

  Raises:
    ValueError: another ratio, or weights of tokens where there is
      one term a sequence.
  """
  if ratio not in ('token', 'sequence'):
    raise ValueError(f"ratio is {ratio!r}, not 'token' or 'sequence'")
  if ratio == 'sequence' and token_weight is not None:
    raise ValueError("ratio 'sequence' takes no weights of tokens")
  stop = jax.lax.stop_gradient

  def sums(values):
    return sequence_sums(values, segment_ids, loss_mask, advantage.shape[-1])

  logprobs = logprobs.astype(jnp.float32)
  log_rho, d = logprobs - stop(ref_logprobs), stop(kl_logprobs) - logprobs
  log_pi, log_ratio, over_tokens = sums(logprobs), sums(log_rho), sums
  if ratio == 'sequence':
    log_rho, d, over_tokens = log_ratio, sums(d), lambda values: values
  rho = jnp.exp(jnp.minimum(log_rho, MAX_LOG_RATIO))
  d = jnp.minimum(d, MAX_LOG_RATIO)

  def over_weighted(values):
    weighs = token_weight is not None
    return over_tokens(stop(token_weight) * values if weighs else values)

  gain = _clipped_gain(rho, stop(advantage), clip, over_weighted)
  kl = over_tokens(jnp.exp(d) - d - 1)
  pg_loss = -jnp.sum(stop(pg_weight) * gain)
  reg_loss = beta * jnp.sum(stop(reg_weight) * kl)
  metrics = _metrics(log_pi, segment_ids, loss_mask) | dict(kl_sum=kl.sum())
  metrics |= _log_ratio_metrics(log_ratio, pg_loss, reg_loss)
  return pg_loss + reg_loss, stop(metrics)


def _clipped_gain(rho, advantage, clip, over_tokens):
  """Sum of min(rho A, clip(rho) A): bounds rho on the side A pushes it to."""
  bounded = jnp.where(
    advantage > 0,
    over_tokens(jnp.minimum(rho, 1 + clip)),
    over_tokens(jnp.maximum(rho, 1 - clip)),
  )
  return advantage * bounded


def next_token(logprobs, segment_ids, loss_mask, pg_weight):
  """Weighted negative log-likelihood: J = -sum_j pg_weight_j log pi(y_j).

  Supervised fine-tuning weighs each sequence 1 / (target tokens of the
  step); ReST (Kimi k1.5, section 3.5) only the best response of a group.

  Returns:
    The loss, float32 [], and a dict of metrics.
  """
  log_pi = sequence_sums(logprobs, segment_ids, loss_mask, pg_weight.shape[-1])
  loss = -jnp.sum(jax.lax.stop_gradient(pg_weight) * log_pi)
  return loss, jax.lax.stop_gradient(_metrics(log_pi, segment_ids, loss_mask))


def dpo(logprobs, ref_logprobs, segment_ids, loss_mask, pg_weight, beta):
  """Direct preference optimization (arXiv 2305.18290), for k1.5, section 2.4.

  J = sum_p w_p log(1 + e^(-m_p)),  m_p = beta (l_preferred - l_rejected), with
  l = log pi(y) - log pi_ref(y), summed over masked tokens.

  Args:
    pg_weight: as in Batch; pair p of a row has the columns 2p, preferred, and
      2p + 1, rejected, and w_p is the weight of both.
    beta: strength of the pull towards pi_ref, > 0; others as in Batch.

  Returns:
    The loss, float32 [], and a dict of metrics: weighted sums, over pairs, of
    accuracy (m > 0), margin m, and the rewards beta l of either side.
  """
  stop = jax.lax.stop_gradient
  num_sequences = pg_weight.shape[-1]
  log_pi = sequence_sums(logprobs, segment_ids, loss_mask, num_sequences)
  log_ref = sequence_sums(ref_logprobs, segment_ids, loss_mask, num_sequences)
  rewards = beta * (log_pi - stop(log_ref))
  preferred, rejected = rewards[:, 0::2], rewards[:, 1::2]
  weight, margin = stop(pg_weight[:, 0::2]), preferred - rejected
  metrics = _metrics(log_pi, segment_ids, loss_mask) | dict(
    accuracy_sum=jnp.sum(weight * (margin > 0)),
    margin_sum=jnp.sum(weight * margin),
    preferred_reward_sum=jnp.sum(weight * preferred),
    rejected_reward_sum=jnp.sum(weight * rejected),
  )
  return jnp.sum(weight * jax.nn.softplus(-margin)), stop(metrics)


def value_logistic(values, labels, weight):
  """The loss of a classic reward model: J = sum_j weight_j log(1 + e^(-y v)).

  v is the value of response j, y = 1 for a correct and -1 for a wrong one:
  the negative log-likelihood of labels under P(correct) = sigmoid(v).  Kimi
  k1.5, section 2.3.5, names the model but publishes no loss.

  Args:
    values: float [B]; differentiated.
    labels: bool or 0 / 1 [B], whether the response is correct.
    weight: float32 [B], 1 / B for a mean, 0 for rows not in use.

  Returns:
    The loss, float32 [], and a dict of metrics.
  """
  is_correct = labels > 0
  values = values.astype(jnp.float32)
  loss = jnp.sum(
    weight * jax.nn.softplus(jnp.where(is_correct, -values, values))
  )
  metrics = dict(
    value_sum=jnp.sum(weight * values),
    accuracy_sum=jnp.sum(weight * ((values > 0) == is_correct)),
  )
  return loss, jax.lax.stop_gradient(metrics)


def merge_metrics(left, right):
  """Joins the metrics of micro-batches: `*_max` by max, others by sum.

  Zeros are neutral, so they can start an accumulation.
  """

  def merge(key):
    join = jnp.maximum if key.endswith('_max') else jnp.add
    return join(left[key], right[key])

  return {key: merge(key) for key in left}


def _metrics(log_pi, segment_ids, loss_mask):
  ones = jnp.ones(loss_mask.shape)
  tokens = sequence_sums(ones, segment_ids, loss_mask, log_pi.shape[-1])
  sequences = jnp.sum(tokens > 0).astype(jnp.float32)
  return dict(
    sequences=sequences, tokens=jnp.sum(tokens), logprob_sum=jnp.sum(log_pi)
  )


def _log_ratio_metrics(log_ratio, pg_loss, reg_loss):
  return dict(
    log_ratio_sum=jnp.sum(log_ratio),
    log_ratio_sq_sum=jnp.sum(log_ratio**2),
    log_ratio_abs_max=jnp.max(jnp.abs(log_ratio)),
    pg_loss_sum=pg_loss,
    reg_loss_sum=reg_loss,
  )


def advantages(rewards_P_K, baseline, tau):
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
  rewards_P_K = np.asarray(rewards_P_K, np.float64)
  group_size = rewards_P_K.shape[1]
  if baseline == 'none':
    return rewards_P_K
  # Every baseline moves along with its group, so the best may count as 0:
  # then equal rewards cancel exactly, and exp(r / tau) cannot overflow.
  gap_P_K = rewards_P_K - rewards_P_K.max(axis=1, keepdims=True)
  gap_P_K[are_equal(rewards_P_K)] = 0.0
  mean_P_1 = gap_P_K.mean(axis=1, keepdims=True)
  if baseline == 'mean':
    return gap_P_K - mean_P_1
  if baseline == 'leave_one_out':
    if group_size < 2:
      raise ValueError(f'leave_one_out needs 2 responses, not {group_size}')
    return (gap_P_K - mean_P_1) * group_size / (group_size - 1)
  if baseline == 'tau_log_z':
    if tau <= 0:
      raise ValueError(f'tau_log_z needs tau > 0, not {tau}')
    z_P_1 = np.exp(gap_P_K / tau).mean(axis=1, keepdims=True)
    return gap_P_K - tau * np.log(z_P_1)
  raise ValueError(f'unknown baseline {baseline!r}')


def are_equal(rewards_P_K):
  """Whether all rewards of a group are the same, but for rounding.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    bool [P].
  """
  rewards_P_K = np.asarray(rewards_P_K, np.float64)
  largest_P = np.abs(rewards_P_K).max(axis=1)
  return np.ptp(rewards_P_K, axis=1) <= _ROUNDING * largest_P


def group_normalized(rewards_P_K):
  """GRPO's advantage, (r - mean) / std of the group; 0 where all are equal.

  DeepSeek-R1, equation 3, with the population's standard deviation.  Nothing is
  added to it; rewards that `are_equal` would otherwise be rounding blown up.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    float64 [P, K].
  """
  centred_P_K = advantages(rewards_P_K, 'mean', 0.0)
  std_P_1 = np.sqrt((centred_P_K**2).mean(axis=1, keepdims=True))
  return centred_P_K / np.where(std_P_1 > 0, std_P_1, 1.0)


def rest_advantages(rewards_P_K):
  """ReST, k1.5, section 3.5: 1 for a group's best response, 0 for the rest.

  The first one wins a tie.  A group without a positive reward has no best.

  Args:
    rewards_P_K: float [P, K].

  Returns:
    float64 [P, K].
  """
  rewards_P_K = np.asarray(rewards_P_K)
  is_best = np.arange(rewards_P_K.shape[1]) == rewards_P_K.argmax(1)[:, None]
  return (is_best & (rewards_P_K > 0)).astype(np.float64)


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
  is_negative = advantages_P_K < 0
  if mode == 'keep':
    left_out = np.zeros_like(is_negative)
  elif mode == 'drop':
    left_out = is_negative
  elif mode == 'discard':
    left_out = is_negative & (rng.random(is_negative.shape) < discard_rate)
  else:
    raise ValueError(f'unknown mode of negative gradients {mode!r}')
  return np.where(left_out, 0.0, advantages_P_K), ~left_out


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
  lengths = np.asarray(lengths)
  count = np.full(lengths.shape, len(lengths), np.float64)
  divisors = {
    'seq_sum': count,
    'seq_mean': count * np.maximum(lengths, 1),
    'token_mean': np.full(lengths.shape, max(lengths.sum(), 1), np.float64),
    'const_max_len': count * max_length,
  }
  if norm not in divisors:
    raise ValueError(f'norm {norm!r} is not one of {sorted(divisors)}')
  weighs = (lengths > 0) & in_loss
  return np.where(weighs, 1 / divisors[norm], 0.0).astype(np.float32)
