"""The loss of `loss.method`: its keys in, a function of arrays out."""

import functools
import types
from typing import Any

from k15.equations import gamma_decay
from k15.equations import grpo
from k15.equations import losses
from k15.equations import rollout_correction
from k15.equations import token_clip
from k15.training import update


def uses_slow_reference(config: Any) -> bool:
  """Whether the loss pulls towards GRPO's slow reference."""
  return config.loss.method == 'grpo' and config.loss.grpo_beta > 0


def make_loss(config: Any) -> update.Loss:
  """The loss of the configured method, for `update.make_step`.

  The same settings give the same function.
  """
  return _loss(tuple(config.loss.items()))


@functools.lru_cache(16)
def _loss(settings):
  c = types.SimpleNamespace(**dict(settings))
  # Without the pull, mirror descent is REINFORCE; with the advantage 1 for the
  # best response and 0 for the others, that is ReST.
  tau = c.tau if c.method == 'mirror_descent' else 0.0

  def mirror_descent(logprobs, rows, token_weight):
    return losses.policy_mirror_descent(
      logprobs,
      rows.ref_logprobs,
      rows.segment_ids,
      rows.loss_mask,
      rows.advantage,
      rows.pg_weight,
      rows.reg_weight,
      tau,
      token_weight,
    )

  def grouped(logprobs, rows, token_weight):
    value, values = grpo.loss(
      logprobs,
      rows.ref_logprobs,
      rows.kl_logprobs,
      rows.segment_ids,
      rows.loss_mask,
      rows.advantage,
      rows.pg_weight,
      rows.reg_weight,
      c.grpo_clip,
      c.grpo_beta,
      c.grpo_ratio,
      token_weight,
      c.grpo_clip_high or None,
    )
    if c.grpo_beta == 0:
      del values['kl_sum']  # Nothing is there that it would be measured from.
    return value, values

  def clipped_tokens(logprobs, rows, token_weight):
    del token_weight  # It has ratios to the rollout of its own.
    return token_clip.loss(
      logprobs,
      rows.behavior_logprobs,
      rows.segment_ids,
      rows.loss_mask,
      rows.advantage,
      rows.pg_weight,
      rows.reg_weight,
      c.tau,
      c.token_clip_low,
      c.token_clip_high,
    )

  methods = dict(grpo=grouped, token_clip=clipped_tokens)
  method = methods.get(c.method, mirror_descent)

  def loss(logprobs, rows):
    token_weight = None
    if c.gamma < 1:
      token_weight = gamma_decay.token_weights(rows.segment_ids, c.gamma)
    measured = rollout_correction.drift(
      rows.ref_logprobs,
      rows.behavior_logprobs,
      rows.loss_mask * rows.current_mask,
    )
    measured |= losses.token_log_ratio_metrics(
      logprobs, rows.ref_logprobs, rows.loss_mask
    )
    if c.rollout_correction != 'none':
      rows, corrected, weights = _corrected(c, rows)
      measured |= weights
      token_weight = _times(token_weight, corrected)
    value, values = method(logprobs, rows, token_weight)
    return value, values | measured

  return loss


def _times(left, right):
  """The product of weights of tokens, of which None stands for 1."""
  if left is None or right is None:
    return right if left is None else left
  return left * right


def _corrected(c, rows):
  """Rows weighted for what sampled them, weights of tokens, and metrics."""
  token_weight, sequence_weight, loss_mask, values = rollout_correction.correct(
    rows.ref_logprobs,
    rows.behavior_logprobs,
    rows.segment_ids,
    rows.loss_mask,
    rows.advantage.shape[-1],
    c.rollout_correction,
    c.rollout_correction_level,
    c.rollout_correction_cap,
  )
  rows = rows.replace(
    pg_weight=rows.pg_weight * sequence_weight, loss_mask=loss_mask
  )
  return rows, token_weight, values
