import numpy as np
import pytest

from k15 import length_reward


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
  rewards = length_reward.length_rewards([lengths], [is_correct])
  np.testing.assert_allclose(rewards, [expected], atol=1e-12)


def test_groups_do_not_mix():
  rewards = length_reward.length_rewards([[1, 3], [100, 300]], np.ones((2, 2)))
  np.testing.assert_allclose(rewards, [[0.5, -0.5], [0.5, -0.5]])


def test_range_order_and_sign():
  rng = np.random.default_rng(0)
  lengths = rng.integers(0, 1000, (50, 8))
  is_correct = rng.random((50, 8)) < 0.5
  rewards = length_reward.length_rewards(lengths, is_correct)
  assert np.abs(rewards).max() <= 0.5
  assert (rewards[~is_correct] <= 0).all()
  for correct in (True, False):
    same = np.full((50, 8), correct)
    ordered = length_reward.length_rewards(np.sort(lengths), same)
    assert (np.diff(ordered) <= 0).all()


def test_total_rewards():
  rewards = np.array([[1.0, 0.0, 1.0, 0.0]])
  lengths = [[400, 400, 100, 250]]
  # 1 - w/2, 0 - w/2, 1 + w/2, and lambda = 0 in the middle.
  total = length_reward.total_rewards(rewards, rewards > 0, lengths, 0.4)
  np.testing.assert_allclose(total, [[0.8, -0.2, 1.2, 0.0]])
  np.testing.assert_array_equal(
    length_reward.total_rewards(rewards, rewards > 0, lengths, 0.0), rewards
  )


def test_the_longest_right_answer_beats_the_best_wrong_one_below_weight_2():
  # Right and longest: 1 - w/2.  Wrong and shortest: 0.
  for weight, is_ahead in ((1.99, True), (2.01, False)):
    total = length_reward.total_rewards(
      [[1.0, 0.0]], [[True, False]], [[9, 1]], weight
    )
    assert (total[0, 0] > total[0, 1]) == is_ahead


def test_warm_up_is_a_step():
  weights = [length_reward.length_weight(i, 0.3, 2) for i in range(4)]
  assert weights == [0.0, 0.0, 0.3, 0.3]


def test_a_wrong_answer_in_good_form_gains_nothing_by_its_length():
  """A reward of 1 for the form alone is not a right answer: it is as short."""
  total = length_reward.total_rewards(
    [[1.0, 2.0]], [[False, True]], [[10, 30]], 0.5
  )
  # min(0, 0.5) for the wrong one; -0.5 for the right one, times the weight.
  np.testing.assert_allclose(total, [[1.0, 1.75]])
