"""The preference loss, by hand and against its paper's gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from k15.equations import losses

# Two rows of two pairs; the second pair of the second row is absent.
SEGMENTS = np.array([[1, 1, 2, 2, 3, 4, 4, 0], [1, 2, 2, 2, 0, 0, 0, 0]])
MASK = np.array([[0, 1, 0, 1, 1, 1, 1, 0], [1, 0, 1, 1, 0, 0, 0, 0.0]])
# By hand, below; one third for each of the three pairs.
WEIGHT = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.float32) / 3


def dpo(logprobs, ref_logprobs, beta):
  return losses.dpo(logprobs, ref_logprobs, SEGMENTS, MASK, WEIGHT, beta)


def one_pair(preferred, rejected, beta=0.5):
  """Loss, metrics and gradient of [[prompt, y+, prompt, y-]] of one pair."""

  def loss(logprobs):
    return losses.dpo(
      logprobs,
      jnp.zeros((1, 4)),
      np.array([[1, 1, 2, 2]]),
      np.array([[0, 1, 0, 1.0]]),
      np.ones((1, 2), np.float32),
      beta,
    )

  logprobs = jnp.array([[-1.0, preferred, -1.0, rejected]])
  gradient, metrics = jax.grad(loss, has_aux=True)(logprobs)
  return loss(logprobs)[0], metrics, gradient


def test_by_hand():
  # m = 0.5 (l+ - l-) = 0.5 (-1 - (-1 - 2 log 3)) = log 3, so the loss is
  # log(1 + 1/3); its gradient is -0.5 sigmoid(-m) = -0.5 / 4 at y+ and +0.5 / 4
  # at y-, and 0 at the prompts.
  value, metrics, gradient = one_pair(-1.0, -1.0 - 2 * np.log(3))
  np.testing.assert_allclose(value, np.log(4 / 3), rtol=1e-6)
  np.testing.assert_allclose(gradient, [[0, -0.125, 0, 0.125]], rtol=1e-5)
  np.testing.assert_allclose(metrics['margin_sum'], np.log(3), rtol=1e-6)
  np.testing.assert_allclose(metrics['preferred_reward_sum'], -0.5, rtol=1e-6)
  np.testing.assert_allclose(
    metrics['rejected_reward_sum'], -0.5 - np.log(3), rtol=1e-6
  )
  assert metrics['accuracy_sum'] == 1.0


def test_at_the_reference_nothing_is_preferred():
  # m = 0: log 2, half of beta as gradient, and nobody is right yet.
  value, metrics, gradient = one_pair(0.0, 0.0)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  np.testing.assert_allclose(gradient, [[0, -0.25, 0, 0.25]], rtol=1e-6)
  assert metrics['accuracy_sum'] == 0.0


def test_a_far_margin_stays_finite():
  value, _, gradient = one_pair(-4000.0, 0.0)
  np.testing.assert_allclose(value, 2000.0)
  np.testing.assert_allclose(gradient, [[0, -0.5, 0, 0.5]])


def test_gradient_of_the_papers_formula():
  """-beta E[sigmoid(r_l - r_w) (grad log pi(y_w) - grad log pi(y_l))]."""
  rng = np.random.default_rng(0)
  logprobs, ref = -rng.exponential(size=(2, 2, 8)).astype(np.float32)
  beta = 0.3
  expected = np.zeros((2, 8))
  for row, (w, r) in ((0, (1, 2)), (0, (3, 4)), (1, (1, 2))):
    is_w, is_r = ((SEGMENTS[row] == s) & (MASK[row] > 0) for s in (w, r))
    ratio = logprobs[row] - ref[row]
    gap = beta * (ratio[is_r].sum() - ratio[is_w].sum())
    sigmoid = 1 / (1 + np.exp(-gap))
    expected[row][is_w] = -beta * sigmoid / 3
    expected[row][is_r] = beta * sigmoid / 3
  gradient = jax.grad(lambda x: dpo(x, ref, beta)[0])(jnp.array(logprobs))
  np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_absent_pairs_and_padding_do_not_count():
  rng = np.random.default_rng(1)
  logprobs, ref = -rng.exponential(size=(2, 2, 8)).astype(np.float32)
  changed = np.where(MASK > 0, logprobs, -99.0)
  value, metrics = dpo(logprobs, ref, 0.1)
  again, _ = dpo(changed, ref, 0.1)
  assert value == again
  assert metrics['sequences'] == 6 and metrics['tokens'] == 8
  # Losses of micro-batches add up: each row alone, and both.
  halves = [
    losses.dpo(*(x[i : i + 1] for x in (logprobs, ref, SEGMENTS, MASK, WEIGHT)),
               0.1)[0]
    for i in range(2)
  ]  # fmt: skip
  np.testing.assert_allclose(sum(halves), value, rtol=1e-6)


def test_the_reference_is_not_differentiated():
  ref = jnp.full((2, 8), -1.0)
  gradient = jax.grad(lambda r: dpo(jnp.zeros((2, 8)), r, 0.1)[0])(ref)
  assert not np.any(gradient)
