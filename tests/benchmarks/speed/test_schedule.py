"""Tests of benchmarks/speed/schedule.py."""

import numpy as np
import pytest

from benchmarks.speed import schedule

# One second a step, nothing else takes time.
TWO_SLOTS = schedule.Machine(2, 1.0, 0.0, 0.0)


def test_a_slot_takes_the_next_response_as_soon_as_its_own_stops():
  # Slot 0: 3 steps.  Slot 1: 1 step, then 2.  Both are full to the end.
  phase = schedule.rollout(TWO_SLOTS, [3, 1, 2], [0, 0, 0])
  assert phase.steps == 3 and phase.seconds == 3 and phase.busy == 6
  assert phase.tokens == 6 and phase.bound == 3


def test_a_long_response_that_comes_last_keeps_a_slot_idle():
  # Both slots 1 step, then one of them 4: 5 steps, where max(4, 6 / 2) = 4
  # steps would do; 2 + 4 slot-seconds of 10 are busy.
  phase = schedule.rollout(TWO_SLOTS, [1, 1, 4], [0, 0, 0])
  assert phase.steps == 5 and phase.bound == 4 and phase.busy == 6


def test_live_slots_and_prefill_cost_time_by_the_model():
  machine = schedule.Machine(2, 1.0, 0.5, 0.1)
  # Prefill 10 tokens: 1 s.  1 step of two slots: 2 s.  2 of one: 2 x 1.5 s.
  phase = schedule.rollout(machine, [3, 1], [10, 0])
  assert phase.seconds == pytest.approx(1 + 2 + 3)
  assert phase.busy == pytest.approx(2 * 2 + 3)


def test_responses_over_budget_go_on_first_and_groups_wait_for_them():
  # Groups of one; lengths 5 and 1, then 1 and 1, then 1 and 1; budget 2.
  # Iteration 0 trains on the 1, 1 on both of its own, 2 on the 5 too, which
  # grew by 2, 2 and 1.
  sampled = [[5, 1], [1, 1], [1, 1]]
  found = list(schedule.run(TWO_SLOTS, sampled, budget=2, group_size=1))
  assert [lengths.tolist() for _, lengths, _ in found] == [
    [1], [1, 1], [5, 1, 1]
  ]  # fmt: skip
  assert [segments.tolist() for _, _, segments in found] == [
    [1], [1, 1], [3, 1, 1]
  ]  # fmt: skip
  # Iteration 1: the resumed one 2 steps, in the other slot 1 and 1.
  assert [phase.steps for phase, _, _ in found] == [2, 2, 2]
  assert [phase.tokens for phase, _, _ in found] == [3, 4, 3]
  # A group of two waits for its longer half.
  found = list(schedule.run(TWO_SLOTS, sampled, budget=2, group_size=2))
  assert [lengths.tolist() for _, lengths, _ in found] == [
    [], [1, 1], [5, 1, 1, 1]
  ]  # fmt: skip


def test_every_response_is_trained_on_once_and_without_bias_in_the_end():
  rng = np.random.default_rng(0)
  machine = schedule.Machine(8, 1.0, 0.0, 0.0)
  # Uniform on 1 .. 40 with budget 10: 4 iterations until the longest is done.
  sampled = rng.integers(1, 41, (60, 40))
  found = list(schedule.run(machine, sampled, budget=10, group_size=2))
  trained = np.concatenate([lengths for _, lengths, _ in found])
  tokens = sum(phase.tokens for phase, _, _ in found)
  assert len(trained) <= sampled.size and trained.sum() <= tokens
  # Nothing that was opened 4 iterations before the end is still waiting.
  assert len(trained) >= sampled[:-3].size
  values = schedule.summarize(machine, found, sampled, 10)
  assert values['transient'] == 4 and values['segments_max'] == 4
  assert values['bias'] < 0.05
  # The first iteration trains on pairs that both end within 10 tokens.
  assert values['first_mean'] <= 10 < values['trained_mean']


def test_lengths_follow_the_published_means():
  rng = np.random.default_rng(0)
  for progress, mean in ((0, 1259), (1, 9607), (0.5, 5433)):
    lengths = schedule.draw_lengths(rng, progress, 200_000)
    assert lengths.mean() == pytest.approx(mean, rel=0.02)
    assert lengths.min() >= 1 and lengths.max() <= 131072


def test_distance_of_distributions():
  assert schedule.distance([1, 2, 3], [1, 2, 3]) == 0
  # At 1: 1/2 against 0.  At 2: 1 against 1/2.
  assert schedule.distance([1, 2], [2, 3]) == 0.5
  assert schedule.distance([1], [2]) == 1
