import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from k15.config import keys
from k15.model import policy
from k15.training import optimizer as optimizer_lib

ADAM = dict(
  name='adam',
  beta1=0.9,
  beta2=0.95,
  eps=1e-8,
  weight_decay=0.0,
  clip_norm=0.0,
  axes={'kernel': ('embed', 'mlp'), 'scale': ('norm',)},
)


def params():
  return {'kernel': jnp.array([[1.0, -2.0]]), 'scale': jnp.array([3.0, 4.0])}


def gradient(value=1.0):
  return jax.tree.map(lambda p: jnp.full_like(p, value), params())


def run(optimizer, schedule, gradients, state=None):
  state = state or optimizer_lib.init_state(optimizer, params())
  for g in gradients:
    state = optimizer_lib.apply(optimizer, schedule, state, g)
  return state


def constant(value):
  return optimizer_lib.constant_schedule(value, 0)


def test_adam_by_hand():
  # Gradients 1 then 3.  m = 0.9 * 0.1 + 0.1 * 3 = 0.39, over 1 - 0.9 ** 2;
  # v = 0.95 * 0.05 + 0.05 * 9 = 0.4975, over 1 - 0.95 ** 2.
  # The first step is 1 / sqrt(1) whatever the gradient's size.
  optimizer = optimizer_lib.make(**ADAM)
  state = run(optimizer, constant(0.5), [gradient(1.0), gradient(3.0)])
  second = (0.39 / 0.19) / np.sqrt(0.4975 / 0.0975)
  np.testing.assert_allclose(
    state.params['scale'], np.array([3, 4]) - 0.5 * (1 + second), rtol=1e-5
  )
  assert state.step == 2


def test_sgd_goes_down_the_gradient():
  optimizer = optimizer_lib.make(**ADAM | dict(name='sgd'))
  state = run(optimizer, constant(0.25), [gradient(2.0)] * 3)
  np.testing.assert_allclose(state.params['kernel'], [[-0.5, -3.5]])
  np.testing.assert_allclose(state.params['scale'], [1.5, 2.5])


def test_an_unknown_name_is_refused():
  with pytest.raises(
    ValueError, match="'lion' is not one of .'adam', 'muon', 'sgd'."
  ):
    optimizer_lib.make(**ADAM | dict(name='lion'))


def test_a_further_optimizer_is_a_function_and_a_row(monkeypatch):
  monkeypatch.setitem(
    optimizer_lib.RULES, 'sign', lambda settings: [optax.scale_by_sign()]
  )
  settings = ADAM | dict(name='sign', clip_norm=1.0, weight_decay=0.1)
  state = run(optimizer_lib.make(**settings), constant(0.5), [gradient(-7.0)])
  # Up by 0.5; the matrix decays by 0.5 * 0.1 of itself besides.
  np.testing.assert_allclose(state.params['scale'], [3.5, 4.5])
  np.testing.assert_allclose(state.params['kernel'], [[1.45, -1.4]], rtol=1e-6)


def test_the_config_names_every_optimizer():
  names = set(optimizer_lib.RULES)
  for key, row in keys.KEYS.items():
    if key == 'optimizer.name' or key.endswith('.optimizer'):
      assert set(row.rule) == names, key


def test_clipping_to_the_global_norm():
  optimizer = optimizer_lib.make(**ADAM | dict(name='sgd', clip_norm=1.0))
  # Four entries of 2: norm 4, so each becomes 0.5.
  state = run(optimizer, constant(1.0), [gradient(2.0)])
  np.testing.assert_allclose(state.params['scale'], [2.5, 3.5], rtol=1e-6)
  # A norm of 0.2 is left alone.
  state = run(optimizer, constant(1.0), [gradient(0.1)])
  np.testing.assert_allclose(state.params['scale'], [2.9, 3.9], rtol=1e-6)


def test_weight_decay_spares_vectors():
  optimizer = optimizer_lib.make(**ADAM | dict(weight_decay=0.1))
  state = run(optimizer, constant(0.5), [gradient(0.0)])
  # Decoupled: p - 0.5 * 0.1 * p.
  np.testing.assert_allclose(state.params['kernel'], [[0.95, -1.9]])
  np.testing.assert_array_equal(state.params['scale'], [3, 4])


def test_reset_forgets_the_moments_and_nothing_else():
  optimizer = optimizer_lib.make(**ADAM)
  schedule = optimizer_lib.constant_schedule(0.5, warmup_updates=4)
  trained = run(optimizer, schedule, [gradient(1.0), gradient(-3.0)])
  assert any(x.any() for x in jax.tree.leaves(trained.opt_state))
  state = optimizer_lib.reset(optimizer, trained)
  assert not any(x.any() for x in jax.tree.leaves(state.opt_state))
  assert jax.tree.structure(state) == jax.tree.structure(trained)
  assert state.step == 2
  jax.tree.map(np.testing.assert_array_equal, state.params, trained.params)
  # Fresh moments: the next step is the sign of the gradient, at the learning
  # rate of step 2, 0.5 * 3 / 5, not at that of step 0.
  after = run(optimizer, schedule, [gradient(-7.0)], state)
  np.testing.assert_allclose(
    after.params['scale'] - state.params['scale'], [0.3, 0.3], rtol=1e-5
  )
  # Without it the old moments push on: m / v is not +-1.
  kept = run(optimizer, schedule, [gradient(-7.0)], trained)
  assert abs(kept.params['scale'][0] - after.params['scale'][0]) > 0.01


def test_constant_schedule_at_its_ends():
  schedule = optimizer_lib.constant_schedule(0.4, warmup_updates=3)
  rates = [float(schedule(jnp.int32(step))) for step in (0, 1, 2, 3, 1000)]
  np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-6)
  assert optimizer_lib.constant_schedule(0.4, 0)(0) == pytest.approx(0.4)


def test_cosine_schedule_at_its_ends():
  schedule = optimizer_lib.cosine_schedule(1.0, 0.2, warmup_steps=10, steps=111)
  # The last of 111 steps is number 110; half way down, at 10 + 50, it is the
  # mean of both ends.
  rates = [float(schedule(jnp.int32(step))) for step in (0, 10, 60, 110, 500)]
  np.testing.assert_allclose(rates, [1 / 11, 1.0, 0.6, 0.2, 0.2], rtol=1e-5)
  falling = [float(schedule(step)) for step in range(10, 111)]
  assert (np.diff(falling) <= 0).all()


@pytest.mark.parametrize('steps', [2, 4, 20, 1500])
@pytest.mark.parametrize('warmup_steps', [0, 1])
def test_the_last_step_is_at_the_end(steps, warmup_steps):
  schedule = optimizer_lib.cosine_schedule(2e-5, 2e-6, warmup_steps, steps + 1)
  assert float(schedule(warmup_steps)) == pytest.approx(2e-5)
  assert float(schedule(steps)) == pytest.approx(2e-6)
  assert float(schedule(steps - 1)) > 2e-6


@pytest.mark.parametrize('warmup_steps', [0, 4])
def test_one_step_at_the_full_rate(warmup_steps):
  schedule = optimizer_lib.cosine_schedule(
    1.0, 0.2, warmup_steps, warmup_steps + 1
  )
  assert float(schedule(warmup_steps)) == pytest.approx(1.0)


def test_parameters_keep_their_dtype():
  optimizer = optimizer_lib.make(**ADAM)
  half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params())
  state = optimizer_lib.init_state(optimizer, half)
  state = optimizer_lib.apply(optimizer, constant(0.1), state, half)
  assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(state.params))


LAYERED = policy.PolicyConfig(
  vocab_size=20,
  num_layers=2,
  d_model=16,
  num_heads=2,
  num_kv_heads=1,
  head_dim=8,
  d_ff=24,
  qkv_bias=True,
  tie_embeddings=False,
)
KEY = jax.random.key(0)
SCANNED = dataclasses.replace(LAYERED, scan_layers=True)


def stacked(params):
  """The same parameters as `scan_layers` keeps them."""
  params = dict(params)
  layers = [params.pop(f'layer_{i}') for i in range(LAYERED.num_layers)]
  return params | {'layers': jax.tree.map(lambda *xs: jnp.stack(xs), *layers)}


def shapes_of(config):
  return nn.unbox(policy.boxed(config))


def drawn(seed, scale):
  """Of the shape of the parameters, all different, so that no layer is two."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(scale * rng.normal(size=x.shape), x.dtype),
    shapes_of(LAYERED),
  )


@pytest.mark.parametrize('name', ['adam', 'muon', 'sgd'])
def test_how_layers_are_stored_changes_no_step(name):
  # Gradients of 4,656 entries of size 0.2 have a norm of 14: they are clipped.
  settings = ADAM | dict(name=name, weight_decay=0.1, clip_norm=1.0)
  results = []
  for config, form in ((LAYERED, lambda x: x), (SCANNED, stacked)):
    axes = policy.logical_axes(config)
    optimizer = optimizer_lib.make(**settings | dict(axes=axes))
    state = optimizer_lib.init_state(optimizer, form(drawn(0, 0.3)))
    gradients = [form(drawn(seed, 0.2)) for seed in (1, 2, 3)]
    step = jax.jit(
      functools.partial(optimizer_lib.apply, optimizer, constant(0.01))
    )
    for gradient in gradients:
      state = step(state, gradient)
    results.append(state.params)
  assert_near(stacked(results[0]), results[1])


def assert_near(left, right):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), left, right
  )


@pytest.mark.parametrize('config', [LAYERED, SCANNED], ids=['apart', 'stacked'])
def test_only_matrices_decay(config):
  axes = policy.logical_axes(config)
  settings = ADAM | dict(name='sgd', weight_decay=0.1, axes=axes)
  optimizer = optimizer_lib.make(**settings)
  params = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes_of(config))
  state = optimizer_lib.init_state(optimizer, params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  after = run(optimizer, constant(0.5), [zeros], state).params
  # 1 - 0.5 * 0.1 * 1 for matrices, and they alone.
  values = {}
  for path, x in jax.tree_util.tree_leaves_with_path(after):
    values.setdefault(path[-1].key, set()).update(np.unique(x).tolist())
  decayed = {name for name, value in values.items() if value != {1.0}}
  assert decayed == {
    *('embedding', 'lm_head', 'q', 'k', 'v', 'o', 'gate', 'up', 'down')
  }
  assert all(values[name] == {np.float32(0.95).item()} for name in decayed)


@pytest.mark.parametrize(
  'with_embeddings', [False, True], ids=['hidden', 'all']
)
@pytest.mark.parametrize('config', [LAYERED, SCANNED], ids=['apart', 'stacked'])
def test_muon_turns_matrices_one_by_one(config, with_embeddings):
  """A step of Muon is a matrix whose singular values are near to 1.

  With the coefficients of its author they come to lie between 0.68 and 1.13
  (K. Jordan, "Muon", 2024), and optax scales by sqrt(max(1, out / in)).  A step
  of Adam from fresh moments is the same in every entry.
  """
  axes = policy.logical_axes(config)
  settings = dict(name='muon', axes=axes, muon_embeddings=with_embeddings)
  optimizer = optimizer_lib.make(**ADAM | settings)
  ends = ('embedding', 'lm_head') if with_embeddings else ()
  form = stacked if config.scan_layers else lambda x: x
  params, gradient = form(drawn(0, 0.3)), form(drawn(1, 0.2))
  direction, _ = jax.jit(optimizer.update)(
    gradient, optimizer.init(params), params
  )
  for path, x in jax.tree_util.tree_leaves_with_path(direction):
    name = path[-1].key
    if name in ('q', 'k', 'v', 'o', 'gate', 'up', 'down', *ends):
      scale = max(1, x.shape[-1] / x.shape[-2]) ** 0.5
      sizes = np.linalg.svd(x, compute_uv=False) / scale
      assert sizes.min() > 0.5 and sizes.max() < 1.3, (name, sizes)
    else:
      np.testing.assert_allclose(np.abs(x), np.abs(x).max(), rtol=1e-3)


def test_what_muon_leaves_to_adam_has_a_rate_of_its_own():
  axes = policy.logical_axes(LAYERED)
  params, gradient = drawn(0, 0.3), drawn(1, 0.2)

  def direction(**settings):
    settings = ADAM | dict(name='muon', axes=axes) | settings
    optimizer = optimizer_lib.make(**settings)
    return optimizer.update(gradient, optimizer.init(params), params)[0]

  whole, quarter = direction(), direction(muon_adam_share=0.25)
  for (path, x), y in zip(
    jax.tree_util.tree_leaves_with_path(whole),
    jax.tree.leaves(quarter),
    strict=True,
  ):
    is_muon = path[-1].key in ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
    share = 1.0 if is_muon else 0.25
    np.testing.assert_allclose(y, share * x, rtol=1e-5, err_msg=str(path))
