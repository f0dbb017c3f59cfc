"""Length rewards, baselines and weights, each by hand."""

import numpy as np
import pytest

from k15.equations import advantages


@pytest.mark.parametrize(
  'lengths, is_correct, expected',
  [
    # lambda = 0.5 - (length - 100) / 300 = 1/2, 1/6, -1/6, -1/2.
    ([100, 200, 300, 400], [1, 1, 1, 1], [1 / 2, 1 / 6, -1 / 6, -1 / 2]),
    ([100, 200, 300, 400], [1, 1, 0, 0], [1 / 2, 1 / 6, -1 / 6, -1 / 2]),
    # Short wrong answers gain nothing: min(0, lambda).
    ([100, 200, 300, 400], [0, 0, 1, 1], [0, 0, -1 / 6, -1 / 2]),
    ([400, 300, 200, 100], [0, 0, 0, 0], [-1 / 2, -1 / 6, 0, 0]),
    # All of one length, one response, no tokens at all.
    ([7, 7, 7], [1, 0, 1], [0, 0, 0]),
    ([9], [1], [0]),
    ([0, 0], [0, 0], [0, 0]),
  ],
)
def test_length_rewards_by_hand(lengths, is_correct, expected):
  rewards = advantages.length_rewards([lengths], [is_correct])
  np.testing.assert_allclose(rewards, [expected], atol=1e-12)


def test_groups_do_not_mix():
  rewards = advantages.length_rewards([[1, 3], [100, 300]], np.ones((2, 2)))
  np.testing.assert_allclose(rewards, [[0.5, -0.5], [0.5, -0.5]])


def test_range_order_and_sign():
  rng = np.random.default_rng(0)
  lengths = rng.integers(0, 1000, (50, 8))
  is_correct = rng.random((50, 8)) < 0.5
  rewards = advantages.length_rewards(lengths, is_correct)
  assert np.abs(rewards).max() <= 0.5
  assert (rewards[~is_correct] <= 0).all()
  for correct in (True, False):
    same = np.full((50, 8), correct)
    ordered = advantages.length_rewards(np.sort(lengths), same)
    assert (np.diff(ordered) <= 0).all()


def test_total_rewards():
  rewards = np.array([[1.0, 0.0, 1.0, 0.0]])
  lengths = [[400, 400, 100, 250]]
  # 1 - w/2, 0 - w/2, 1 + w/2, and lambda = 0 in the middle.
  total = advantages.total_rewards(rewards, rewards > 0, lengths, 0.4)
  np.testing.assert_allclose(total, [[0.8, -0.2, 1.2, 0.0]])
  np.testing.assert_array_equal(
    advantages.total_rewards(rewards, rewards > 0, lengths, 0.0), rewards
  )


def test_the_longest_right_answer_beats_the_best_wrong_one_below_weight_2():
  # Right and longest: 1 - w/2.  Wrong and shortest: 0.
  for weight, is_ahead in ((1.99, True), (2.01, False)):
    total = advantages.total_rewards(
      [[1.0, 0.0]], [[True, False]], [[9, 1]], weight
    )
    assert (total[0, 0] > total[0, 1]) == is_ahead


def test_warm_up_is_a_step():
  weights = [advantages.length_weight(i, 0.3, 2) for i in range(4)]
  assert weights == [0.0, 0.0, 0.3, 0.3]


def test_a_wrong_answer_in_good_form_gains_nothing_by_its_length():
  """A reward of 1 for the form alone is not a right answer: it is as short."""
  total = advantages.total_rewards(
    [[1.0, 2.0]], [[False, True]], [[10, 30]], 0.5
  )
  # min(0, 0.5) for the wrong one; -0.5 for the right one, times the weight.
  np.testing.assert_allclose(total, [[1.0, 1.75]])


@pytest.mark.parametrize(
  'tau, right, wrong',
  # Eight responses, one right: tau log Z = tau log((e^(1/tau) + 7) / 8), for
  # tau = 0.1 1 - 0.1 log 8 (1 + 7 e^-10) = 0.792.
  [
    (0.01, 0.021, -0.979),
    (0.1, 0.208, -0.792),
    (1.0, 0.805, -0.195),
    (10.0, 0.869, -0.131),
  ],
)
def test_tau_log_z_baseline(tau, right, wrong):
  values = advantages.over_baseline(np.eye(1, 8), 'tau_log_z', tau)
  expected = [[right] + 7 * [wrong]]
  np.testing.assert_allclose(values, expected, atol=5e-4)
  # Jensen: tau log Z >= mean, so these never sum to more than 0.
  assert values.sum() < 0


def test_tau_log_z_limits():
  rewards = np.array([[1.0, 0.25, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
  mean = advantages.over_baseline(rewards, 'mean', 0.0)
  # The next term is variance / (2 tau), here below 1 / 8 / 1e4.
  np.testing.assert_allclose(
    advantages.over_baseline(rewards, 'tau_log_z', 1e4), mean, atol=2e-5
  )
  # tau -> 0: the baseline is the best reward.
  np.testing.assert_allclose(
    advantages.over_baseline(rewards, 'tau_log_z', 1e-300),
    rewards - rewards.max(axis=1, keepdims=True),
    atol=1e-12,
  )


def test_mean_leave_one_out_and_none():
  rewards = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.5]])
  mean = advantages.over_baseline(rewards, 'mean', 0.1)
  np.testing.assert_allclose(mean[0], [0.75, -0.25, -0.25, -0.25])
  np.testing.assert_allclose(mean.sum(axis=1), 0, atol=1e-12)
  leave_one_out = advantages.over_baseline(rewards, 'leave_one_out', 0.1)
  # 0 - (1 + 0 + 0) / 3 for a wrong one; in all, k / (k - 1) times the mean's.
  np.testing.assert_allclose(leave_one_out[0], [1, -1 / 3, -1 / 3, -1 / 3])
  np.testing.assert_allclose(leave_one_out, 4 / 3 * mean)
  np.testing.assert_array_equal(
    advantages.over_baseline(rewards, 'none', 1), rewards
  )


@pytest.mark.parametrize('baseline', ['mean', 'tau_log_z', 'leave_one_out'])
def test_equal_rewards_give_exactly_zero(baseline):
  # np.full(7, 0.1).mean() is not 0.1.
  rewards = np.full((1, 7), 0.1)
  assert not advantages.over_baseline(rewards, baseline, 0.1).any()
  assert not advantages.group_normalized(rewards).any()


def test_a_group_of_one_and_wrong_arguments():
  assert advantages.over_baseline([[1.0]], 'mean', 0.1) == 0
  with pytest.raises(ValueError, match='not 1'):
    advantages.over_baseline([[1.0]], 'leave_one_out', 0.1)
  with pytest.raises(ValueError, match='not 0'):
    advantages.over_baseline([[1.0]], 'tau_log_z', 0.0)
  with pytest.raises(ValueError, match='median'):
    advantages.over_baseline([[1.0]], 'median', 0.1)


def test_group_normalized_by_hand():
  # Mean 0.5, standard deviation 0.5; the second group has none.
  rewards = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
  np.testing.assert_allclose(
    advantages.group_normalized(rewards), [[1, -1, 1, -1], [0, 0, 0, 0]]
  )


@pytest.mark.parametrize('scale', [1e-6, 1.0, 1e6])
def test_rounding_is_no_difference_between_rewards(scale):
  # 0.1 + 0.2 is not 0.3 in binary.
  rewards = np.array([[0.1 + 0.2, 0.3, 0.3], [-0.1 - 0.2, -0.3, -0.3]]) * scale
  assert (np.ptp(rewards, axis=1) > 0).all()
  assert advantages.are_equal(rewards).all()
  assert not advantages.group_normalized(rewards).any()
  for baseline in ('mean', 'leave_one_out', 'tau_log_z'):
    assert not advantages.over_baseline(rewards, baseline, 0.1).any()
  # A millionth of the largest is a difference: (r - mean) / std by hand, of
  # 0, 0, 1: mean 1 / 3, std sqrt(2) / 3.
  small = np.array([[1.0, 1.0, 1.0 + 1e-6]]) * scale
  assert not advantages.are_equal(small).any()
  np.testing.assert_allclose(
    advantages.group_normalized(small),
    [[-(0.5**0.5), -(0.5**0.5), 2**0.5]],
    rtol=1e-6,
  )


def test_rest_keeps_the_first_best_response():
  rewards = [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.1, 0.9, 1.2], [-1, -0.5, 0]]
  np.testing.assert_array_equal(
    advantages.rest_advantages(rewards),
    [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]],
  )


# -- negative gradients and weights


def test_keep_and_drop_negative_gradients():
  rng = np.random.default_rng(0)
  values = np.array([[0.5, -0.5, 0.0]])
  kept, mask = advantages.apply_negative_gradients(values, 'keep', 0.5, rng)
  np.testing.assert_array_equal(kept, values)
  assert mask.all()
  kept, mask = advantages.apply_negative_gradients(values, 'drop', 0.5, rng)
  np.testing.assert_array_equal(kept, [[0.5, 0.0, 0.0]])
  np.testing.assert_array_equal(mask, [[True, False, True]])
  with pytest.raises(ValueError, match='halve'):
    advantages.apply_negative_gradients(values, 'halve', 0.5, rng)


def test_discard_leaves_out_the_given_share_of_negatives():
  values = np.tile([0.5, -0.5], (4000, 1))
  rng = np.random.default_rng(1)
  kept, mask = advantages.apply_negative_gradients(values, 'discard', 0.5, rng)
  assert mask[:, 0].all()
  # 4000 fair coins: standard deviation sqrt(0.25 / 4000) = 0.008.
  assert abs(mask[:, 1].mean() - 0.5) < 4 * 0.008
  np.testing.assert_array_equal(kept, values * mask)
  for rate, share in ((0.0, 1.0), (1.0, 0.0)):
    _, mask = advantages.apply_negative_gradients(values, 'discard', rate, rng)
    assert mask[:, 1].mean() == share


def test_sequence_weights_by_hand():
  lengths = [2, 0, 6, 8]
  for norm, expected in (
    ('seq_sum', [1 / 4, 0, 1 / 4, 1 / 4]),
    ('seq_mean', [1 / 8, 0, 1 / 24, 1 / 32]),
    ('token_mean', [1 / 16, 0, 1 / 16, 1 / 16]),
    ('const_max_len', [1 / 40, 0, 1 / 40, 1 / 40]),
  ):
    weights = advantages.sequence_weights(lengths, norm, 10)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected)
    assert not advantages.sequence_weights([0, 0], norm, 10).any()
    # Who leaves the loss takes nothing from the weight of the others.
    left = advantages.sequence_weights(
      lengths, norm, 10, np.array([1, 1, 0, 1]) > 0
    )
    np.testing.assert_array_equal(left, weights * [1, 1, 0, 1])
  with pytest.raises(ValueError, match='seq_max'):
    advantages.sequence_weights(lengths, 'seq_max', 10)


# -- the classic reward model
