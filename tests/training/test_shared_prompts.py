"""Responses that share their prompt's columns learn as those that do not."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.devices import sharding
from k15.equations import losses
from k15.model import policy
from k15.training import batching
from k15.training import optimizer
from k15.training import update
from k15.training.sequences import Sequence

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=2,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
  logprob_chunk=32,
)
K, PROMPT, LONGEST = 4, 7, 6
SCHEDULE = optimizer.constant_schedule(0.1, 0)


def groups(count=3):
  """Prompts of 1 to 7 tokens; responses some of whose tokens are masked."""
  rng = np.random.default_rng(0)

  def sequence(prompt):
    length = int(rng.integers(1, LONGEST + 1))
    mask = rng.random(length) < 0.7
    mask[-1] = True
    return Sequence(
      prompt,
      rng.integers(0, 64, length, np.int32),
      mask,
      float(rng.normal()),
      pg_weight=1 / (count * K),
      reg_weight=0.5 / (count * K),
      behavior_logprobs=rng.normal(-3, 1, length).astype(np.float32),
      is_current=rng.random(length) < 0.5,
    )

  prompts = [rng.integers(0, 64, n, np.int32) for n in (PROMPT, 4, 1)[:count]]
  return [[sequence(prompt) for _ in range(K)] for prompt in prompts]


def separate():
  """A row for each response, with its prompt."""
  sequences = [sequence for group in groups() for sequence in group]
  return batching.pack(sequences, 12, PROMPT + LONGEST, 1)


def shared(row_responses=K):
  """Rows for so many of the longest responses and one prompt."""
  columns = PROMPT - 1 + row_responses * (1 + LONGEST)
  return batching.pack_groups(groups(), 12, columns, 6 * K)


def mirror_descent(logprobs, rows):
  return losses.policy_mirror_descent(
    logprobs,
    rows.ref_logprobs,
    rows.segment_ids,
    rows.loss_mask,
    rows.advantage,
    rows.pg_weight,
    rows.reg_weight,
    0.3,
  )


def make_params(config):
  boxed = policy.boxed(config)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
    nn.unbox(boxed),
  )


def by_response(batch, values):
  """Of each response, by its advantage, what is in the loss."""
  found, values = {}, np.asarray(values)
  for row, column in np.argwhere(batch.advantage):
    here = (batch.segment_ids[row] == column + 1) & (batch.loss_mask[row] > 0)
    found[float(batch.advantage[row, column])] = values[row, here]
  return found


def learnt(config, batch, mesh=None, micro_batch_rows=2):
  """Log-probabilities by response, metrics, and what a step of SGD moves.

  References are off by 0.1 times the token, so that the regularizer pulls.
  """
  rule = optimizer.make('sgd', 0, 0, 0, 0, 0, policy.logical_axes(config))
  step = update.make_step(
    config, mirror_descent, rule, SCHEDULE, micro_batch_rows
  )
  logprobs_of = update.make_logprobs(config, micro_batch_rows)
  state = optimizer.init_state(rule, make_params(config))
  before = jax.tree.map(np.array, state.params)

  def run(state):
    logprobs = logprobs_of(state.params, batch)
    refs = np.asarray(logprobs) - 0.1 * batch.tokens
    moved, metrics = step(state, batch.replace(ref_logprobs=refs), False)
    return logprobs, metrics, moved.params

  if mesh is None:
    logprobs, metrics, params = run(state)
  else:
    layout = sharding.param_shardings(
      mesh,
      jax.eval_shape(
        lambda: optimizer.init_state(
          rule, policy.init(config, jax.random.key(0))
        )
      ),
    )
    with sharding.use_mesh(mesh):
      logprobs, metrics, params = run(jax.device_put(state, layout))
  moves = jax.tree.map(lambda a, b: np.asarray(a) - b, params, before)
  return by_response(batch, logprobs), jax.device_get(metrics), moves


def assert_equal(ours, theirs):
  (logprobs, metrics, moves), (their_logprobs, their_metrics, their_moves) = (
    ours,
    theirs,
  )
  assert len(logprobs) == 3 * K
  assert logprobs.keys() == their_logprobs.keys()
  for name, values in logprobs.items():
    np.testing.assert_allclose(values, their_logprobs[name], atol=1e-5)
  assert metrics.keys() == their_metrics.keys()
  for name, value in metrics.items():
    np.testing.assert_allclose(
      value, their_metrics[name], rtol=1e-5, atol=1e-5, err_msg=name
    )
  largest = max(np.abs(x).max() for x in jax.tree.leaves(their_moves))
  assert largest > 1e-3
  for a, b in zip(
    jax.tree.leaves(moves), jax.tree.leaves(their_moves), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-5 * max(largest, 1))


@pytest.fixture(scope='module')
def apart():
  """What separate rows learn."""
  batch = separate()
  assert batch.num_rows == 12
  assert batch.prompt_ids is None
  return learnt(CONFIG, batch)


@pytest.mark.parametrize('row_responses', thorough.after([2, 1, K]))
def test_however_many_share_a_row(apart, row_responses):
  """Groups are split over rows in several ways, or lie together in one."""
  batch = shared(row_responses)
  assert batch.num_rows < 12
  # Sharing is all that saves tokens: 7 of 7 + 4 + 1 prompt tokens are shared.
  assert np.count_nonzero(batch.segment_ids) < np.count_nonzero(
    separate().segment_ids
  )
  assert_equal(learnt(CONFIG, batch), apart)


@pytest.mark.parametrize('micro_batch_rows', thorough.after([4, 1]))
def test_micro_batches_add_up(apart, micro_batch_rows):
  ours = learnt(CONFIG, shared(2), micro_batch_rows=micro_batch_rows)
  assert_equal(ours, apart)


@pytest.mark.parametrize(
  'changes',
  thorough.after([
    dict(attention='chunked', remat='full', logprob_chunk=5),
    dict(attention='chunked'),
    dict(remat='dots'),
  ]),
  ids=str,
)
def test_in_other_ways_to_compute(apart, changes):
  config = dataclasses.replace(CONFIG, **changes)
  assert_equal(learnt(config, shared()), apart)


@pytest.mark.parametrize('remat', thorough.after(['full', 'none']))
def test_in_scanned_layers(remat):
  config = dataclasses.replace(CONFIG, scan_layers=True, remat=remat)
  assert_equal(learnt(config, shared()), learnt(config, separate()))


@pytest.mark.parametrize(
  ('sizes', 'columns'),
  [((2, 1, 2, 1), K), ((1, 1, 1, 2), 2)],
  ids=['rows and heads', 'columns'],
)
def test_over_devices(apart, sizes, columns):
  # 6 + 2 * 7 = 20 columns divide over 2 devices.
  mesh = sharding.make_mesh(*sizes)
  assert_equal(learnt(CONFIG, shared(columns), mesh), apart)


def test_a_response_does_not_see_the_others():
  """Other tokens in one response change nothing in those beside it."""
  batch = shared()
  logprobs_of = update.make_logprobs(CONFIG, 2)
  params = make_params(CONFIG)
  before = by_response(batch, logprobs_of(params, batch))
  (row, column), *_ = np.argwhere(batch.advantage)
  here = (batch.segment_ids[row] == column + 1) & (batch.positions[row] > 6)
  batch.tokens[row, here] = (batch.tokens[row, here] + 1) % 64
  after = by_response(batch, logprobs_of(params, batch))
  changed = [k for k in before if (before[k] != after[k]).any()]
  assert changed == [float(batch.advantage[row, column])]
