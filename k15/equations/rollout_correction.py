"""What the rollout sampled from against the policy that is trained.

The rollout computes the probabilities it samples from in its own way: one
token at a time, perhaps in less precision (`rollout.dtype`), perhaps under
older weights.  So it samples not from pi_theta_i but from a behavior policy b
close to it.  Kimi k1.5 says nothing of this; the choices here are of this
project, after truncated importance sampling (Yao et al. 2025, "Your efficient
RL framework secretly brings you off-policy RL training") and masking (IcePop).

Arrays are the fields of a packed Batch (see data_types).  The ratio
rho = pi_theta_i / b is that of the training forward at the start of the
iteration: no gradient flows through it, and no update changes it.
"""

import jax
import jax.numpy as jnp

from k15.equations import losses

KINDS = ('none', 'truncate', 'mask')
LEVELS = ('token', 'sequence')


def drift(ref_logprobs, behavior_logprobs, mask):
  """How far training and rollout are apart on the same tokens.

  With d = log pi_theta_i - log b of a token sampled from b, e^d - 1 - d is an
  estimate of KL(b || pi_theta_i) that is unbiased and never negative.

  Args:
    ref_logprobs: float32 [B, T], nats.
    behavior_logprobs: float32 [B, T], nats, at the same temperature.
    mask: [B, T], above 0 on the tokens that count.

  Returns:
    Sums of |d| and of the estimate, the largest |d|, and the tokens counted,
    float32 [] each.
  """
  inside = mask > 0
  d = jnp.where(inside, ref_logprobs - behavior_logprobs, 0.0)
  kl = jnp.expm1(jnp.minimum(d, losses.MAX_LOG_RATIO)) - d
  return jax.lax.stop_gradient(
    dict(
      drift_tokens=jnp.sum(inside, dtype=jnp.float32),
      drift_abs_sum=jnp.sum(jnp.abs(d)),
      drift_abs_max=jnp.max(jnp.abs(d)),
      drift_kl_sum=jnp.sum(kl),
    )
  )


def correct(
  ref_logprobs,
  behavior_logprobs,
  segment_ids,
  loss_mask,
  num_sequences,
  kind,
  level,
  cap,
):
  """Weights that make up for sampling from b, or leave out what is far off.

  'truncate': the policy-gradient term is weighted by min(rho, cap).
  'mask': what has rho outside [1 / cap, cap] leaves the loss.
  rho is that of a token, or of a whole response: the product over its tokens
  in the loss.  The weights `pg_weight` and `reg_weight` stay those of the
  whole response.

  Args:
    ref_logprobs, behavior_logprobs: float32 [B, T], nats.
    segment_ids: int32 [B, T].
    loss_mask: float32 [B, T].
    num_sequences: S.
    kind: 'truncate' or 'mask'.
    level: 'token' or 'sequence'.
    cap: of the ratio, >= 1.

  Returns:
    token_weight: float32 [B, T], or None where there is one a sequence.
    sequence_weight: float32 [B, S], to be multiplied with `pg_weight`.
    loss_mask: float32 [B, T], what is left of it.
    Metrics, sums over the tokens in the loss: their number, the number of
    those cut, and the weights.

  Raises:
    ValueError: an unknown kind or level.
  """
  if kind not in KINDS[1:] or level not in LEVELS:
    raise ValueError(f'no correction {kind!r} by {level!r}')
  weigh = _truncate if kind == 'truncate' else _mask
  inside = loss_mask > 0
  log_rho = jnp.where(inside, ref_logprobs - behavior_logprobs, 0.0)
  sequence_weight = jnp.ones((len(loss_mask), num_sequences), jnp.float32)
  if level == 'token':
    weight, is_cut = weigh(log_rho, cap)
  else:
    sums = losses.sequence_sums(log_rho, segment_ids, loss_mask, num_sequences)
    sequence_weight, is_cut = weigh(sums, cap)
    weight, is_cut = (
      _spread(x, segment_ids) for x in (sequence_weight, is_cut)
    )
  metrics = dict(
    correction_tokens=jnp.sum(inside, dtype=jnp.float32),
    correction_cut_sum=jnp.sum(inside & is_cut, dtype=jnp.float32),
    correction_weight_sum=jnp.sum(jnp.where(inside, weight, 0.0)),
  )
  if kind == 'mask':
    weights = None, jnp.ones_like(sequence_weight), loss_mask * weight
  else:
    token_weight = weight if level == 'token' else None
    weights = token_weight, sequence_weight, loss_mask
  return jax.lax.stop_gradient((*weights, metrics))


def _truncate(log_rho, cap):
  """Weights, and what was cut."""
  rho = jnp.exp(jnp.minimum(log_rho, losses.MAX_LOG_RATIO))
  return jnp.minimum(rho, cap), rho > cap


def _mask(log_rho, cap):
  is_cut = jnp.abs(log_rho) > jnp.log(cap)
  return 1.0 - is_cut, is_cut


def _spread(values, segment_ids):
  """[B, S] to the tokens [B, T] of each sequence, 0 for padding."""
  padded = jnp.pad(values, ((0, 0), (1, 0)))
  return jnp.take_along_axis(padded, segment_ids, axis=1)
