import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from k15.equations import advantages as advantages_lib
from k15.equations import grpo as grpo_lib
from k15.equations import losses
from k15.equations import token_clip as token_clip_lib
from k15.training import batching
from k15.training import sequences as sequences_lib
from k15.training.sequences import Sequence

VOCABULARY = 5


def bigram_logprobs(logits, batch):
  """log pi of each token of a batch under a table of bigram logits [V, V]."""
  previous = jnp.roll(batch.tokens, 1, axis=1)
  table = jax.nn.log_softmax(logits)
  return table[previous, batch.tokens]


def random_batch(
  seed, num_rows=2, row_length=40, max_sequences=8, norm='seq_sum'
):
  """Seven random responses, packed as asked; a reference to go with them."""
  rng = np.random.default_rng(seed)
  sequences = []
  for length in rng.integers(1, 9, 7):
    tokens = rng.integers(0, VOCABULARY, length + 2).astype(np.int32)
    mask, advantage = rng.random(length) < 0.8, float(rng.normal())
    sequences.append(Sequence(tokens[:2], tokens[2:], mask, advantage))
  lengths = [sequence.loss_tokens for sequence in sequences]
  weights = advantages_lib.sequence_weights(lengths, norm, 8)
  sequences = sequences_lib.with_weights(sequences, weights, weights)
  batch = batching.pack(sequences, num_rows, row_length, max_sequences)
  return batch.replace(
    ref_logprobs=bigram_logprobs(random_logits(seed + 1), batch),
    kl_logprobs=bigram_logprobs(random_logits(seed + 2), batch),
  )


def random_logits(seed):
  return jax.random.normal(jax.random.key(seed), (VOCABULARY, VOCABULARY))


def fields(batch, names):
  return [getattr(batch, name) for name in names.split()]


def mirror_descent(logprobs, batch, tau):
  names = 'ref_logprobs segment_ids loss_mask advantage pg_weight reg_weight'
  return losses.policy_mirror_descent(logprobs, *fields(batch, names), tau)


def surrogate(logprobs, batch, tau):
  """The squared surrogate L of Kimi k1.5, section 2.3.2, over 2 tau.

  sum_j weight_j (A_j - tau l_j)^2 / (2 tau): the form that the paper derives
  equation 3 from.  Divided so, the size of a step does not depend on tau.
  """
  log_ratio = losses.sequence_sums(
    logprobs - batch.ref_logprobs, batch.segment_ids, batch.loss_mask,
    batch.advantage.shape[-1],
  )  # fmt: skip
  gap = batch.advantage - tau * log_ratio
  return jnp.sum(batch.pg_weight * gap**2) / (2 * tau)


def grpo(logprobs, batch, clip=0.2, beta=0.0, ratio='token'):
  names = 'ref_logprobs kl_logprobs segment_ids loss_mask advantage'
  batch_fields = fields(batch, names + ' pg_weight reg_weight')
  return grpo_lib.loss(logprobs, *batch_fields, clip, beta, ratio)


def token_clip(logprobs, batch, tau=0.1, low=-0.2, high=0.3):
  names = 'ref_logprobs segment_ids loss_mask advantage pg_weight reg_weight'
  return token_clip_lib.loss(logprobs, *fields(batch, names), tau, low, high)


def next_token(logprobs, batch):
  names = 'segment_ids loss_mask pg_weight'
  return losses.next_token(logprobs, *fields(batch, names))


def one_token_batch(log_ratios, advantages, weights):
  """Row 0 holds one response of one token for each entry."""
  sequences = [
    Sequence(np.zeros(1, np.int32), np.ones(1, np.int32), [True], a)
    for a in advantages
  ]
  sequences = sequences_lib.with_weights(sequences, weights, weights)
  count = len(sequences)
  batch = batching.pack(sequences, 1, 2 * count, count)
  # Equal lengths keep their order: response j is token 2 j + 1.
  return batch, jnp.zeros((1, 2 * count)).at[0, 1::2].set(jnp.array(log_ratios))


def assert_same_metrics(left, right):
  assert left.keys() == right.keys()
  for key in left:
    np.testing.assert_allclose(left[key], right[key], rtol=1e-4, err_msg=key)


@functools.partial(jax.jit, static_argnums=0)
def table_gradient(loss, logits, batch, tau):
  """Value and gradient of a loss in the logits of a bigram policy."""

  def of_logits(logits):
    result = loss(bigram_logprobs(logits, batch), batch, tau)
    return result[0] if isinstance(result, tuple) else result

  return jax.value_and_grad(of_logits)(logits)


# -- sums


def test_sequence_sums_by_hand():
  values = jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
  segment_ids = jnp.array([[1, 1, 2, 2, 0]])
  mask = jnp.array([[0.0, 1.0, 1.0, 1.0, 1.0]])
  # 2 | 4 + 8 | nothing; the 16 is padding although its mask is 1.
  sums = losses.sequence_sums(values, segment_ids, mask, 3)
  np.testing.assert_array_equal(sums, [[2.0, 12.0, 0.0]])


def test_sequence_sums_are_taken_in_float32():
  # 1 + 1/256 needs 8 bits after the point; bfloat16 has 7.
  values = jnp.array([[1.0, 2.0**-8]], jnp.bfloat16)
  ones = jnp.ones((1, 2), jnp.int32)
  sums = losses.sequence_sums(values, ones, ones, 1)
  assert sums.dtype == jnp.float32
  assert sums[0, 0] == 1 + 2.0**-8


def test_masked_infinity_does_not_leak():
  values = jnp.array([[1.0, -jnp.inf, jnp.nan]])
  segment_ids = jnp.array([[1, 1, 0]])
  mask = jnp.array([[1.0, 0.0, 0.0]])

  def total(values):
    return losses.sequence_sums(values, segment_ids, mask, 1).sum()

  assert total(values) == 1
  np.testing.assert_array_equal(jax.grad(total)(values), [[1, 0, 0]])


# -- equation 3


def test_mirror_descent_by_hand():
  # Two responses of one token, weight 1/2, A = (1/2, -1/2), tau = 1/2.
  # With l = (0.4, -0.2) and log pi = l (reference log-probability 0):
  # J = 1/2 (-0.5 * 0.4 + 0.25 * 0.16) + 1/2 (0.5 * -0.2 + 0.25 * 0.04)
  #   = 1/2 (-0.16) + 1/2 (-0.09) = -0.125;
  # dJ / dlog pi = 1/2 (-A + tau l) = (-0.15, 0.2).
  batch, logprobs = one_token_batch([0.4, -0.2], [0.5, -0.5], [0.5, 0.5])
  (loss, metrics), gradient = jax.value_and_grad(mirror_descent, has_aux=True)(
    logprobs, batch, 0.5
  )
  np.testing.assert_allclose(loss, -0.125, rtol=1e-6)
  np.testing.assert_allclose(gradient, [[0, -0.15, 0, 0.2]], rtol=1e-6)
  expected = dict(
    sequences=2,
    tokens=2,
    logprob_sum=0.2,
    log_ratio_sum=0.2,
    log_ratio_sq_sum=0.2,
    log_ratio_abs_max=0.4,
    pg_loss_sum=-0.15,
    reg_loss_sum=0.025,
  )
  assert_same_metrics(metrics, expected)


def test_gradient_matches_finite_differences():
  batch, logits = random_batch(0), random_logits(2)
  gradient = table_gradient(mirror_descent, logits, batch, 0.3)[1]
  for seed in range(3, 6):
    step = 1e-2 * random_logits(seed)
    above, _ = table_gradient(mirror_descent, logits + step, batch, 0.3)
    below, _ = table_gradient(mirror_descent, logits - step, batch, 0.3)
    np.testing.assert_allclose(
      jnp.sum(gradient * step), (above - below) / 2, rtol=1e-2, atol=1e-5
    )


@pytest.mark.parametrize('tau', [0.01, 0.4, 3.0])
@pytest.mark.parametrize('norm', ['seq_sum', 'seq_mean', 'token_mean'])
def test_gradient_equals_that_of_the_surrogate(tau, norm):
  # (A - tau l)^2 / (2 tau) = A^2 / (2 tau) - A l + tau/2 l^2, and A^2 is
  # constant.
  batch, logits = random_batch(3, norm=norm), random_logits(6)
  left = table_gradient(mirror_descent, logits, batch, tau)[1]
  right = table_gradient(surrogate, logits, batch, tau)[1]
  np.testing.assert_allclose(left, right, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize('tau', [0.0, 1.0])
def test_at_the_reference_it_is_reinforce(tau):
  def reinforce(logprobs, batch, tau):
    del tau
    total = 0.0
    for row in range(2):
      for s in range(8):
        member = (batch.segment_ids[row] == s + 1) * batch.loss_mask[row]
        weight = batch.pg_weight[row, s] * batch.advantage[row, s]
        total -= weight * jnp.sum(member * logprobs[row])
    return total

  batch, logits = random_batch(7), random_logits(8)  # the batch's reference
  left = table_gradient(mirror_descent, logits, batch, tau)[1]
  right = table_gradient(reinforce, logits, batch, tau)[1]
  np.testing.assert_allclose(left, right, atol=1e-6)


def test_only_logprobs_are_differentiated():
  batch, logprobs = one_token_batch([0.4, -0.2], [0.5, -0.5], [0.5, 0.5])
  for loss in (
    lambda batch: mirror_descent(logprobs, batch, 0.5)[0],
    lambda batch: grpo(logprobs, batch, beta=1.0)[0],
    lambda batch: grpo(logprobs, batch, beta=1.0, ratio='sequence')[0],
    lambda batch: token_clip(logprobs, batch)[0],
  ):
    gradient = jax.grad(loss, allow_int=True)(jax.tree.map(jnp.array, batch))
    for name in ('ref_logprobs', 'kl_logprobs', 'advantage', 'pg_weight'):
      assert not np.any(getattr(gradient, name)), name


@pytest.mark.parametrize(
  'loss',
  [
    lambda logprobs, batch: mirror_descent(logprobs, batch, 0.5),
    lambda logprobs, batch: grpo(logprobs, batch, beta=0.1),
    lambda logprobs, batch: grpo(
      logprobs, batch, beta=0.1, ratio='sequence_mean'
    ),
    token_clip,
    next_token,
  ],
)
def test_packing_padding_and_micro_batches_change_nothing(loss):
  logits = random_logits(20)

  @jax.jit
  def evaluate(batch):
    return jax.value_and_grad(
      lambda x: loss(bigram_logprobs(x, batch), batch), has_aux=True
    )(logits)

  (expected_loss, expected_metrics), expected_gradient = evaluate(
    random_batch(8, 1, 70, 7)
  )
  padded, loose = random_batch(8, 7, 10, 1), random_batch(8, 6, 25, 3)
  halves = [
    jax.tree.map(lambda x: x[part] if x.ndim else x, padded)  # noqa: B023
    for part in (np.s_[:3], np.s_[3:])
  ]
  for batches in ([padded], [loose], halves):
    results = [evaluate(batch) for batch in batches]
    loss_sum = sum(result[0][0] for result in results)
    np.testing.assert_allclose(loss_sum, expected_loss, rtol=1e-5)
    gradient = sum(result[1] for result in results)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
    metrics = functools.reduce(
      losses.merge_metrics, [result[0][1] for result in results]
    )
    assert_same_metrics(metrics, expected_metrics)


# -- what tau does


def test_tau_needs_two_steps_to_show():
  # Three actions, each sampled once, the first one right; plain descent.
  values = advantages_lib.over_baseline([[1.0, 0.0, 0.0]], 'mean', 0.1)[0]
  batch, zeros = one_token_batch(np.zeros(3), values, np.full(3, 1 / 3))

  @jax.jit
  def step(logits, tau):
    def loss(logits):
      log_ratio = jax.nn.log_softmax(logits) + math.log(3)
      return mirror_descent(zeros.at[0, 1::2].set(log_ratio), batch, tau)[0]

    return logits - 0.5 * jax.grad(loss)(logits)

  free, tied = step(jnp.zeros(3), 0.0), step(jnp.zeros(3), 0.8)
  np.testing.assert_allclose(free, tied, atol=1e-6)
  assert step(free, 0.0)[0] > step(tied, 0.8)[0] + 1e-3


def test_groups_of_equal_rewards_anchor_from_the_second_step_on():
  values = advantages_lib.over_baseline([[0.0, 0.0]], 'mean', 0.5)
  assert not values.any()
  # At theta_i, l = 0: no gradient.  Once other groups have moved the policy,
  # weight * tau * l = 0.5 * 0.5 * (0.3, -0.3) pulls both back.
  batch, moved = one_token_batch([0.3, -0.3], values[0], [0.5, 0.5])
  gradient = jax.grad(lambda x: mirror_descent(x, batch, 0.5)[0])
  assert not gradient(jnp.zeros_like(moved)).any()
  np.testing.assert_allclose(
    gradient(moved), [[0, 0.075, 0, -0.075]], rtol=1e-6
  )


# For a binary reward and p = P(correct) under theta_i.  Minimising
# sum_a pi_i(a) [-A_a s_a + tau/2 s_a^2] over s = log(pi / pi_i) under
# sum_a pi_i(a) e^s_a = 1 gives A_a - tau s_a = lambda e^s_a for each action.
# tau log Z: A = tau log(pi* / pi_i), so lambda = 0 and the optimum is pi*,
# with P* = p e^(1/tau) / (p e^(1/tau) + 1 - p): for p = 0.05, tau = 0.4 it is
# 0.609 / (0.609 + 0.95) = 0.391.  The mean has lambda = tau KL(pi_i || pi),
# a Lambert-W solution and more cautious; bisection on lambda gave its column.
BANDIT = [
  (0.05, 0.1, 0.999, 0.567),
  (0.25, 0.1, 1.000, 0.945),
  (0.50, 0.1, 1.000, 0.997),
  (0.05, 0.4, 0.391, 0.254),
  (0.25, 0.4, 0.802, 0.657),
  (0.50, 0.4, 0.924, 0.871),
  (0.05, 1.0, 0.125, 0.121),
  (0.50, 1.0, 0.731, 0.714),
]


@pytest.mark.parametrize('p', [0.05, 0.25, 0.5])
def test_optimum_of_a_bandit(p):
  # 1 / p equally likely actions, one of them right, and each sampled once: the
  # group is its own population, all weights are 1 / K.
  rewards_P_K = np.eye(1, round(1 / p))
  for p_of_row, tau, log_z_optimum, mean_optimum in BANDIT:
    if p_of_row == p:
      log_z = advantages_lib.over_baseline(rewards_P_K, 'tau_log_z', tau)[0]
      s = bandit_optimum(jnp.array(log_z), tau)
      np.testing.assert_allclose(p * np.exp(s[0]), log_z_optimum, atol=1e-3)
      mean = advantages_lib.over_baseline(rewards_P_K, 'mean', tau)[0]
      s = bandit_optimum(jnp.array(mean), tau)
      np.testing.assert_allclose(p * np.exp(s[0]), mean_optimum, atol=1e-3)


@jax.jit
def bandit_optimum(advantages, tau):
  """Minimises the loss over a policy of K actions; returns log(pi / pi_i)."""
  count, steps = len(advantages), 1500
  weights = np.full(count, 1 / count)
  batch, zeros = one_token_batch(np.zeros(count), weights, weights)
  batch = batch.replace(advantage=advantages[None])

  def log_ratios(logits):
    return jax.nn.log_softmax(logits) + math.log(count)

  def loss(logits):
    logprobs = zeros.at[0, 1::2].set(log_ratios(logits))
    return mirror_descent(logprobs, batch, tau)[0]

  optimizer = optax.adam(optax.cosine_decay_schedule(0.05, steps))

  def step(_, carry):
    logits, state = carry
    updates, state = optimizer.update(jax.grad(loss)(logits), state)
    return optax.apply_updates(logits, updates), state

  carry = jnp.zeros(count), optimizer.init(jnp.zeros(count))
  return log_ratios(jax.lax.fori_loop(0, steps, step, carry)[0])


# -- GRPO


@pytest.mark.parametrize('ratio', grpo_lib.RATIOS)
@pytest.mark.parametrize(
  'rho, advantage, gain, slope',
  [
    (1.5, 1.0, 1.2, 0.0),  # bounded above: min(1.5, 1.2)
    (1.5, -1.0, -1.5, -1.5),  # not below: min(-1.5, -1.2)
    (0.5, 1.0, 0.5, 0.5),  # min(0.5, 0.8)
    (0.5, -1.0, -0.8, 0.0),  # min(-0.5, -0.8)
  ],
)
def test_grpo_clips_on_the_side_of_the_advantage(
  rho, advantage, gain, slope, ratio
):
  # slope = d gain / d log pi = rho A where rho is not clipped.
  batch, logprobs = one_token_batch([math.log(rho)], [advantage], [1.0])
  loss, gradient = jax.value_and_grad(
    lambda x: grpo(x, batch, 0.2, 0.0, ratio)[0]
  )(logprobs)
  np.testing.assert_allclose(-loss, gain, rtol=1e-6)
  np.testing.assert_allclose(-gradient[0, 1], slope, rtol=1e-6)


def test_a_higher_clip_is_higher_above_alone():
  # min(1.5 A, 1.28 A) for A = 1; min(0.5 A, 0.8 A) for A = -1.
  batch, logprobs = one_token_batch(np.log([1.5, 0.5]), [1.0, -1.0], [1.0, 1.0])
  names = 'ref_logprobs kl_logprobs segment_ids loss_mask advantage'
  batch_fields = fields(batch, names + ' pg_weight reg_weight')
  loss, _ = grpo_lib.loss(logprobs, *batch_fields, 0.2, 0.0, clip_high=0.28)
  np.testing.assert_allclose(-loss, 1.28 - 0.8, rtol=1e-5)


def test_grpo_with_a_wide_clip_has_no_lower_side():
  # epsilon = 10: clip(0.01, -9, 11) = 0.01.
  batch, logprobs = one_token_batch([math.log(0.01)], [-1.0], [1.0])
  np.testing.assert_allclose(grpo(logprobs, batch, clip=10.0)[0], 0.01)


def test_grpo_kl_by_hand():
  # d = log pi_ref - log pi = log 2: k3 = 2 - log 2 - 1 = 0.306853, and its
  # slope in log pi is 1 - e^d = -1.
  batch, logprobs = one_token_batch([-math.log(2)], [0.0], [0.5])
  loss, gradient = jax.value_and_grad(lambda x: grpo(x, batch, beta=0.1)[0])(
    logprobs
  )
  np.testing.assert_allclose(loss, 0.05 * 0.306853, rtol=1e-5)
  np.testing.assert_allclose(gradient[0, 1], -0.05, rtol=1e-5)


def test_grpo_ratio_of_tokens_and_of_the_output():
  # Two tokens with rho = 1.1 and 1.3, A = 1, clip 0.2.  Per token:
  # 1.1 + 1.2 = 2.3, times 1 / |o| = 1/2: 1.15.  Whole output: 1.43 -> 1.2, and
  # its geometric mean, sqrt(1.43) = 1.195826.
  sequence = Sequence(
    np.zeros(1, np.int32), np.ones(2, np.int32), [True, True], 1.0
  )
  logprobs = jnp.log(jnp.array([[1.0, 1.1, 1.3]]))
  for ratio, norm, gain in (
    ('token', 'seq_mean', 1.15),
    ('sequence', 'seq_sum', 1.2),
    ('sequence_mean', 'seq_sum', 1.195826),
  ):
    weight = advantages_lib.sequence_weights([2], norm, 8)
    packed = sequences_lib.with_weights([sequence], weight, weight)
    batch = batching.pack(packed, 1, 3, 1)
    loss, _ = grpo(logprobs, batch, ratio=ratio)
    np.testing.assert_allclose(-loss, gain, rtol=1e-6)
  with pytest.raises(ValueError, match='word'):
    grpo(logprobs, batch, ratio='word')


@pytest.mark.parametrize('ratio', ['token', 'sequence'])
def test_grpo_first_step_is_reinforce_over_the_standard_deviation(ratio):
  rewards_P_K = np.array([[1.0, 0.0, 0.0, 0.0]])
  std = math.sqrt(3) / 4  # of one right answer in four: sqrt(p (1 - p))
  weights = np.full(4, 0.25)
  by_std = advantages_lib.group_normalized(rewards_P_K)[0]
  left, logprobs = one_token_batch(np.zeros(4), by_std, weights)
  mean = advantages_lib.over_baseline(rewards_P_K, 'mean', 0.1)[0]
  right, _ = one_token_batch(np.zeros(4), mean, weights)
  np.testing.assert_allclose(
    jax.grad(lambda x: grpo(x, left, beta=0.5, ratio=ratio)[0])(logprobs),
    jax.grad(lambda x: mirror_descent(x, right, 0.1)[0])(logprobs) / std,
    rtol=1e-5,
    atol=1e-7,
  )


@pytest.mark.parametrize('log_ratio', [-200.0, 200.0])
def test_grpo_stays_finite_when_the_policy_diverges(log_ratio):
  batch, logprobs = one_token_batch([log_ratio] * 2, [1.0, -1.0], [0.5, 0.5])
  loss, gradient = jax.value_and_grad(lambda x: grpo(x, batch, beta=0.1)[0])(
    logprobs
  )
  assert np.isfinite(loss)
  assert np.isfinite(gradient).all()


# -- the token clip of Kimi K2.5


def test_token_clip_by_hand():
  # Log-ratios 0.1, 0.5 and -0.4 of two responses, A = 1 and -2; bounds -0.2 and
  # 0.3, weights 1/3, tau = 0.1.  J = -1/3 (e^0.1 + e^0.3 - 2 e^-0.2)
  # + 0.1 / 3 (0.01 + 0.25 + 0.16) = -0.272523 + 0.014 = -0.258523.  Beyond the
  # bounds there is the pull alone, 0.2 / 3 l, on either side of either A;
  # within them -e^0.1 / 3 + 0.2 / 3 * 0.1 = -0.361724.
  segment_ids = jnp.array([[1, 1, 2]])
  zeros, third = jnp.zeros((1, 3)), jnp.full((1, 2), 1 / 3)
  advantage = jnp.array([[1.0, -2.0]])

  def loss(logprobs):
    return token_clip_lib.loss(
      logprobs, zeros, segment_ids, zeros + 1, advantage, third, third,
      0.1, -0.2, 0.3,
    )  # fmt: skip

  (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
    jnp.array([[0.1, 0.5, -0.4]])
  )
  np.testing.assert_allclose(value, -0.258523, rtol=1e-5)
  expected = [[-0.361724, 0.0333333, -0.0266667]]
  np.testing.assert_allclose(gradient, expected, rtol=1e-5)
  assert metrics['cut_tokens'] == 2
  np.testing.assert_allclose(metrics['reg_loss_sum'], 0.014, rtol=1e-5)


@pytest.mark.parametrize('log_ratio', [-200.0, 200.0])
def test_token_clip_stays_finite_when_the_policy_diverges(log_ratio):
  batch, logprobs = one_token_batch([log_ratio] * 2, [1.0, -1.0], [0.5, 0.5])
  loss, gradient = jax.value_and_grad(lambda x: token_clip(x, batch)[0])(
    logprobs
  )
  assert np.isfinite(loss)
  assert np.isfinite(gradient).all()


# -- supervised


def test_next_token_by_hand():
  # Weights 1/3 and 1/3 for 2 + 1 target tokens: the mean over tokens.
  segment_ids = jnp.array([[1, 1, 1, 2, 2, 0]])
  mask = jnp.array([[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]])
  logprobs = jnp.array([[-9.0, -1.0, -2.0, -9.0, -3.0, -9.0]])
  weight = jnp.full((1, 2), 1 / 3)
  loss, metrics = losses.next_token(logprobs, segment_ids, mask, weight)
  np.testing.assert_allclose(loss, 2.0, rtol=1e-6)
  assert metrics == dict(sequences=2, tokens=3, logprob_sum=-6)


def test_value_logistic_by_hand():
  # A correct response at v = log 3 costs log(1 + 1/3), a wrong one log(1 + 3);
  # weights 1/2 and 1/4.  d/dv of log(1 + e^-v) is -1 / (1 + 3) = -1/4, of
  # log(1 + e^v) it is 3/4.
  values = jnp.array([np.log(3.0), np.log(3.0)], jnp.float32)
  labels, weight = jnp.array([True, False]), jnp.array([0.5, 0.25])
  (loss, metrics), gradient = jax.value_and_grad(
    losses.value_logistic, has_aux=True
  )(values, labels, weight)
  expected = 0.5 * np.log(4 / 3) + 0.25 * np.log(4)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  np.testing.assert_allclose(gradient, [-0.125, 0.1875], rtol=1e-6)
  assert metrics['accuracy_sum'] == 0.5
  np.testing.assert_allclose(metrics['value_sum'], 0.75 * np.log(3), rtol=1e-6)


def test_value_logistic_stays_finite_far_out():
  values = jnp.array([1e4, -1e4, 1e4])
  labels = jnp.array([0, 1, 1])
  loss, _ = losses.value_logistic(values, labels, jnp.array([1.0, 1.0, 1.0]))
  assert loss == 2e4


def test_log_ratios_of_tokens_by_hand():
  """Ratios 1, 2 and 5, of which the mask leaves out the last."""
  logprobs = jnp.array([[-1.0, -1.0, 0.0]])
  ref_logprobs = jnp.array([[-2.0, -3.0, -5.0]])
  mask = jnp.array([[1.0, 1.0, 0.0]])

  def squares(logprobs):
    found = losses.token_log_ratio_metrics(logprobs, ref_logprobs, mask)
    return found['token_log_ratio_sq_sum'], found['token_log_ratios']

  assert jax.tree.map(float, squares(logprobs)) == (5.0, 2.0)
  gradient = jax.grad(lambda x: squares(x)[0])(logprobs)
  np.testing.assert_array_equal(gradient, 0)
