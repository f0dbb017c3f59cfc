"""The traced sampler of problems against k15's, on the same random numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.worlds import drawing
from k15.equations import problem_sampler

N = 40


def host(strategy='uniform', labels=None):
  return problem_sampler.ProblemSampler(
    N, strategy, drawing.DECAY, drawing.UNSEEN, drawing.MIN_WEIGHT,
    curriculum_iteration=0, hard_below_success_rate=drawing.HARD_BELOW,
    difficulty=labels,
  )  # fmt: skip


def after_some_iterations(sampler):
  """Both samplers, after the same problems with the same accuracies."""
  rng, state = np.random.default_rng(3), drawing.start(N)
  for _ in range(6):
    drawn = rng.permutation(N)[:9]
    accuracies = rng.integers(0, 9, 9) / 8
    sampler.record(drawn, accuracies)
    state = drawing.record(state, jnp.array(drawn), jnp.array(accuracies))
  return state


def test_success_rates_and_weights_are_those_of_k15():
  sampler = host()
  state = after_some_iterations(sampler)
  rates = drawing.success_rates(state)
  np.testing.assert_allclose(rates, sampler.success_rates, atol=1e-6)
  np.testing.assert_allclose(
    drawing.weights(state),
    np.maximum(drawing.MIN_WEIGHT, 1 - sampler.success_rates),
    atol=1e-6,
  )


def test_hard_is_what_k15_calls_hard():
  labels = np.random.default_rng(0).random(N)
  sampler = host(labels=labels)
  state = after_some_iterations(sampler)
  labelled = jnp.array(labels >= problem_sampler.HARD_DIFFICULTY)
  found = drawing.is_hard(state, labelled)
  assert 0 < found.sum() < N
  np.testing.assert_array_equal(found, sampler.is_hard)


@pytest.mark.parametrize('n', [1, 7, 20, 39])
def test_chances_are_those_of_k15(n):
  rng = np.random.default_rng(n)
  chances = jax.jit(functools.partial(drawing.inclusion_probabilities, n=n))
  for spread in (0.5, 3, 9):
    weights = rng.random(N) ** spread + 0.02
    np.testing.assert_allclose(
      chances(jnp.array(weights)),
      problem_sampler.inclusion_probabilities(weights, n),
      atol=2e-6,
    )


def draws(strategy, state, is_late, hard, n, times, used=None):
  used = jnp.ones(N, bool) if used is None else used
  number = drawing.STRATEGIES.index(strategy)
  draw = jax.jit(
    jax.vmap(lambda u: drawing.draw(state, number, is_late, hard, used, n, u))
  )
  return np.asarray(draw(jax.random.uniform(jax.random.key(0), (times, N + 1))))


def test_prioritized_draws_have_these_chances():
  state = after_some_iterations(host())
  drawn = draws('prioritized', state, False, jnp.zeros(N, bool), 8, 20_000)
  assert all(len(set(row)) == 8 for row in drawn[:100])
  expected = drawing.inclusion_probabilities(drawing.weights(state), 8)
  # Five standard errors: 5 sqrt(1/4 / 20,000).
  np.testing.assert_allclose(
    np.bincount(drawn.ravel(), minlength=N) / 20_000, expected, atol=0.018
  )


def test_uniform_draws_go_through_epochs():
  state, seen = drawing.start(N), []
  for key in jax.random.split(jax.random.key(0), 10):
    [row] = np.asarray(
      [
        drawing.draw(
          state, 0, False, jnp.zeros(N, bool), jnp.ones(N, bool), 12,
          jax.random.uniform(key, (N + 1,)),
        )
      ]
    )  # fmt: skip
    assert len(set(row.tolist())) == 12
    seen += row.tolist()
    state = drawing.record(state, jnp.array(row), jnp.zeros(12))
  # 120 draws are three epochs of 40.
  assert set(np.bincount(seen)) == {3}


def test_a_late_curriculum_draws_hard_ones_first():
  state = after_some_iterations(host())
  hard = np.asarray(drawing.is_hard(state, jnp.zeros(N, bool)))
  few = int(hard.sum()) + 3
  for row in draws('curriculum', state, True, jnp.zeros(N, bool), few, 5):
    assert hard[row].sum() == hard.sum()


def test_what_is_not_used_is_not_drawn():
  used, state = jnp.arange(N) < 10, after_some_iterations(host())
  for strategy in drawing.STRATEGIES:
    drawn = draws(strategy, state, True, jnp.ones(N, bool), 8, 50, used)
    assert drawn.max() < 10
