"""GRPO, and what others have made of it: Dr. GRPO, DAPO, GSPO.

DeepSeek-R1 (arXiv 2501.12948); arXiv 2503.20783, section 3.2; arXiv 2503.14476,
sections 3.1 and 3.3; arXiv 2507.18071, equations 5 to 7.  It takes and returns
what the losses of `losses` do.
"""

import jax
import jax.numpy as jnp

from k15.equations import losses

RATIOS = ('token', 'sequence', 'sequence_mean')  # what the ratio is taken of


def loss(
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
  clip_high=None,
):
  """The GRPO loss of DeepSeek-R1, equations 1 and 2, and of its relatives.

  J = -sum_j pg_weight_j sum_t min(rho A_j, clip(rho, 1-eps, 1+eps') A_j)
      + beta sum_j reg_weight_j sum_t (e^d - d - 1),
  rho = pi_theta / pi_theta_i and d = log pi_ref - log pi_theta, per token;
  weights of the norm 'seq_mean' bring the usual 1 / (G |o_j|), those of
  'token_mean' DAPO's mean over all tokens, those of 'const_max_len' Dr. GRPO's
  constant.  With ratio='sequence' rho and d are those of a whole output, as R1
  prints them, the first sum over t has one term, and 'seq_sum' brings 1 / G.
  So it is with GSPO's 'sequence_mean', where rho is the geometric mean over the
  tokens of an output, but that d stays per token.

  Args:
    clip: eps > 0; from 1 on there is no lower side.
    beta: weight of the KL estimate against kl_logprobs; others as in Batch.
    ratio: 'token', 'sequence' or 'sequence_mean'.
    token_weight: float32 [B, T], of each term of the first sum; None: 1.
    clip_high: eps', DAPO's "clip-higher"; None: eps.

  Returns:
    The loss, float32 [], and a dict of metrics.

  Raises:
    ValueError: another ratio, or weights of tokens where there is
      one term a sequence.
  """
  if ratio not in RATIOS:
    raise ValueError(f'ratio is {ratio!r}, not one of {RATIOS}')
  if ratio != 'token' and token_weight is not None:
    raise ValueError(f'ratio {ratio!r} takes no weights of tokens')
  stop = jax.lax.stop_gradient

  def sums(values):
    return losses.sequence_sums(
      values, segment_ids, loss_mask, advantage.shape[-1]
    )

  logprobs = logprobs.astype(jnp.float32)
  log_rho, d = logprobs - stop(ref_logprobs), stop(kl_logprobs) - logprobs
  log_pi, log_ratio = sums(logprobs), sums(log_rho)
  over_tokens = over_kl = sums
  if ratio == 'sequence':
    log_rho, d, over_tokens = log_ratio, sums(d), lambda values: values
    over_kl = over_tokens
  elif ratio == 'sequence_mean':
    lengths = jnp.maximum(sums(jnp.ones(loss_mask.shape)), 1.0)
    log_rho, over_tokens = log_ratio / lengths, lambda values: values
  rho = jnp.exp(jnp.minimum(log_rho, losses.MAX_LOG_RATIO))
  d = jnp.minimum(d, losses.MAX_LOG_RATIO)

  def over_weighted(values):
    weighs = token_weight is not None
    return over_tokens(stop(token_weight) * values if weighs else values)

  bounds = 1 - clip, 1 + (clip if clip_high is None else clip_high)
  gain = _clipped_gain(rho, stop(advantage), bounds, over_weighted)
  # "k3": its mean under pi_theta is the KL, as that of -d is, but it is never
  # negative and varies less.
  kl = over_kl(jnp.exp(d) - d - 1)
  pg_loss = -jnp.sum(stop(pg_weight) * gain)
  reg_loss = beta * jnp.sum(stop(reg_weight) * kl)
  metrics = losses.sequence_metrics(log_pi, segment_ids, loss_mask)
  metrics |= dict(kl_sum=kl.sum())
  metrics |= losses.log_ratio_metrics(log_ratio, pg_loss, reg_loss)
  return pg_loss + reg_loss, stop(metrics)


def _clipped_gain(rho, advantage, bounds, over_tokens):
  """Sum of min(rho A, clip(rho) A): bounds rho on the side A pushes it to."""
  low, high = bounds
  bounded = jnp.where(
    advantage > 0,
    over_tokens(jnp.minimum(rho, high)),
    over_tokens(jnp.maximum(rho, low)),
  )
  return advantage * bounded
