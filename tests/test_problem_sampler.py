import json

import numpy as np
import pytest

from k15 import problem_sampler

CONFIG = dict(
  strategy='uniform',
  success_decay=0.5,
  unseen_success_rate=0.0,
  min_weight=0.02,
  curriculum_iteration=3,
  hard_below_success_rate=0.5,
)


def make(num_problems, seed=0, difficulty=None, **changes):
  return problem_sampler.ProblemSampler(
    num_problems, **(CONFIG | changes), difficulty=difficulty, seed=seed
  )


def test_uniform_goes_through_epochs():
  sampler = make(10)
  epochs = [
    np.concatenate([sampler.draw(5, 0) for _ in range(2)]) for _ in range(3)
  ]
  for epoch in epochs:
    assert sorted(epoch) == list(range(10))
  assert not np.array_equal(epochs[0], epochs[1])


def test_a_draw_across_epochs_repeats_nothing():
  sampler = make(10)
  drawn = [sampler.draw(7, 0) for _ in range(100)]
  assert all(len(set(indices)) == 7 for indices in drawn)
  # 700 draws are 70 epochs of every problem.
  np.testing.assert_array_equal(np.bincount(np.concatenate(drawn)), 70)


def test_draws_depend_on_the_seed_alone():
  left, right, other = make(50, seed=1), make(50, seed=1), make(50, seed=2)
  np.testing.assert_array_equal(left.draw(20, 0), right.draw(20, 0))
  assert not np.array_equal(left.draw(20, 0), other.draw(20, 0))


def test_success_rates_average_exponentially():
  sampler = make(3, success_decay=0.75, unseen_success_rate=0.3)
  np.testing.assert_array_equal(sampler.success_rates, [0.3, 0.3, 0.3])
  sampler.record([0, 1], [0.5, 0.0])
  # The first one sets it, the assumed 0.3 does not count.
  np.testing.assert_array_equal(sampler.success_rates, [0.5, 0.0, 0.3])
  sampler.record([0, 0], [1.0, 0.0])
  # 0.75 * 0.5 + 0.25 * 1 = 0.625; 0.75 * 0.625 = 0.46875.
  np.testing.assert_allclose(sampler.success_rates, [0.46875, 0.0, 0.3])


def chi_square(counts, p):
  expected = counts.sum() * np.asarray(p)
  return np.sum((counts - expected) ** 2 / expected)


def test_prioritized_frequencies():
  sampler = make(4, strategy='prioritized', min_weight=0.1)
  sampler.record([0, 1, 2], [1.0, 0.5, 0.2])
  # Weights 1 - s: 0.1 (the floor), 0.5, 0.8 and 1 for the one never tried.
  draws = np.array([sampler.draw(1, 0)[0] for _ in range(4000)])
  p = np.array([0.1, 0.5, 0.8, 1.0]) / 2.4
  # 99.9 % quantile of chi-square with 3 degrees of freedom: 16.27.
  assert chi_square(np.bincount(draws, minlength=4), p) < 16.27


def test_prioritized_is_uniform_when_all_is_solved():
  sampler = make(5, strategy='prioritized')
  sampler.record(np.arange(5), np.ones(5))
  draws = np.array([sampler.draw(1, 0)[0] for _ in range(4000)])
  # 99.9 % quantile of chi-square with 4 degrees of freedom: 18.47.
  assert chi_square(np.bincount(draws), np.full(5, 0.2)) < 18.47


def test_prioritized_follows_what_is_recorded():
  sampler = make(100, strategy='prioritized', min_weight=1e-9)
  sampler.record(np.arange(100), np.repeat([1.0, 0.0], 50))
  drawn = sampler.draw(40, 0)
  assert len(set(drawn)) == 40
  assert drawn.min() >= 50
  sampler.record(np.arange(100), np.repeat([0.0, 1.0], 50))
  sampler.record(np.arange(100), np.repeat([0.0, 1.0], 50))
  # s = 1/4 in the first half, 3/4 in the second: odds of 3 to 1.
  rates = np.mean([np.mean(sampler.draw(1, 0) < 50) for _ in range(2000)])
  assert abs(rates - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 2000)


def test_curriculum_phases():
  sampler = make(10, strategy='curriculum')
  sampler.record(np.arange(10), np.repeat([0.4, 0.6], 5))
  # Iterations 0 to 2 are uniform: two draws of five make an epoch.
  early = np.concatenate([sampler.draw(5, 0), sampler.draw(5, 2)])
  assert sorted(early) == list(range(10))
  for iteration in (3, 4):
    assert sorted(sampler.draw(5, iteration)) == [0, 1, 2, 3, 4]
  # Too few hard problems: all of them, then others.
  drawn = sampler.draw(7, 5)
  assert sorted(drawn[:5]) == [0, 1, 2, 3, 4]
  assert len(set(drawn)) == 7


def test_curriculum_without_hard_problems_is_uniform():
  sampler = make(10, strategy='curriculum')
  sampler.record(np.arange(10), np.ones(10))
  draws = np.concatenate([sampler.draw(2, 9) for _ in range(2000)])
  # 99.9 % quantile of chi-square with 9 degrees of freedom: 27.88.
  assert chi_square(np.bincount(draws), np.full(10, 0.1)) < 27.88


def test_labels_judge_problems_never_tried():
  labels = [0.9, 0.9, 0.1, 0.1, 0.5]
  sampler = make(5, difficulty=labels, strategy='curriculum')
  np.testing.assert_array_equal(sampler.is_hard, [1, 1, 0, 0, 1])
  sampler.record([0, 2], [1.0, 0.0])  # results overrule labels
  np.testing.assert_array_equal(sampler.is_hard, [0, 1, 1, 0, 1])
  # Without labels the assumed rate of 0 makes them hard.
  assert make(5).is_hard.all()


@pytest.mark.parametrize('strategy', problem_sampler.STRATEGIES)
def test_a_restored_sampler_draws_the_same(strategy):
  sampler = make(30, strategy=strategy)
  sampler.draw(20, 0)
  sampler.record(np.arange(20), np.linspace(0, 1, 20))
  state = sampler.get_state()
  assert all(isinstance(value, np.ndarray) for value in state.values())
  assert json.loads(state['rng'].tobytes())
  restored = make(30, seed=99, strategy=strategy)
  restored.set_state(state)
  for iteration in range(6):
    expected = sampler.draw(20, iteration)
    np.testing.assert_array_equal(restored.draw(20, iteration), expected)
    sampler.record(expected, np.full(20, 0.1 * iteration))
    restored.record(expected, np.full(20, 0.1 * iteration))
  np.testing.assert_array_equal(restored.success_rates, sampler.success_rates)


def test_a_state_is_not_changed_by_what_follows():
  sampler = make(5)
  state = sampler.get_state()
  copy = {key: value.copy() for key, value in state.items()}
  sampler.draw(4, 0)
  sampler.record([0], [1.0])
  for key, value in state.items():
    np.testing.assert_array_equal(value, copy[key])


def test_metrics():
  sampler = make(4)
  sampler.record([0, 1], [1.0, 0.5])
  assert sampler.metrics() == {
    'problem_sampler/seen_fraction': 0.5,
    'problem_sampler/success_rate': 0.375,
    'problem_sampler/solved_fraction': 0.25,
    'problem_sampler/hard_fraction': 0.5,
  }


def test_wrong_arguments():
  with pytest.raises(ValueError, match='greedy'):
    make(3, strategy='greedy')
  with pytest.raises(ValueError, match='not 0'):
    make(3, min_weight=0)
  with pytest.raises(ValueError, match='2 labels for 3'):
    make(3, difficulty=[0.1, 0.2])
  with pytest.raises(ValueError, match='4 of 3'):
    make(3).draw(4, 0)
  with pytest.raises(ValueError, match='1.5'):
    make(3).record([0], [1.5])
  with pytest.raises(ValueError, match='of 2 problems, not 3'):
    make(3).set_state(make(2).get_state())
