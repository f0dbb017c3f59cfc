"""Numbers by hand for what the curves of a run are made of."""

import dataclasses
import zlib

import numpy as np
import pytest

from k15.data_types import Group, Problem, Segment, StopReason, Trajectory
from k15.stages.rl import metrics


def _trajectory(length, stop=StopReason.EOS, reward=None, index=0, group_id=0):
  segment = Segment(np.zeros(length, np.int32), np.zeros(length, np.float32), 0)
  return Trajectory(group_id, 'p', index, (segment,), stop, reward)


def _group(group_id, rewards, lengths, domain, difficulty):
  problem = Problem('p', 'q', 'a', domain, difficulty)
  trajectories = tuple(
    _trajectory(length, reward=reward, index=i, group_id=group_id)
    for i, (reward, length) in enumerate(zip(rewards, lengths, strict=True))
  )
  return Group(group_id, problem, trajectories, opened_at=5)


def test_rollout_counts_stops_of_all_and_lengths_of_the_finished():
  sampled = [
    _trajectory(2),
    _trajectory(6, StopReason.MAX_LENGTH),
    _trajectory(100, StopReason.BUDGET),
    _trajectory(4, StopReason.REPETITION),
  ]
  values = metrics.of_rollout(sampled, [], dict(tokens=7))
  assert values['rl/length_mean'] == 4  # (2 + 6 + 4) / 3
  assert values['rl/length_p95'] == pytest.approx(5.8)  # 4 + 0.9 * (6 - 4)
  assert values['rl/responses_sampled'] == 4
  assert values['rollout/tokens'] == 7
  for stop in ('eos', 'budget', 'max_length', 'repetition'):
    assert values[f'rl/stop_{stop}'] == 0.25


def test_a_rollout_that_finished_nothing_has_no_length():
  values = metrics.of_rollout([_trajectory(9, StopReason.BUDGET)], [], {})
  assert np.isnan([values['rl/length_mean'], values['rl/length_p95']]).all()


def test_what_was_given_up_has_finished():
  values = metrics.of_rollout(
    [_trajectory(2), _trajectory(9, StopReason.BUDGET)],
    [_trajectory(6, StopReason.AGE), _trajectory(4, StopReason.AGE)],
    {},
  )
  assert values['rl/stop_age'] == 0.5
  assert values['rl/length_mean'] == 4  # (2 + 6 + 4) / 3
  assert values['rl/responses_sampled'] == 2


def test_parts_of_a_reward_by_hand():
  """Right without the form, wrong in it, and one that has no form to keep."""
  parts = (
    dict(accuracy=1.0, format=0.0), dict(accuracy=0.0, format=1.0),
    dict(accuracy=1.0),
  )  # fmt: skip
  trajectories = tuple(
    dataclasses.replace(
      _trajectory(10 * i + 10, reward=1.0, index=i), parts=own
    )
    for i, own in enumerate(parts)
  )
  group = Group(0, Problem('p', 'q', 'a'), trajectories)
  values = metrics.of_groups([group])
  assert values['rl/reward'] == 1.0
  assert values['rl/accuracy'] == pytest.approx(2 / 3)
  assert values['reward/accuracy'] == pytest.approx(2 / 3)
  assert values['reward/format'] == 0.5
  assert values['rl/length_correct'] == 20  # (10 + 30) / 2
  assert values['rl/length_wrong'] == 20
  (record,) = metrics.group_records([group])
  assert record['rewards'] == [1, 1, 1] and record['accuracies'] == [1, 0, 1]


def test_groups_without_a_label_are_in_no_level():
  values = metrics.of_groups(
    [
      _group(0, (1.0, 1.0), (10, 20), '', None),
      _group(1, (0.0, 0.0), (10, 20), '', 0.0),
    ]
  )
  assert values['rl/reward'] == 0.5 and values['rl/reward_easy'] == 0.0
  assert not {'rl/reward_medium', 'rl/reward_hard', 'rl/reward_'} & set(values)


def test_groups_by_level_domain_and_verdict():
  values = metrics.of_groups(
    [
      _group(0, (1.0, 0.0), (10, 20), 'add', 0.1),
      _group(1, (1.0, 1.0), (30, 50), 'pay', 1.0),
      _group(2, (0.0, 0.0), (4, 6), 'add', 0.5),
    ]
  )
  assert values['rl/reward'] == 0.5
  assert values['rl/groups'] == 3
  assert values['rl/zero_variance_groups'] == pytest.approx(2 / 3)
  assert values['rl/all_wrong_groups'] == pytest.approx(1 / 3)
  # 30 + 50 + 4 + 6 of these and 10 + 20.
  assert values['rl/zero_variance_tokens'] == pytest.approx(90 / 120)
  assert values['rl/reward_easy'] == 0.5
  assert values['rl/reward_medium'] == 0.0
  assert values['rl/reward_hard'] == 1.0
  assert values['rl/reward_domain_add'] == 0.25
  assert values['rl/reward_domain_pay'] == 1.0
  assert values['rl/length_correct'] == 30  # (10 + 30 + 50) / 3
  assert values['rl/length_wrong'] == 10  # (20 + 4 + 6) / 3
  assert values['rl/length_p90_correct'] == 46  # 30 + 0.8 * (50 - 30)
  assert values['rl/length_p95_correct'] == 48  # 30 + 0.9 * (50 - 30)
  assert values['rl/length_p95_wrong'] == pytest.approx(18.6)
  # 10 of 10, and 30 of each of 30 and 50, are needed.
  assert values['rl/redundant_tokens'] == pytest.approx(20 / 90)


def test_arrivals_count_alone_and_are_compared_with_those_before():
  whole = _group(0, (1.0, 0.0, 1.0), (10, 20, 30), 'add', 0.1)
  first, *later = whole.trajectories
  arrived = dataclasses.replace(
    whole, trajectories=(later[0],), earlier=(first,)
  )
  values = metrics.of_groups([arrived, _group(1, (1.0, 1.0), (4, 6), '', 0.1)])
  assert values['rl/reward'] == pytest.approx(2 / 3)  # 0, 1, 1
  assert values['rl/zero_variance_groups'] == 0.5  # 1 and 0 differ
  assert values['rl/all_wrong_groups'] == 0
  assert values['rl/zero_variance_tokens'] == pytest.approx(10 / 30)
  assert values['rl/length_wrong'] == 20
  (record,) = metrics.group_records([arrived])
  assert record['samples'] == [1] and record['rewards'] == [0.0]


def test_what_is_absent_has_no_number():
  values = metrics.of_groups([_group(0, (1.0, 1.0), (1, 1), '', 0.0)])
  assert 'rl/length_wrong' not in values
  assert 'rl/reward_hard' not in values
  assert not any(key.startswith('rl/reward_domain') for key in values)


def test_group_records_name_each_response():
  group = _group(7, (1.0, 0.0), (10, 20), 'add', 0.1)
  assert metrics.group_records([group]) == [
    dict(
      group_id=7,
      problem_id='p',
      opened_at=5,
      samples=[0, 1],
      rewards=[1.0, 0.0],
      accuracies=[1.0, 0.0],
      lengths=[10, 20],
      stops=['eos', 'eos'],
      crc32=[zlib.crc32(bytes(40)), zlib.crc32(bytes(80))],  # All zeros.
    )
  ]


def test_updates_are_joined():
  def update(**values):
    return (
      dict(
        loss=1.0, entropy_sum=8.0, tokens=4.0, sequences=2.0,
        log_ratio_sum=0.0, log_ratio_sq_sum=0.0, log_ratio_abs_max=0.0,
        token_log_ratios=4.0, token_log_ratio_sq_sum=0.0,
        grad_norm=3.0, learning_rate=0.1,
      )
      | values
    )  # fmt: skip

  second = update(
    loss=3.0, log_ratio_sum=-2.0, log_ratio_sq_sum=16.0, log_ratio_abs_max=3.0,
    learning_rate=0.2, token_log_ratio_sq_sum=1.0,
  )  # fmt: skip
  values = metrics.of_updates([update(), second])
  assert values['rl/loss'] == 2.0
  assert values['rl/entropy'] == 2.0  # 16 / 8 tokens
  assert values['rl/log_ratio_mean'] == -0.5  # -2 / 4 responses
  assert values['rl/log_ratio_rms'] == 2.0  # sqrt(16 / 4)
  assert values['rl/log_ratio_max'] == 3.0
  assert values['rl/last_log_ratio_rms'] == pytest.approx(8**0.5)  # 16 / 2
  assert values['rl/last_token_log_ratio_rms'] == 0.5  # sqrt(1 / 4)
  assert values['rl/learning_rate'] == 0.2
  assert values['rl/updates'] == 2
  assert values['rl/responses_trained'] == 4
  assert 'rl/kl' not in values
  with_kl = [update(kl_sum=1.0), update(kl_sum=3.0)]
  assert metrics.of_updates(with_kl)['rl/kl'] == 1.0


def test_without_an_update_there_is_nothing_to_join():
  assert metrics.of_updates([]) == {
    'rl/updates': 0, 'rl/tokens_trained': 0, 'rl/responses_trained': 0
  }  # fmt: skip


def test_drift_by_hand():
  plain = dict(
    loss=1.0, entropy_sum=8.0, tokens=3.0, sequences=2.0,
    log_ratio_sum=0.0, log_ratio_sq_sum=0.0, log_ratio_abs_max=0.0,
    token_log_ratios=3.0, token_log_ratio_sq_sum=0.0,
    grad_norm=3.0, learning_rate=0.1,
  )  # fmt: skip
  assert not [k for k in metrics.of_updates([plain]) if k[:5] == 'drift']
  one, two = (
    plain
    | dict(
      drift_tokens=2.0,
      drift_abs_sum=total,
      drift_abs_max=total - 0.5,
      drift_kl_sum=1.0,
      correction_tokens=4.0,
      correction_cut_sum=cut,
      correction_weight_sum=3.0,
    )  # fmt: skip
    for total, cut in ((1.0, 1.0), (2.0, 0.0))
  )
  values = metrics.of_updates([one, two])
  assert values['drift/logprob_mean'] == 0.75  # 3 / 4 tokens
  assert values['drift/logprob_max'] == 1.5
  assert values['drift/kl'] == 0.5
  assert values['drift/correction_weight'] == 0.75  # 6 / 8 tokens
  assert values['drift/correction_cut'] == 0.125
  # Of the 8 tokens 6 are left in the loss; entropy is over all of them.
  assert values['rl/entropy'] == 2.0
  assert values['rl/tokens_trained'] == 6.0


@pytest.mark.parametrize(
  'waited, seconds, share', [(0, 0, 1), (0, 2, 1), (1, 4, 0.75), (9, 3, 0)]
)
def test_verdicts_are_counted_and_hidden_time_is_by_hand(
  waited, seconds, share
):
  judged = dict(correct=3, wrong=2, error=1, error_timeout=1, seconds=seconds)
  assert metrics.of_verdicts(judged, waited) == {
    'reward/correct': 3,
    'reward/wrong': 2,
    'reward/error': 1,
    'reward/error_timeout': 1,
    'time/judging_seconds': seconds,
    'time/judging_hidden': share,
  }


def test_ages_by_hand():
  def response(*parts):
    segments = tuple(
      Segment(np.zeros(n, np.int32), np.zeros(n, np.float32), version)
      for n, version in parts
    )
    return Trajectory(0, 'p', 0, segments, StopReason.EOS)

  problem = Problem('p', 'q', 'a')
  groups = [
    Group(0, problem, (response((3, 0)), response((1, 0), (2, 2)))),
    Group(1, problem, (response((2, 0)),)),
  ]
  # In iteration 2, 3 + 1 + 2 tokens of version 0 and 2 of version 2: the mean
  # age is 6 * 2 / 8.
  assert metrics.of_ages(groups, 2) == {
    'replay/token_age_mean': 1.5,
    'replay/token_age_max': 2.0,
    'replay/old_token_fraction': 0.75,
    'replay/group_age_max': 2.0,
  }
  assert set(metrics.of_ages([], 2).values()) == {0.0}
