"""One gradient step: what it depends on, and what it must not depend on."""

import dataclasses
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.data_types import Batch, TrainState
from k15.devices import sharding
from k15.equations import losses
from k15.model import heads
from k15.model import policy
from k15.training import batching
from k15.training import optimizer
from k15.training import update
from k15.training.sequences import Sequence

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=1,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
  logprob_chunk=32,
)
ROWS, LENGTH = 4, 16
# A large eps keeps Adam smooth where gradients vanish.
OPTIMIZER = optimizer.make(
  'adam', 0.9, 0.95, 1e-2, 0.1, 1.0, policy.logical_axes(CONFIG)
)
SCHEDULE = optimizer.constant_schedule(0.1, 0)


def mirror_descent(tau):
  def loss(logprobs, rows):
    return losses.policy_mirror_descent(
      logprobs,
      rows.ref_logprobs,
      rows.segment_ids,
      rows.loss_mask,
      rows.advantage,
      rows.pg_weight,
      rows.reg_weight,
      tau,
    )

  return loss


def make_step(micro_batch_rows=2, tau=0.3):
  return update.make_step(
    CONFIG, mirror_descent(tau), OPTIMIZER, SCHEDULE, micro_batch_rows
  )


def boxed_params(key):
  return policy.init(CONFIG, key)


def new_state():
  boxed = jax.eval_shape(boxed_params, jax.random.key(0))
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
    nn.unbox(boxed),
  )
  return optimizer.init_state(OPTIMIZER, params)


def sequences(count=4):
  rng = np.random.default_rng(0)
  out = []
  for _ in range(count):
    length = int(rng.integers(3, 6))
    tokens = rng.integers(0, 64, length + 3).astype(np.int32)
    mask = rng.random(length) < 0.8
    mask[0] = True
    advantage, weight = float(rng.normal()), 1 / count
    out.append(
      Sequence(tokens[:3], tokens[3:], mask, advantage, weight, weight)
    )
  return out


def padded(num_rows=ROWS, count=4):
  """One sequence a row."""
  return batching.pack(sequences(count), num_rows, LENGTH, max_sequences=1)


def assert_close(left, right, atol=1e-6):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol), left, right
  )


@pytest.fixture(scope='module')
def step():
  return make_step()


@pytest.fixture(scope='module')
def logprobs_of():
  return update.make_logprobs(CONFIG, micro_batch_rows=2)


@pytest.fixture(scope='module')
def after(step):
  """The state and the metrics after a step on four rows, on other rows' refs.

  References that are not the policy's make the regularizer count.
  """
  state, metrics = step(new_state(), with_refs(padded()), False)
  return state, metrics


def with_refs(batch):
  return batch.replace(ref_logprobs=-3.0 * batch.loss_mask)


@pytest.mark.parametrize('micro_batch_rows', thorough.after([4, 1]))
def test_micro_batches_add_up(after, micro_batch_rows):
  step = make_step(micro_batch_rows)
  state, metrics = step(new_state(), with_refs(padded()), False)
  assert_close(state, after[0])
  assert_close(metrics, after[1], atol=1e-4)


def test_a_step_of_the_same_is_the_same_step():
  """So that a stage like the last one traces and compiles nothing again."""
  loss = mirror_descent(0.3)
  made = [
    update.make_step(CONFIG, loss, OPTIMIZER, SCHEDULE, rows)
    for rows in (2, 2, 4)
  ]
  assert made[0] is made[1] and made[0] is not made[2]
  own = optimizer.constant_schedule(0.1, 3)
  assert own is optimizer.constant_schedule(0.1, 3)


def test_empty_rows_change_nothing(after, step):
  batch = with_refs(padded(num_rows=8))
  assert batch.num_rows == 4
  state, metrics = step(new_state(), batch, False)
  assert_close(state, after[0])
  assert_close(metrics, after[1], atol=1e-5)


def test_packing_changes_nothing(after, step):
  batch = with_refs(batching.pack(sequences(), 2, LENGTH, max_sequences=2))
  assert batch.num_rows == 2  # two sequences a row
  assert (batch.segment_ids.max(axis=1) == 2).all()
  state, metrics = step(new_state(), batch, False)
  assert_close(state, after[0])
  assert_close(metrics, after[1], atol=1e-4)


def test_rows_beyond_num_rows_are_not_even_read(after, step):
  batch = with_refs(padded(num_rows=8))
  poisoned = jax.tree.map(np.array, batch)
  for field in dataclasses.fields(Batch):
    values = getattr(poisoned, field.name)
    if field.name == 'num_rows' or values is None:
      continue
    values[4:] = 1 if values.dtype == np.int32 else np.nan
  state, metrics = step(new_state(), poisoned, False)
  assert_close(state, after[0])
  assert_close(metrics, after[1], atol=1e-5)


def test_the_gradient_is_that_of_the_plain_loss(after):
  batch, state = with_refs(padded()), new_state()

  def loss(params):
    logprobs, _ = heads.token_logprobs(
      CONFIG, params, batch.tokens, batch.positions, batch.segment_ids
    )
    total = 0.0
    for row in range(4):
      mask = batch.loss_mask[row]
      log_pi = jnp.sum(logprobs[row] * mask)
      log_ratio = log_pi + 3.0 * mask.sum()
      total += -batch.advantage[row, 0] * log_pi + 0.3 / 2 * log_ratio**2
    return total / 4

  value, gradient = jax.jit(jax.value_and_grad(loss))(state.params)
  expected = optimizer.apply(OPTIMIZER, SCHEDULE, state, gradient)
  assert_close(after[0], expected)
  np.testing.assert_allclose(after[1]['loss'], value, rtol=1e-5)
  squares = sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(gradient))
  np.testing.assert_allclose(after[1]['grad_norm'], squares**0.5, rtol=1e-4)
  assert after[1]['tokens'] == batch.loss_mask.sum()
  assert after[1]['sequences'] == 4
  assert after[1]['learning_rate'] == np.float32(0.1)
  assert after[0].step == 1


def test_logprobs_are_those_of_the_policy(logprobs_of):
  batch, params = padded(num_rows=8), new_state().params
  out = logprobs_of(params, batch)
  rows = [x[:4] for x in (batch.tokens, batch.positions, batch.segment_ids)]
  expected, _ = jax.jit(heads.token_logprobs, static_argnums=0)(
    CONFIG, params, *rows
  )
  expected *= batch.loss_mask[:4]  # No others are asked for.
  np.testing.assert_allclose(out[:4], expected, atol=1e-5)
  np.testing.assert_array_equal(out[4:], 0)  # Skipped.


def test_a_current_reference_needs_no_logprobs(step, logprobs_of):
  batch = padded()
  true = batch.replace(ref_logprobs=logprobs_of(new_state().params, batch))
  wrong = batch.replace(ref_logprobs=np.full((ROWS, LENGTH), 7.0, np.float32))
  given, given_metrics = step(new_state(), true, False)
  implied, implied_metrics = step(new_state(), wrong, True)
  assert_close(implied, given)
  assert_close(implied_metrics, given_metrics, atol=1e-4)
  assert implied_metrics['log_ratio_abs_max'] == 0
  assert given_metrics['log_ratio_abs_max'] < 1e-4


def test_tau_counts_from_the_second_step_on(step, logprobs_of):
  # At theta_i the log-ratio is 0, and so is the pull: k1.5, 2.3.2, equation 3.
  batch = padded()
  batch = batch.replace(ref_logprobs=logprobs_of(new_state().params, batch))
  free, (pulled, _) = make_step(tau=0.0), step(new_state(), batch, True)
  unpulled, _ = free(new_state(), batch, True)
  assert_close(unpulled, pulled, atol=0)
  pulled, _ = step(pulled, batch, False)
  unpulled, _ = free(unpulled, batch, False)
  gap = jax.tree.map(lambda a, b: np.abs(a - b).max(), pulled, unpulled)
  assert max(jax.tree.leaves(gap.params)) > 1e-4


def test_the_state_is_donated_and_copies_are_not(step):
  state, batch = new_state(), jax.tree.map(jnp.asarray, padded())
  copy = jax.tree.map(jnp.copy, state.params)
  expected = jax.tree.map(np.array, state.params)
  later, _ = step(state, batch, True)
  assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
  assert not any(x.is_deleted() for x in jax.tree.leaves(batch))
  # Fresh moments do not share memory with anything, each other included.
  later = optimizer.reset(OPTIMIZER, later)
  last, _ = step(later, batch, True)
  assert last.step == 2
  jax.tree.map(np.testing.assert_array_equal, copy, expected)


def test_row_counts_and_references_do_not_recompile(step, logprobs_of, caplog):
  batch = padded(num_rows=8)

  def run(state, num_rows, ref_is_current):
    rows = batch.replace(num_rows=np.array(num_rows, np.int32))
    refs = logprobs_of(state.params, rows)
    rows = rows.replace(ref_logprobs=np.asarray(refs))
    return step(state, rows, ref_is_current)[0]

  state = run(new_state(), 4, True)
  with jax.log_compiles(), caplog.at_level(logging.WARNING):
    for num_rows in (1, 2, 3, 4, 0):
      state = run(state, num_rows, num_rows % 2 == 0)
  messages = [record.getMessage() for record in caplog.records]
  assert not [message for message in messages if 'Compiling' in message]
  with jax.log_compiles(), caplog.at_level(logging.WARNING):
    jax.jit(lambda x: x * 3.7)(1.0)  # What would have been seen.
  assert any('Compiling' in record.getMessage() for record in caplog.records)


def test_micro_batches_must_divide_the_rows():
  with pytest.raises(ValueError, match='of 3 do not divide 4 rows'):
    make_step(3)(new_state(), padded(), False)


def test_a_batch_without_a_token_in_the_loss_changes_nothing(step):
  # Old moments and the weight decay would go on otherwise.
  state, _ = step(new_state(), with_refs(padded()), False)
  before = jax.tree.map(np.asarray, state)
  assert any(x.any() for x in jax.tree.leaves(before.opt_state))
  empty = padded()
  empty = empty.replace(loss_mask=np.zeros_like(empty.loss_mask))
  for batch in (empty, padded(count=0)):
    state, metrics = step(state, batch, False)
    assert metrics['tokens'] == metrics['grad_norm'] == 0
    assert_close(state, before, atol=0)
  state, _ = step(state, with_refs(padded()), False)
  assert state.step == 2


def test_there_is_no_value_function():
  assert {f.name for f in dataclasses.fields(TrainState)} == {
    'params',
    'opt_state',
    'step',
    'frozen',
  }
  boxed = jax.eval_shape(boxed_params, jax.random.key(0))
  for path, _ in jax.tree_util.tree_leaves_with_path(boxed):
    name = jax.tree_util.keystr(path).replace('.value', '')  # flax's box
    assert 'value' not in name
    assert 'critic' not in name


def test_a_failed_batch_is_written_whole(tmp_path):
  batch = padded()
  path = update.save_batch(tmp_path, 'rl-3', batch)
  assert path == tmp_path / 'failed-rl-3.npz'
  with np.load(path) as saved:
    fields = {field.name for field in dataclasses.fields(Batch)}
    # It has neither shared prompts nor documents nor pictures.
    of_others = {'prompt_ids', 'domain_ids', 'images', 'features'}
    assert set(saved) == fields - of_others
    for name in saved:
      np.testing.assert_array_equal(saved[name], getattr(batch, name))


@pytest.mark.parametrize(
  'sizes',
  thorough.after([(2, 1, 1, 4), (1, 2, 2, 1), (1, 1, 1, 2)], 2, whole=True),
  ids=str,
)
def test_a_step_over_a_mesh_equals_one_on_a_device(after, step, sizes):
  mesh = sharding.make_mesh(*sizes)

  def init(key):
    return optimizer.init_state(OPTIMIZER, boxed_params(key))

  layout = sharding.param_shardings(
    mesh, jax.eval_shape(init, jax.random.key(0))
  )
  state = jax.device_put(new_state(), layout)
  with sharding.use_mesh(mesh):
    state, metrics = make_step()(state, with_refs(padded()), False)
  assert_close(jax.tree.map(np.asarray, state), after[0], atol=1e-5)
  assert_close(jax.tree.map(np.asarray, metrics), after[1], atol=1e-4)
  # Parameters and moments stay where they were.
  for leaf, place in zip(
    jax.tree.leaves(state), jax.tree.leaves(layout), strict=True
  ):
    assert leaf.sharding.is_equivalent_to(place, leaf.ndim)


def test_memory_of_a_step_is_linear_in_length():
  config = dataclasses.replace(
    CONFIG, attention='chunked', remat='full', logprob_chunk=256
  )
  step = update.make_step(config, mirror_descent(0.3), OPTIMIZER, SCHEDULE, 1)

  def temporaries(length):
    shapes = [(1, length)] * 8 + [(1, 1)] * 3
    arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    ids = [jax.ShapeDtypeStruct((1, length), jnp.int32)] * 3
    rows = jax.ShapeDtypeStruct((), jnp.int32)
    batch = Batch(*ids, *arrays[3:], num_rows=rows)
    compiled = step.lower(new_state(), batch, False).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  one, two = temporaries(4096), temporaries(8192)
  # Linear is 2, less what does not grow; scores of all pairs, 4 heads *
  # 8192 ** 2 * 4 bytes, would be 1 GiB, four times those of half the length.
  assert 1.5 < two / one < 2.1
  assert two < 128 * 2**20


def test_a_temperature_that_falls_is_one_that_is_constant(step, logprobs_of):
  batch, at = padded(), np.float32(0.7)
  own = update.make_step(
    CONFIG, mirror_descent(0.3), OPTIMIZER, SCHEDULE, 2, 0.7
  )
  expected, expected_metrics = own(new_state(), batch, False)
  found, metrics = step(new_state(), batch, False, at)
  assert_close(found.params, expected.params)
  assert_close(metrics, expected_metrics, atol=1e-5)
  params = new_state().params
  cold = update.make_logprobs(CONFIG, 2, 0.7)(params, batch)
  assert_close(logprobs_of(params, batch, at), cold)
  assert np.abs(cold - logprobs_of(params, batch)).max() > 0.01
