import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15 import optimizer as optimizer_lib

ADAM = dict(
  name='adam', beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.0, clip_norm=0.0
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
  with pytest.raises(ValueError, match="'lion' is not"):
    optimizer_lib.make(**ADAM | dict(name='lion'))


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
  schedule = optimizer_lib.cosine_schedule(1.0, 0.2, warmup_steps=10, steps=110)
  # Half way down, at 10 + 50, it is the mean of both ends.
  rates = [float(schedule(jnp.int32(step))) for step in (0, 10, 60, 110, 500)]
  np.testing.assert_allclose(rates, [1 / 11, 1.0, 0.6, 0.2, 0.2], rtol=1e-5)
  falling = [float(schedule(step)) for step in range(10, 111)]
  assert (np.diff(falling) <= 0).all()


def test_cosine_schedule_of_warm_up_alone():
  schedule = optimizer_lib.cosine_schedule(1.0, 0.2, warmup_steps=4, steps=4)
  assert float(schedule(4)) == pytest.approx(1.0)
  assert float(schedule(5)) == pytest.approx(0.2)


def test_parameters_keep_their_dtype():
  optimizer = optimizer_lib.make(**ADAM)
  half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params())
  state = optimizer_lib.init_state(optimizer, half)
  state = optimizer_lib.apply(optimizer, constant(0.1), state, half)
  assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(state.params))
