"""Losses of the policy update and of its relatives: what is differentiated.

All of it runs on devices.  Arrays are the fields of a packed Batch (see
data_types), and `logprobs` [B, T], log pi_theta of each target token in nats,
is the only one differentiated.  Every loss is a SUM over sequences: what turns
it into a mean (1 / responses, 1 / length) is already inside the weights, which
`advantages` makes on the host, so the losses of micro-batches add up.  So do
their metrics, but for those named `*_max`; `merge_metrics` knows both kinds.
"""

import jax
import jax.numpy as jnp

# exp is cut beyond it: a diverged policy gives large numbers, never inf.  e^60
# is 1e26, so that sums of as many as 1e12 stay below the 3e38 of float32.
MAX_LOG_RATIO = 60.0


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
  # At theta_i every l is 0, and this has no gradient: the first update of an
  # iteration is REINFORCE with a baseline, and only the later ones are held.
  reg_loss = 0.5 * tau * jnp.sum(stop(reg_weight) * log_ratio**2)
  metrics = sequence_metrics(log_pi, segment_ids, loss_mask)
  metrics |= log_ratio_metrics(log_ratio, pg_loss, reg_loss)
  return pg_loss + reg_loss, stop(metrics)


def next_token(logprobs, segment_ids, loss_mask, pg_weight):
  """Weighted negative log-likelihood: J = -sum_j pg_weight_j log pi(y_j).

  Supervised fine-tuning weighs each sequence 1 / (target tokens of the
  step); ReST (Kimi k1.5, section 3.5) only the best response of a group.

  Returns:
    The loss, float32 [], and a dict of metrics.
  """
  log_pi = sequence_sums(logprobs, segment_ids, loss_mask, pg_weight.shape[-1])
  loss = -jnp.sum(jax.lax.stop_gradient(pg_weight) * log_pi)
  return loss, jax.lax.stop_gradient(
    sequence_metrics(log_pi, segment_ids, loss_mask)
  )


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
  metrics = sequence_metrics(log_pi, segment_ids, loss_mask) | dict(
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


def sequence_metrics(log_pi, segment_ids, loss_mask):
  """Counts of what is in the loss, and the sum of its log-probabilities."""
  ones = jnp.ones(loss_mask.shape)
  tokens = sequence_sums(ones, segment_ids, loss_mask, log_pi.shape[-1])
  sequences = jnp.sum(tokens > 0).astype(jnp.float32)
  return dict(
    sequences=sequences, tokens=jnp.sum(tokens), logprob_sum=jnp.sum(log_pi)
  )


def token_log_ratio_metrics(logprobs, ref_logprobs, loss_mask):
  """How many tokens are in the loss, and squares of their log-ratios, [B, T].

  Without a gradient.
  """
  ratio = jax.lax.stop_gradient(logprobs - ref_logprobs)
  return dict(
    token_log_ratios=jnp.sum(loss_mask),
    token_log_ratio_sq_sum=jnp.sum(loss_mask * ratio**2),
  )


def log_ratio_metrics(log_ratio, pg_loss, reg_loss):
  """Sums over sequences of log-ratios [B, S], and the parts of a loss."""
  return dict(
    log_ratio_sum=jnp.sum(log_ratio),
    log_ratio_sq_sum=jnp.sum(log_ratio**2),
    log_ratio_abs_max=jnp.max(jnp.abs(log_ratio)),
    pg_loss_sum=pg_loss,
    reg_loss_sum=reg_loss,
  )
