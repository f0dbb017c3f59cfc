"""Ratios by hand; what weights and masks do to the losses of a stage."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from experiments import base
from k15.equations import grpo
from k15.equations import losses
from k15.equations import rollout_correction
from k15.stages.rl import methods as methods_lib
from k15.training import batching
from k15.training import update
from k15.training.sequences import Sequence
from tests.equations import test_losses

LN2 = math.log(2)
EVERY = [
  (kind, level)
  for kind in ('truncate', 'mask')
  for level in rollout_correction.LEVELS
]
FEW = [('truncate', 'sequence'), ('mask', 'token')]


def logs(*ratios):
  return jnp.log(jnp.array([ratios], jnp.float32))


def correct(ratios, segment_ids, kind, level, cap=2.0, mask=None):
  """On a row of these ratios, whose training log-probabilities are -1."""
  ids = jnp.array([segment_ids])
  mask = (ids > 0).astype(jnp.float32) if mask is None else jnp.array([mask])
  ref = jnp.full(ids.shape, -1.0)
  return rollout_correction.correct(
    ref, ref - logs(*ratios), ids, mask, 2, kind, level, cap
  )


def test_drift_by_hand():
  # Training / rollout = 2 and 1/2, the third token does not count:
  # |d| = ln 2 twice; (2 - 1 - ln 2) + (1/2 - 1 + ln 2) = 1/2.
  values = rollout_correction.drift(
    logs(0.5, 0.25, 0.9), logs(0.25, 0.5, 0.1), jnp.array([[1, 1, 0]])
  )
  assert values['drift_tokens'] == 2
  assert values['drift_abs_sum'] == pytest.approx(2 * LN2)
  assert values['drift_abs_max'] == pytest.approx(LN2)
  assert values['drift_kl_sum'] == pytest.approx(0.5)


def test_the_estimate_is_the_divergence():
  # b = (1/2, 1/2) and pi = (1/4, 3/4), each token once, as often as b says:
  # KL(b || pi) = (ln 2 - ln 3/2) / 2.
  values = rollout_correction.drift(
    logs(0.25, 0.75), logs(0.5, 0.5), jnp.ones((1, 2))
  )
  expected = (LN2 - math.log(1.5)) / 2
  assert values['drift_kl_sum'] / 2 == pytest.approx(expected, rel=1e-5)


def test_truncated_tokens_by_hand():
  token, sequence, mask, values = correct(
    [4, 1, 0.5, 9], [1, 1, 2, 0], 'truncate', 'token'
  )
  np.testing.assert_allclose(token[0, :3], [2, 1, 0.5])
  np.testing.assert_array_equal(sequence, [[1, 1]])
  np.testing.assert_array_equal(mask, [[1, 1, 1, 0]])
  assert values['correction_tokens'] == 3
  assert values['correction_cut_sum'] == 1
  assert values['correction_weight_sum'] == pytest.approx(3.5)


def test_truncated_sequences_by_hand():
  # 4 * 1/8 = 1/2; 3 * 1 = 3, above the cap.  The token outside of the loss,
  # 100, is in no product.
  token, sequence, mask, values = correct(
    [4, 100, 0.125, 3, 1, 9],
    [1, 1, 1, 2, 2, 0],
    'truncate',
    'sequence',
    mask=[1.0, 0, 1, 1, 1, 0],
  )
  assert token is None
  np.testing.assert_allclose(sequence, [[0.5, 2]], rtol=1e-6)
  np.testing.assert_array_equal(mask, [[1, 0, 1, 1, 1, 0]])
  assert values['correction_cut_sum'] == 2
  assert values['correction_weight_sum'] == pytest.approx(2 * 0.5 + 2 * 2)


def test_masks_by_hand():
  # Between 1/2 and 2, sides included up to rounding: 1.9, 0.51.
  token, sequence, mask, values = correct(
    [1.9, 2.1, 0.51, 0.49, 1], [1, 1, 1, 2, 0], 'mask', 'token'
  )
  assert token is None
  np.testing.assert_array_equal(sequence, [[1, 1]])
  np.testing.assert_array_equal(mask, [[1, 0, 1, 0, 0]])
  assert values['correction_cut_sum'] == 2
  assert values['correction_weight_sum'] == 2
  # Products: 1.9 * 2.1 * 0.51 = 2.03, and 0.6.
  *_, mask, values = correct(
    [1.9, 2.1, 0.51, 0.6, 1], [1, 1, 1, 2, 0], 'mask', 'sequence'
  )
  np.testing.assert_array_equal(mask, [[0, 0, 0, 1, 0]])
  assert values['correction_cut_sum'] == 3


def test_ratios_beyond_numbers_stay_finite():
  token, *_ = rollout_correction.correct(
    jnp.zeros((1, 2)), jnp.array([[-1e4, 1e4]]), jnp.ones((1, 2), jnp.int32),
    jnp.ones((1, 2)), 1, 'truncate', 'token', 2.0,
  )  # fmt: skip
  np.testing.assert_array_equal(token, [[2, 0]])


def test_what_is_refused():
  with pytest.raises(ValueError, match="no correction 'none' by 'token'"):
    correct([1], [1], 'none', 'token')
  with pytest.raises(ValueError, match="by 'group'"):
    correct([1], [1], 'mask', 'group')
  batch, logprobs = test_losses.one_token_batch([0.0], [1.0], [1.0])
  with pytest.raises(ValueError, match='no weights of tokens'):
    grpo.loss(
      logprobs, logprobs, logprobs, batch.segment_ids, batch.loss_mask,
      batch.advantage, batch.pg_weight, batch.reg_weight, 0.2, 0.0, 'sequence',
      token_weight=logprobs,
    )  # fmt: skip


def test_weights_enter_the_policy_gradient_alone():
  # One response of two tokens, A = 3, weight 1/2; weights of tokens 2, 1/2:
  # -1/2 * 3 * (2 * -1 + 1/2 * -2) = 4.5, and the pull, with l = -1 + 0.5:
  # 1/2 * 0.4 / 2 * 0.25 = 0.025.
  ids, ones = jnp.ones((1, 2), jnp.int32), jnp.ones((1, 2))
  weights = jnp.array([[2.0, 0.5]])
  loss, values = losses.policy_mirror_descent(
    jnp.array([[-1.0, -2.0]]), jnp.array([[0.0, -2.5]]), ids, ones,
    jnp.array([[3.0]]), jnp.array([[0.5]]), jnp.array([[0.5]]), 0.4, weights,
  )  # fmt: skip
  assert values['pg_loss_sum'] == pytest.approx(4.5)
  assert values['reg_loss_sum'] == pytest.approx(0.025)
  assert loss == pytest.approx(4.525)
  # GRPO at rho = 1: -1/2 * 3 * (2 + 1/2).
  same = jnp.array([[-1.0, -2.0]])
  loss, _ = grpo.loss(
    same, same, same, ids, ones, jnp.array([[3.0]]), jnp.array([[0.5]]),
    jnp.array([[0.5]]), 0.2, 0.1, 'token', weights,
  )  # fmt: skip
  assert loss == pytest.approx(-3.75)


def make_loss(method, kind, level, ratio='token'):
  config = base.get_config()
  config.loss.update(
    method=method,
    rollout_correction=kind,
    rollout_correction_level=level,
    rollout_correction_cap=1.5,
    grpo_ratio=ratio,
    grpo_beta=0.3,
  )
  return methods_lib.make_loss(config)


def behaved_batch(scale, **shape):
  """Responses sampled by a policy as far from the reference as `scale`."""
  batch = test_losses.random_batch(0, **shape)
  reference = test_losses.random_logits(1)
  other = reference + scale * test_losses.random_logits(9)
  return batch.replace(
    behavior_logprobs=test_losses.bigram_logprobs(other, batch),
    current_mask=batch.loss_mask,
  )


def gradient(loss, batch):
  def of_logits(logits):
    return loss(test_losses.bigram_logprobs(logits, batch), batch)

  logits = test_losses.random_logits(5)
  return jax.jit(jax.value_and_grad(of_logits, has_aux=True))(logits)


def methods(level):
  ratios = ('token', 'sequence') if level == 'sequence' else ('token',)
  return [('mirror_descent', 'token'), *(('grpo', r) for r in ratios)]


@pytest.mark.parametrize(('kind', 'level'), thorough.but(EVERY, FEW))
def test_nothing_changes_where_rollout_and_training_agree(kind, level):
  batch = behaved_batch(0.0)
  for method, ratio in methods(level):
    (value, values), grads = gradient(
      make_loss(method, kind, level, ratio), batch
    )
    (plain, plain_values), plain_grads = gradient(
      make_loss(method, 'none', level, ratio), batch
    )
    np.testing.assert_allclose(value, plain, rtol=1e-7)
    np.testing.assert_allclose(grads, plain_grads, rtol=1e-6, atol=1e-7)
    assert values['correction_cut_sum'] == 0
    assert values['correction_weight_sum'] == values['tokens']
    assert 'correction_tokens' not in plain_values
    assert plain_values['drift_abs_max'] == 0


@pytest.mark.parametrize(('kind', 'level'), thorough.but(EVERY, FEW[1:]))
def test_padding_packing_and_micro_batches_change_nothing(kind, level):
  for method, ratio in methods(level):
    loss = make_loss(method, kind, level, ratio)
    (value, values), grads = gradient(loss, behaved_batch(0.4))
    assert 0 < values['correction_cut_sum'] < values['correction_tokens']
    for shape in (
      dict(num_rows=9, row_length=12, max_sequences=1),
      dict(num_rows=3, row_length=70, max_sequences=9),
    ):
      (other, other_values), other_grads = gradient(
        loss, behaved_batch(0.4, **shape)
      )
      np.testing.assert_allclose(other, value, rtol=1e-5)
      np.testing.assert_allclose(other_grads, grads, rtol=1e-4, atol=1e-5)
      test_losses.assert_same_metrics(other_values, values)
    rows = behaved_batch(0.4, num_rows=7, row_length=12, max_sequences=1)
    parts = [gradient(loss, update.take_rows(rows, i, 1)) for i in range(7)]
    sums = [sum(x) for x in zip(*((p[0][0], p[1]) for p in parts), strict=True)]
    # The terms, some of them near 1, cancel.
    np.testing.assert_allclose(sums[0], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums[1], grads, rtol=1e-4, atol=1e-5)
    merged = parts[0][0][1]
    for part in parts[1:]:
      merged = losses.merge_metrics(merged, part[0][1])
    test_losses.assert_same_metrics(merged, values)


def test_what_a_mask_leaves_out_is_as_if_it_were_never_in_the_loss():
  batch = behaved_batch(0.4)
  far = jnp.abs(batch.ref_logprobs - batch.behavior_logprobs)
  kept = batch.replace(
    loss_mask=batch.loss_mask * (far <= math.log(1.5)),
    current_mask=batch.loss_mask,
  )
  (value, _), grads = gradient(
    make_loss('mirror_descent', 'mask', 'token'), batch
  )
  (plain, _), plain_grads = gradient(
    make_loss('mirror_descent', 'none', 'token'), kept
  )
  np.testing.assert_allclose(value, plain, rtol=1e-6)
  np.testing.assert_allclose(grads, plain_grads, rtol=1e-5, atol=1e-7)


def test_weights_undo_the_rollout():
  """The weighted mean over samples of b is the gradient under pi_theta_i."""
  # One token of V = 5, each as often as b says: with a cap out of reach,
  # sum_y b(y) rho(y) A(y) grad log pi(y) = sum_y pi(y) A(y) grad log pi(y).
  V = 5
  logits, advantage = jax.random.normal(jax.random.key(0), (2, V))
  behavior = jax.nn.log_softmax(logits + jnp.arange(V) * 0.3)
  reference = jax.nn.log_softmax(logits)
  ids = jnp.ones((V, 1), jnp.int32)
  ref, b = reference[:, None], behavior[:, None]
  token, sequence, mask, _ = rollout_correction.correct(
    ref, b, ids, jnp.ones((V, 1)), 1, 'truncate', 'token', 100.0
  )

  def loss(logits):
    logprobs = jax.nn.log_softmax(logits)[:, None]
    return losses.policy_mirror_descent(
      logprobs, ref, ids, mask, advantage[:, None],
      jnp.exp(behavior)[:, None] * sequence, jnp.zeros((V, 1)), 0.0, token,
    )[0]  # fmt: skip

  def exact(logits):
    return -jnp.sum(jax.nn.softmax(logits) * advantage)

  np.testing.assert_allclose(
    jax.grad(loss)(logits), jax.grad(exact)(logits), atol=1e-6
  )


def test_packing_carries_what_the_rollout_said():
  sequence = Sequence(
    np.array([1, 2], np.int32),
    np.array([3, 4, 5], np.int32),
    np.array([True, False, True]),
    behavior_logprobs=np.array([-1, -2, -3], np.float32),
    is_current=np.array([False, True, True]),
  )
  batch = batching.pack([sequence], 1, 7, 1)
  np.testing.assert_array_equal(
    batch.behavior_logprobs, [[0, 0, -1, -2, -3, 0, 0]]
  )
  np.testing.assert_array_equal(batch.current_mask, [[0, 0, 0, 1, 1, 0, 0]])
