"""A gradient step on rows with pictures: micro-batches, and a saved batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_tower

from k15.data_types import Batch
from k15.model import policy
from k15.training import optimizer
from k15.training import update

CONFIG = small_tower.config_of('deep')
OPTIMIZER = optimizer.make(
  'adam', 0.9, 0.95, 1e-2, 0.1, 1.0, policy.logical_axes(CONFIG)
)


@pytest.fixture(scope='module')
def batch():
  """Two rows, of unlike pictures."""
  rows = []
  for seed, grid in enumerate([(2, 3), (4, 1)]):
    tokens = small_tower.sequence(3, *grid, 6, seed)
    picture = small_tower.picture(CONFIG, *grid, seed)
    rows.append(small_tower.row_of(CONFIG, [tokens], [[picture]]))
  tokens, columns, ids, images = jax.tree.map(
    lambda *xs: jnp.concatenate(xs), *rows
  )
  words = (columns > 0) & (ids > 0) & (tokens != small_tower.IMAGE)
  zeros, each = jnp.zeros(tokens.shape), jnp.ones((2, 1))
  return Batch(
    tokens, columns, ids, words.astype(jnp.float32), zeros, zeros, zeros,
    zeros, each, each, each, jnp.int32(2), images=images,
  )  # fmt: skip


def step_of(batch, micro_batch_rows):
  step = update.make_step(
    CONFIG,
    lambda logprobs, rows: (
      -jnp.sum(logprobs * rows.loss_mask),
      dict(tokens=jnp.sum(rows.loss_mask)),
    ),
    OPTIMIZER,
    optimizer.constant_schedule(0.01, 0),
    micro_batch_rows,
  )
  params = jax.tree.map(jnp.asarray, small_tower.random_params(CONFIG))
  state = optimizer.init_state(OPTIMIZER, params)
  return jax.device_get(step(state, batch, True))


def test_micro_batches_take_their_own_pictures(batch):
  whole, metrics = step_of(batch, 2)
  parts, others = step_of(batch, 1)
  np.testing.assert_allclose(metrics['loss'], others['loss'], rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
    whole.params,
    parts.params,
  )
  # The tower learns too.
  before = small_tower.random_params(CONFIG)['vision']['patch']
  assert np.abs(whole.params['vision']['patch'] - before).max() > 1e-3


def test_a_saved_batch_has_its_pictures(batch, tmp_path):
  path = update.save_batch(tmp_path, 'rl-1', batch)
  with np.load(path) as saved:
    np.testing.assert_array_equal(saved['images.patches'], batch.images.patches)
    assert 'images' not in saved
