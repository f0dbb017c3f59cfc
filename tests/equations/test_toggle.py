"""Toggle of Kimi K2.5, by hand."""

import numpy as np

from k15.equations import toggle


def test_the_budget_is_a_percentile_of_right_lengths():
  # Of 2, 4, 8: in the middle 4, and a quarter of the way 3.  None is right.
  lengths = [[2, 9, 4, 8], [1, 2, 3, 4]]
  right = np.array([[True, False, True, True], [False] * 4])
  for percentile, expected in ((50, 4), (25, 3), (100, 8)):
    found = toggle.budgets(lengths, right, percentile)
    np.testing.assert_array_equal(found, [expected, np.nan])


def test_toggle_by_hand():
  # Budgets 4, 4 and none; accuracies 3/4, 1/4 and 1; lambda is 1/2.
  rewards = np.array([[1.0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
  lengths = np.array([[4, 5, 3, 9], [9, 9, 1, 1], [9, 9, 9, 9]])
  budgets = [4.0, 4.0, np.nan]
  limited = toggle.rewards(rewards, rewards > 0, lengths, budgets, 0.5, True)
  expected = [[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
  np.testing.assert_array_equal(limited, expected)
  free = toggle.rewards(rewards, rewards > 0, lengths, budgets, 0.5, False)
  np.testing.assert_array_equal(free, rewards)


def test_toggle_takes_turns():
  limited = [toggle.is_limited(i, 2) for i in range(6)]
  assert limited == [True, True, False, False, True, True]
  assert not any(toggle.is_limited(i, 0) for i in range(6))
