import json

import numpy as np
import pytest

from k15.equations import problem_sampler

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


def test_a_missing_label_is_no_label():
  # A label of 0.1 is easy; none leaves the assumed rate of 0, which is hard,
  # or of 0.9, which is not.  Tried ones go by their results.
  labels = [0.1, None, np.nan, 0.9, None]
  sampler = make(5, difficulty=labels, strategy='curriculum')
  np.testing.assert_array_equal(sampler.is_hard, [0, 1, 1, 1, 1])
  sampler.record([1, 4], [1.0, 0.0])
  np.testing.assert_array_equal(sampler.is_hard, [0, 0, 1, 1, 1])
  sampler = make(5, difficulty=labels, unseen_success_rate=0.9)
  np.testing.assert_array_equal(sampler.is_hard, [0, 0, 0, 1, 0])
  # 100 problems without labels, 8 tried and 4 of them solved: 96 are hard.
  sampler = make(100, difficulty=[None] * 100)
  sampler.record(np.arange(8), np.repeat([1.0, 0.0], 4))
  assert sampler.is_hard.sum() == 96


def test_chances_by_hand():
  # 2 of weights 1, 1, 2: 2 w / 4.
  p = problem_sampler.inclusion_probabilities([1.0, 1.0, 2.0], 2)
  np.testing.assert_allclose(p, [0.5, 0.5, 1.0])
  # 2 of 1, 1, 6: 2 * 6 / 8 is above 1, so it is certain; 1 is left for the two.
  p = problem_sampler.inclusion_probabilities([1.0, 1.0, 6.0], 2)
  np.testing.assert_allclose(p, [0.5, 0.5, 1.0])
  # 3 of 1, 1, 4, 6: 6 is certain, then 2 * 4 / 6 is, and 1 is left.
  p = problem_sampler.inclusion_probabilities([1.0, 1.0, 4.0, 6.0], 3)
  np.testing.assert_allclose(p, [0.5, 0.5, 1.0, 1.0])
  p = problem_sampler.inclusion_probabilities([1e-9, 3.0, 2.0], 3)
  np.testing.assert_array_equal(p, [1.0, 1.0, 1.0])
  p = problem_sampler.inclusion_probabilities([1.0] * 7, 3)
  np.testing.assert_allclose(p, np.full(7, 3 / 7))


@pytest.mark.parametrize('n', [1, 8, 32, 48])
def test_prioritized_follows_1_minus_s_for_any_share(n):
  # Of 64 problems, weights 1 - s of 1 to 1/4: for n = 48, 48 / 40 is 1.2 times
  # what a chance may be, so those are certain.
  rates = np.tile([0.0, 0.25, 0.5, 0.75], 16)
  sampler = make(64, strategy='prioritized', seed=n)
  sampler.record(np.arange(64), rates)
  p = problem_sampler.inclusion_probabilities(1 - rates, n)
  if n <= 32:
    np.testing.assert_allclose(p, n * (1 - rates) / 40)
  draws = 2000
  drawn = [sampler.draw(n, 0) for _ in range(draws)]
  assert all(len(set(indices)) == n for indices in drawn)
  counts = np.bincount(np.concatenate(drawn), minlength=64)
  np.testing.assert_array_equal(counts[p == 1], draws)
  # Each count is binomial, of variance draws p (1 - p); their sum is fixed.
  # 110.0 is the 99.99 % quantile of chi-square with 63 degrees of freedom.
  some = p < 1
  expected = draws * p[some]
  terms = (counts[some] - expected) ** 2 / (expected * (1 - p[some]))
  assert terms.sum() < 115
  # Equal weights, equal chances: whole quarters agree to half a percent.
  by_rate = counts.reshape(16, 4).mean(axis=0) / draws
  np.testing.assert_allclose(by_rate, p[:4], rtol=0.05)


@pytest.mark.parametrize('strategy', problem_sampler.STRATEGIES)
def test_what_is_never_solved_is_left_out_and_tried_again(strategy):
  sampler = make(
    8,
    strategy=strategy,
    curriculum_iteration=0,
    leave_out_after=2,
    retry_after=5,
  )
  hopeless = [0, 1]
  # Problem 2 was solved once and never again: it stays.
  sampler.record([2], [0.5])
  for _ in range(2):
    sampler.record(range(8), [0, 0, 0, 1, 1, 1, 1, 1])
  for iteration in range(3, 8):
    for _ in range(4):
      assert not set(sampler.draw(3, iteration)) & set(hopeless)
    assert sampler.metrics()['problem_sampler/left_out'] == 2
  # Left out in iteration 3, tried again from 8 on, and left out once more.
  seen = set(np.concatenate([sampler.draw(8, 8) for _ in range(3)]))
  assert seen == set(range(8))
  assert sampler.metrics()['problem_sampler/left_out'] == 0
  sampler.record([0], [0.0])
  sampler.draw(3, 9)
  assert not sampler.is_left_out.any()
  sampler.record([0, 1], [0.0, 0.125])
  sampler.draw(3, 10)
  np.testing.assert_array_equal(np.flatnonzero(sampler.is_left_out), [0])


def test_a_late_success_brings_a_problem_back():
  sampler = make(4, leave_out_after=1)
  sampler.record([0], [0.0])
  sampler.draw(2, 0)
  assert sampler.is_left_out[0]
  sampler.record([0], [0.5])  # Of a draw before, whose group took longer.
  assert not sampler.is_left_out.any()
  sampler.record([0], [0.0])
  sampler.draw(2, 1)
  assert not sampler.is_left_out.any()


def test_all_return_when_the_others_are_solved_often_enough():
  sampler = make(4, leave_out_after=1, retry_at_success_rate=0.6)
  sampler.record([0, 1, 2], [0.5, 0.5, 0.0])
  sampler.draw(1, 0)
  # One mean is over what was tried and is in use: 0.5, and not of problem 3.
  assert list(sampler.is_left_out) == [False, False, True, False]
  sampler.draw(1, 1)
  assert sampler.is_left_out[2]
  sampler.record([0, 1], [1.0, 0.5])  # s = 0.75 and 0.5, or more.
  assert sampler.success_rates[:2].mean() >= 0.6
  sampler.draw(1, 2)
  assert not sampler.is_left_out.any()
  # It has a draw anew, and the mean has fallen with it.
  sampler.record([2], [0.0])
  sampler.draw(1, 3)
  assert sampler.is_left_out[2]


def test_what_was_left_out_longest_fills_an_iteration():
  sampler = make(6, leave_out_after=1)
  sampler.record([4, 5], [0.0, 0.0])
  sampler.draw(1, 0)
  sampler.record([0, 1], [0.0, 0.0])
  sampler.draw(1, 1)
  np.testing.assert_array_equal(
    np.flatnonzero(sampler.is_left_out), [0, 1, 4, 5]
  )
  # Two remain and three are wanted: the first of those left out in iteration 0.
  assert set(sampler.draw(3, 2)) == {2, 3, 4}
  assert sorted(sampler.draw(6, 3)) == list(range(6))


def test_epochs_pass_over_what_is_left_out():
  sampler = make(9, leave_out_after=1)
  sampler.record([3, 7], [0.0, 0.0])
  drawn = [sampler.draw(4, i) for i in range(70)]
  assert all(len(set(indices)) == 4 for indices in drawn)
  # 280 draws of the seven others; epochs of 9 with 7 draws are 40.
  counts = np.bincount(np.concatenate(drawn), minlength=9)
  np.testing.assert_array_equal(counts, [40, 40, 40, 0, 40, 40, 40, 0, 40])


@pytest.mark.parametrize('strategy', problem_sampler.STRATEGIES)
def test_some_problems_start_later(strategy):
  sampler = make(6, strategy=strategy, starts=[0, 0, 0, 0, 2, 2])
  with pytest.raises(ValueError, match='cannot draw 5 of 4 problems'):
    sampler.draw(5, 1)
  for iteration in (0, 1):
    assert set(sampler.draw(4, iteration)) == {0, 1, 2, 3}
  sampler.draw(3, 1)  # In the middle of an epoch, which is over then.
  assert sorted(sampler.draw(6, 2)) == [*range(6)]


def test_a_sampler_is_restored_after_a_start():
  starts = [0, 0, 0, 0, 2, 2]
  left, right = make(6, starts=starts), make(6, starts=starts)
  left.draw(2, 0)
  left.draw(2, 2)
  right.set_state(left.get_state())
  # It does not begin the epoch once more.
  for iteration in (3, 4):
    np.testing.assert_array_equal(
      left.draw(2, iteration), right.draw(2, iteration)
    )


@pytest.mark.parametrize('strategy', problem_sampler.STRATEGIES)
def test_a_restored_sampler_draws_the_same(strategy):
  options = dict(strategy=strategy, leave_out_after=1, retry_after=3)
  sampler = make(30, **options)
  sampler.draw(20, 0)
  sampler.record(np.arange(20), np.linspace(0, 1, 20))
  state = sampler.get_state()
  assert all(isinstance(value, np.ndarray) for value in state.values())
  assert json.loads(state['rng'].tobytes())
  restored = make(30, seed=99, **options)
  restored.set_state(state)
  for iteration in range(6):
    expected = sampler.draw(20, iteration)
    np.testing.assert_array_equal(restored.draw(20, iteration), expected)
    np.testing.assert_array_equal(restored.is_left_out, sampler.is_left_out)
    rewards = 0.1 * iteration * (np.arange(20) % 3)
    sampler.record(expected, rewards)
    restored.record(expected, rewards)
  np.testing.assert_array_equal(restored.success_rates, sampler.success_rates)


def test_a_budget_is_fixed_once():
  sampler = make(3)
  sampler.fix_budgets([0, 1], [5.0, np.nan])
  sampler.fix_budgets([0, 1], [9.0, 7.0])
  restored = make(3)
  restored.set_state(sampler.get_state())
  for each in (sampler, restored):
    np.testing.assert_array_equal(each.budgets([1, 0, 2]), [7.0, 5.0, np.nan])
  # Checkpoints of before budgets have none.
  state = sampler.get_state()
  del state['token_budgets']
  restored.set_state(state)
  assert np.isnan(restored.budgets([0, 1, 2])).all()


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
  assert sampler.metrics()['problem_sampler/visits'] == 0
  sampler.record([0, 1], [1.0, 0.5])
  sampler.record([0], [1.0])
  assert sampler.metrics() == {
    'problem_sampler/seen_fraction': 0.5,
    'problem_sampler/visits': 1.5,  # 2 and 1
    'problem_sampler/success_rate': 0.375,
    'problem_sampler/solved_fraction': 0.25,
    'problem_sampler/hard_fraction': 0.5,
    'problem_sampler/left_out': 0.0,
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
