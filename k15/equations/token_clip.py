"""The loss that Kimi K2.5 has in place of k1.5's: token by token, and clipped.

It takes and returns what those of `losses` do.
"""

import jax
import jax.numpy as jnp

from k15.equations import losses


def loss(
  logprobs,
  behavior_logprobs,
  segment_ids,
  loss_mask,
  advantage,
  pg_weight,
  reg_weight,
  tau,
  low,
  high,
):
  """The loss of Kimi K2.5 (arXiv 2602.02276), token by token.

  J = sum_j sum_t [ -pg_weight_j A_j e^clip(l, low, high)
                    + reg_weight_j tau l^2 ],
  l = log pi_theta - log b of a token that b has sampled; weights of the norm
  'token_mean' bring its 1 / N, N all tokens of the step.  Outside the bounds a
  token has no policy gradient, whatever the sign of A, where GRPO's clip holds
  on one side only; the pull has one everywhere.  b is the rollout's own
  probability, as what is to be bounded is the drift between training and
  rollout too.  tau is not halved, and is that of tokens: not k1.5's.

  Args:
    tau: strength of the pull towards b, >= 0; others as in Batch.
    low, high: alpha < 0 and beta > 0, of log-ratios, nats.

  Returns:
    The loss, float32 [], and a dict of metrics.
  """
  stop = jax.lax.stop_gradient

  def sums(values):
    return losses.sequence_sums(
      values, segment_ids, loss_mask, advantage.shape[-1]
    )

  logprobs = logprobs.astype(jnp.float32)
  log_rho = logprobs - stop(behavior_logprobs)
  is_cut = (log_rho < low) | (log_rho > high)
  # Not `jnp.clip`, which passes half of a gradient at a bound.
  rho = jnp.exp(jnp.where(is_cut, stop(jnp.clip(log_rho, low, high)), log_rho))
  pg_loss = -jnp.sum(stop(pg_weight * advantage) * sums(rho))
  reg_loss = tau * jnp.sum(stop(reg_weight) * sums(log_rho**2))
  metrics = losses.sequence_metrics(sums(logprobs), segment_ids, loss_mask)
  metrics |= losses.log_ratio_metrics(sums(log_rho), pg_loss, reg_loss)
  metrics |= dict(cut_tokens=jnp.sum(sums(is_cut)))
  return pg_loss + reg_loss, stop(metrics)
