"""Advantages, batches and the loss of an iteration, by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run

from k15.data_types import StopReason
from k15.stages.rl import methods
from k15.stages.rl import minibatches
from k15.stages.rl import rewards
from k15.stages.rl import updates


def test_total_rewards_by_hand(tmp_path):
  config = small_run.make_config(
    tmp_path,
    length_reward__weight=1.0,
    length_reward__start_iteration=2,
    rl__repetition_penalty=0.25,
  )
  repeats = [StopReason.EOS, StopReason.REPETITION, StopReason.EOS]
  groups = [small_run.make_group(0, (1.0, 0.0, 1.0), (2, 4, 6), repeats)]
  right = np.array([[True, False, True]])
  early = rewards.total_rewards(config, groups, right, 1)
  np.testing.assert_allclose(early, [[1.0, -0.25, 1.0]])
  # lambda = 0.5 - (len - 2) / 4 = 0.5, 0, -0.5; a wrong one gets min(0, 0).
  late = rewards.total_rewards(config, groups, right, 2)
  np.testing.assert_allclose(late, [[1.5, -0.25, 0.5]])


def test_what_is_cut_at_its_longest_pays_if_asked(tmp_path):
  config = small_run.make_config(tmp_path, rl__overlong_penalty=0.5)
  stops = [StopReason.EOS, StopReason.MAX_LENGTH, StopReason.AGE]
  groups = [small_run.make_group(0, (1.0, 0.0, 0.0), (2, 4, 6), stops)]
  found = rewards.total_rewards(config, groups, np.array([[1, 0, 0]]) > 0, 0)
  np.testing.assert_allclose(found, [[1.0, -0.5, 0.0]])


def test_a_penalty_that_grows_over_the_last_tokens(tmp_path):
  config = small_run.make_config(
    tmp_path,
    rl__overlong_penalty=0.5,
    rl__overlong_tokens=4,
    rollout__domain_max_lengths=('short:8',),
  )
  stops = [StopReason.EOS, StopReason.MAX_LENGTH, StopReason.EOS]
  long = small_run.make_group(0, (1.0, 0.0, 1.0), (12, 16, 13), stops)
  short = small_run.make_group(1, (1.0, 0.0, 1.0), (4, 8, 6), stops)
  problem = dataclasses.replace(short.problem, domain='short')
  short = dataclasses.replace(short, problem=problem)
  right = np.array([[True, False, True]] * 2)
  found = rewards.total_rewards(config, [long, short], right, 0)
  # Of 16 tokens the last 4, of 8 too: (13 - 12) / 4 and (6 - 4) / 4 of 0.5.
  np.testing.assert_allclose(found, [[1, -0.5, 0.875], [1, -0.5, 0.75]])


def test_toggle_limits_the_reward_of_its_iterations(tmp_path):
  config = small_run.make_config(
    tmp_path,
    length_reward__toggle_iterations=3,
    length_reward__toggle_accuracy=0.5,
  )
  groups = [small_run.make_group(0, (1.0, 1.0, 0.0), (2, 4, 6))]
  right, budgets = np.array([[True, True, False]]), np.array([3.0])
  for iteration, expected in ((2, [1, 0, 0]), (3, [1, 1, 0])):
    found = rewards.total_rewards(config, groups, right, iteration, budgets)
    np.testing.assert_allclose(found, [expected])


def test_the_temperature_falls_to_its_end(tmp_path):
  config = small_run.make_config(tmp_path)
  assert updates.decayed_temperature(config, 3) is None
  config.rollout.update(temperature=1.2, end_temperature=0.8)
  config.rollout.decay_iterations = 4
  found = [updates.decayed_temperature(config, i) for i in range(7)]
  np.testing.assert_allclose(found, [1.2, 1.1, 1.0, 0.9, 0.8, 0.8, 0.8])


def test_what_is_out_of_form_leaves_the_loss_if_asked(tmp_path):
  for least, in_loss in ((0.0, 2), (1.0, 1)):
    context = small_run.make_context(
      tmp_path,
      loss__least_format=least,
      reward__default='math_answers+r1_format',
    )
    group = small_run.make_group(0, (2.0, 0.0), (4, 6))
    parts = [dict(accuracy=1.0, format=1.0), dict(accuracy=0.0, format=0.0)]
    formed = tuple(
      dataclasses.replace(t, parts=own)
      for t, own in zip(group.trajectories, parts, strict=True)
    )
    group = dataclasses.replace(group, trajectories=formed)
    (batch,) = updates.make_batches(context, [group], 0)
    assert (batch.pg_weight > 0).sum() == in_loss


@pytest.mark.parametrize('row_responses', [0, 2])
def test_worked_solutions_are_learnt_beside_responses(tmp_path, row_responses):
  groups = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(4)]
  changes = dict(rl__row_responses=row_responses)
  plain = small_run.make_context(tmp_path, **changes)
  with_them = small_run.make_context(
    tmp_path, loss__ptx_weight=0.5, loss__ptx_examples=3, **changes
  )
  found = updates.make_batches(with_them, groups, 0)
  before = updates.make_batches(plain, groups, 0)
  assert len(found) == len(before) == 2
  eos = with_them.task.end_id
  for batch, without in zip(found, before, strict=True):
    # What responses weigh is what it was; examples share 0.5 over their tokens.
    is_example = (batch.pg_weight > 0) & (batch.reg_weight == 0)
    assert is_example.sum() == 3
    np.testing.assert_allclose(
      np.sort(batch.pg_weight[batch.reg_weight > 0]),
      np.sort(without.pg_weight[without.reg_weight > 0]),
    )
    rows, places = np.nonzero(is_example)
    tokens, weights = 0, batch.pg_weight[is_example]
    for row, place in zip(rows, places, strict=True):
      assert batch.advantage[row, place] == 1
      own = (batch.segment_ids[row] == place + 1) & (batch.loss_mask[row] > 0)
      assert batch.tokens[row][own][-1] == eos
      assert not batch.current_mask[row][own].any()
      tokens += own.sum()
    np.testing.assert_allclose(weights, 0.5 / tokens)
  # Others in the next update, and the same when they are drawn again.
  again = updates.make_batches(with_them, groups, 0)
  jax.tree.map(np.testing.assert_array_equal, found, again)


@pytest.mark.parametrize(
  ('method', 'expected'),
  [
    ('mirror_descent', [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0]]),
    ('reinforce', [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0]]),
    ('rest', [[1, 0, 0, 0], [1, 0, 0, 0]]),
    # The standard deviation of 1, 0, 0, 1 is 0.5.
    ('grpo', [[1, -1, -1, 1], [0, 0, 0, 0]]),
  ],
)
def test_advantages_of_each_method(tmp_path, method, expected):
  config = small_run.make_config(tmp_path, loss__method=method)
  rewards = np.array([[1.0, 0, 0, 1], [1, 1, 1, 1]])
  values, keep = updates.group_advantages(
    config, rewards, rewards > 0, np.random.default_rng(0)
  )
  np.testing.assert_allclose(values, expected)
  assert keep.all()


def test_dr_grpo_divides_by_no_standard_deviation(tmp_path):
  config = small_run.make_config(
    tmp_path, loss__method='grpo', loss__grpo_divides_by_std=False
  )
  rewards = np.array([[1.0, 0, 0, 1]])
  values, _ = updates.group_advantages(
    config, rewards, rewards > 0, np.random.default_rng(0)
  )
  np.testing.assert_allclose(values, [[0.5, -0.5, -0.5, 0.5]])


def test_rest_imitates_the_best_of_the_right_ones(tmp_path):
  """Not a wrong one that earned something for its form."""
  config = small_run.make_config(tmp_path, loss__method='rest')
  rewards = np.array([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
  is_correct = np.array([[True, False, True], [False, False, False]])
  values, _ = updates.group_advantages(
    config, rewards, is_correct, np.random.default_rng(0)
  )
  np.testing.assert_array_equal(values, [[0, 0, 1], [0, 0, 0]])


def test_groups_without_variance_and_negative_ones_leave_if_asked(tmp_path):
  rewards = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
  config = small_run.make_config(
    tmp_path, loss__keep_zero_variance_groups=False
  )
  rng = np.random.default_rng(0)
  _, keep = updates.group_advantages(config, rewards, rewards > 0, rng)
  np.testing.assert_array_equal(keep, [[True] * 2, [False] * 2, [False] * 2])
  # Nor does rounding count.
  rounded = np.array([[0.1 + 0.2, 0.3]])
  _, keep = updates.group_advantages(config, rounded, rounded > 0, rng)
  assert not keep.any()
  config.loss.negative_gradients = 'drop'
  values, keep = updates.group_advantages(config, rewards, rewards > 0, rng)
  np.testing.assert_allclose(values[0], [0.5, 0.0])
  np.testing.assert_array_equal(keep[0], [True, False])


def test_batches_of_an_iteration_have_one_shape(tmp_path):
  context = small_run.make_context(tmp_path)
  groups = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(7)]
  batches = updates.make_batches(context, groups, 0)
  # 4 problems in 2 updates: 2 groups each, so 7 groups make 4 updates.
  assert len(batches) == 4
  shapes = [jax.tree.map(np.shape, batch) for batch in batches]
  assert all(shape == shapes[0] for shape in shapes)
  assert batches[0].tokens.shape == (4, 32)  # 2 * 2 rows of 16 + 16 tokens
  trained = sum(int((batch.pg_weight > 0).sum()) for batch in batches)
  assert trained == 14


def test_replayed_groups_bring_their_better_right_responses(tmp_path):
  context = small_run.make_context(tmp_path, rl__group_size=4)
  new = [small_run.make_group(i, (1, 0, 0, 0), (4, 6, 2, 8)) for i in range(2)]
  # Advantages 0.5, 0.5, -0.5, -0.5, and none where all are right.
  old = [
    small_run.make_group(2, (1, 1, 0, 0), (3, 5, 7, 9)),
    small_run.make_group(3, (1, 1, 1, 1), (3, 5, 7, 9)),
  ]
  batches = updates.make_batches(context, new, 5, replayed=old)
  assert len(batches) == 2  # Of two groups each, as an iteration of four has.
  in_loss = np.concatenate([b.advantage[b.pg_weight > 0] for b in batches])
  expected = sorted([0.75, *[-0.25] * 3] * 2 + [0.5] * 2)
  np.testing.assert_allclose(sorted(in_loss), expected)
  weights = np.concatenate([b.pg_weight[b.pg_weight > 0] for b in batches])
  np.testing.assert_allclose(weights, 1 / (8 * 16))  # As beside the others.
  assert {b.tokens.shape for b in batches} == {batches[0].tokens.shape}


@pytest.mark.parametrize(
  ('problems', 'asked', 'complete', 'expected'),
  [
    (6, 4, 6, [1, 2, 1, 2]),
    (25, 24, 25, [1] * 23 + [2]),
    (5, 3, 5, [1, 2, 2]),
    # Two of three groups, and twice as many: in proportion, rounded up.
    (6, 4, 4, [1, 1, 2]),
    (6, 4, 1, [1]),
    (4, 2, 8, [2, 2, 2, 2]),
  ],
)
def test_an_iteration_makes_so_many_updates(
  tmp_path, problems, asked, complete, expected
):
  context = small_run.make_context(
    tmp_path,
    rl__problems_per_iteration=problems,
    rl__updates_per_iteration=asked,
  )
  groups = [small_run.make_group(i, (1, 0), (4, 6)) for i in range(complete)]
  batches = updates.make_batches(context, groups, 0)
  sizes = [int((batch.pg_weight > 0).sum()) // 2 for batch in batches]
  assert sorted(sizes) == sorted(expected)
  assert len({batch.tokens.shape for batch in batches}) == 1


@pytest.mark.parametrize(
  'changes',
  [
    dict(loss__method='rest'),
    dict(loss__method='reinforce'),
    dict(loss__method='grpo', loss__grpo_beta=0.0),
    dict(loss__keep_zero_variance_groups=False),
    dict(loss__negative_gradients='drop', loss__method='reinforce'),
  ],
)
def test_groups_that_move_nothing_make_no_batch(tmp_path, changes):
  context = small_run.make_context(tmp_path, **changes)
  wrong = [small_run.make_group(i, (0, 0), (4, 6)) for i in range(4)]
  assert updates.make_batches(context, wrong, 0) == []
  mixed = [*wrong[:3], small_run.make_group(3, (1, 0), (4, 6))]
  assert len(updates.make_batches(context, mixed, 0)) == 1


@pytest.mark.parametrize('beta', [0.0, 0.1])
def test_the_pull_alone_makes_a_batch(tmp_path, beta):
  # Equal rewards still anchor to a reference where the loss has one.
  context = small_run.make_context(
    tmp_path, loss__method='grpo', loss__grpo_beta=beta
  )
  groups = [small_run.make_group(0, (1, 1), (4, 6))]
  assert len(updates.make_batches(context, groups, 0)) == (beta > 0)


@pytest.mark.parametrize('loss_segments', ['all', 'last', 'last:2'])
def test_advantages_in_the_loss_add_up_to_0(tmp_path, loss_segments):
  """Three short right ones of iteration 0, and a long wrong one of 0 and 1.

  Rewards 1, 1, 1, 0 have the mean 0.75: advantages 0.25 thrice and -0.75.
  """
  context = small_run.make_context(
    tmp_path, rl__group_size=4, rl__loss_segments=loss_segments
  )
  short = small_run.make_group(0, (1, 1, 1, 0), (4, 4, 4, 4))
  long = small_run.make_group(0, (1, 1, 1, 0), (8, 8, 8, 8), versions=(0, 1))
  responses = (*short.trajectories[:3], long.trajectories[3])
  group = dataclasses.replace(short, trajectories=responses)
  (batch,) = updates.make_batches(context, [group], 1)
  in_loss = batch.pg_weight > 0
  assert sorted(batch.advantage[in_loss]) == [-0.75, 0.25, 0.25, 0.25]
  # The long one's last segment has 4 of its 8 tokens.
  assert batch.loss_mask.sum() == 12 + (4 if loss_segments == 'last' else 8)
  assert batch.current_mask.sum() == 4


def _arrived(group, earlier, now):
  """The group as it leaves the buffer: by sample indices."""
  members = group.trajectories
  earlier, now = (tuple(members[i] for i in part) for part in (earlier, now))
  return dataclasses.replace(group, trajectories=now, earlier=earlier)


def test_baselines_in_order_of_arrival_by_hand(tmp_path):
  changes = dict(rl__waits_for_group=False, rl__group_size=4)
  context = small_run.make_context(tmp_path, **changes)
  group = small_run.make_group(0, (1.0, 0.0, 1.0, 1.0), (4, 6, 8, 10))
  # Means of 1; 1, 0; 1, 0, 1, 1.
  for earlier, now, expected in (
    ((), (0,), [0.0]),
    ((0,), (1,), [-0.5]),
    ((0, 1), (2, 3), [0.25, 0.25]),
    ((), (0, 1, 2, 3), [0.25, -0.75, 0.25, 0.25]),
  ):
    arrived = _arrived(group, earlier, now)
    (batch,) = updates.make_batches(context, [arrived], 0)
    assert (batch.pg_weight > 0).sum() == len(now)
    for trajectory, advantage in zip(
      arrived.trajectories, expected, strict=True
    ):
      row, start = _find(batch, trajectory.tokens)
      place = batch.segment_ids[row, start] - 1
      assert batch.advantage[row, place] == advantage
  # The length reward, too, is of lengths known so far: 4 to 6, of all 4 to 10.
  context.config.length_reward.weight = 1.0
  (batch,) = updates.make_batches(context, [_arrived(group, (0,), (1,))], 0)
  # 1 + 0.5 and 0 - 0.5: the mean is 0.5.
  assert batch.advantage[batch.pg_weight > 0] == [-1.0]


def test_arrivals_fill_minibatches_by_responses(tmp_path):
  changes = dict(rl__waits_for_group=False, rl__group_size=4)
  context = small_run.make_context(tmp_path, **changes)
  whole = [
    small_run.make_group(i, (1, 0, 0, 1), (4, 6, 2, 8)) for i in range(9)
  ]
  groups = [_arrived(group, (0, 1, 2), (3,)) for group in whole]
  # 4 problems of 4 make 2 updates of 8 responses; 9 of as many groups make 2.
  batches = updates.make_batches(context, groups, 0)
  assert sorted(int((b.pg_weight > 0).sum()) for b in batches) == [4, 5]
  assert {b.tokens.shape for b in batches} == {
    minibatches.batch_shape(context.config, context.layout)[:2]
  }
  # Whole groups at once fit in as well, and those of one share their prompt.
  batches = updates.make_batches(context, whole, 0)
  assert sum(int((b.pg_weight > 0).sum()) for b in batches) == 36
  assert len(batches) == 5


def test_groups_that_leave_do_not_rescale_the_others(tmp_path):
  # 10 tokens of the first group and 10 of the second: 1 / 20, there or not.
  groups = [
    small_run.make_group(0, (1.0, 0.0), (4, 6)),
    small_run.make_group(1, (1.0, 1.0), (4, 6)),
  ]
  for keep in (True, False):
    context = small_run.make_context(
      tmp_path,
      loss__pg_norm='token_mean',
      loss__keep_zero_variance_groups=keep,
    )
    (batch,) = updates.make_batches(context, groups, 0)
    weights = batch.pg_weight[batch.pg_weight > 0]
    np.testing.assert_allclose(weights, [1 / 20] * (4 if keep else 2))


def test_a_group_left_out_is_in_no_batch(tmp_path):
  context = small_run.make_context(
    tmp_path, loss__keep_zero_variance_groups=False
  )
  groups = [
    small_run.make_group(0, (1.0, 0.0), (4, 6)),
    small_run.make_group(1, (1.0, 1.0), (4, 6)),
  ]
  (batch,) = updates.make_batches(context, groups, 0)
  assert batch.loss_mask.sum() == 10
  # Left out, but counted in N: 1 / (4 responses * 16 tokens).
  weights = batch.pg_weight[batch.pg_weight > 0]
  np.testing.assert_allclose(weights, [1 / 64] * 2)


def test_loss_of_the_last_segments_is_that_of_the_suffix(tmp_path):
  context = small_run.make_context(tmp_path, rl__loss_segments='last')
  group = small_run.make_group(0, (1.0, 0.0), (4, 6), versions=(0, 1))
  (batch,) = updates.make_batches(context, [group], 1)
  # What iteration 0 wrote moves into the prompt.
  prompt = len(context.task.encode_prompt(group.problem.prompt))
  loss = methods.make_loss(context.config)
  logprobs = jax.random.normal(jax.random.key(0), batch.tokens.shape)
  value, values = loss(logprobs, batch)
  assert values['tokens'] == 2 + 3
  by_hand = 0.0
  for trajectory, advantage in zip(
    group.trajectories, (0.5, -0.5), strict=True
  ):
    half = trajectory.length // 2
    row, start = _find(batch, trajectory.tokens)
    suffix = slice(start + half, start + 2 * half)
    log_pi = float(logprobs[row, suffix].sum())
    weight = 1 / (2 * 16)  # two responses, max_length 16
    by_hand += weight * (-advantage * log_pi + 0.1 / 2 * log_pi**2)
    assert start % 32 >= prompt
  assert float(value) == pytest.approx(by_hand, rel=1e-5)


def _find(batch, tokens):
  """Row and first column of a response in a batch."""
  for row, values in enumerate(np.asarray(batch.tokens)):
    for start in range(len(values) - len(tokens) + 1):
      if (values[start : start + len(tokens)] == tokens).all():
        return row, start
  raise AssertionError('not in the batch')


def test_tokens_know_who_sampled_them(tmp_path):
  context = small_run.make_context(tmp_path)
  group = small_run.make_group(0, (1.0, 0.0), (4, 6), versions=(0, 1))
  (batch,) = updates.make_batches(context, [group], 1)
  assert batch.loss_mask.sum() == 4 + 6
  assert batch.current_mask.sum() == 2 + 3
  for trajectory in group.trajectories:
    row, start = _find(batch, trajectory.tokens)
    half = start + trajectory.length // 2
    assert not batch.current_mask[row, start:half].any()


@pytest.mark.parametrize(
  ('changes', 'expected'),
  [
    # 2 groups of 2 responses, in rows of 16 + 16 tokens.
    (dict(rl__row_responses=0), (4, 32, 4)),
    # Two of a group may share a prompt, which is a sequence too.
    (dict(rl__row_responses=1), (4, 32, 6)),
    # A row a group: 15 of the prompt, and twice its last token and 16.
    (dict(rl__row_responses=2), (2, 49, 6)),
    (dict(rl__row_responses=9), (2, 49, 6)),
    (dict(rl__row_responses=2, policy__attention='splash'), (4, 32, 4)),
  ],
  ids=str,
)
def test_room_for_responses_that_share_a_prompt(tmp_path, changes, expected):
  context = small_run.make_context(tmp_path, **changes)
  assert minibatches.batch_shape(context.config, context.layout) == expected
  groups = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(4)]
  for batch in updates.make_batches(context, groups, 0):
    assert (*batch.tokens.shape, batch.advantage.shape[1]) == expected
    assert (batch.prompt_ids is None) == (expected[2] == 4)


@pytest.mark.parametrize(
  'changes',
  [
    dict(),
    dict(rl__loss_segments='last'),
    dict(loss__pg_norm='token_mean', loss__reg_norm='seq_mean'),
    dict(loss__method='grpo', loss__grpo_ratio='sequence'),
    dict(loss__method='grpo', loss__grpo_ratio='sequence_mean'),
    dict(loss__method='token_clip', loss__pg_norm='token_mean'),
    dict(
      loss__rollout_correction='mask',
      loss__rollout_correction_level='sequence',
    ),
    dict(loss__rollout_correction='truncate'),
    dict(loss__gamma=0.9),
  ],
  ids=str,
)
def test_a_shared_prompt_changes_no_loss(tmp_path, changes):
  """Log-probabilities are made of tokens and positions, which stay the same."""
  changes = dict(rl__group_size=4, rl__updates_per_iteration=1) | changes
  results = []
  for row_responses in (0, 1, 3, 4):
    context = small_run.make_context(
      tmp_path, rl__row_responses=row_responses, **changes
    )
    groups = [
      small_run.make_group(i, (1, 0, 0, 1), (4, 6, 2, 8), versions=(0, 1))
      for i in range(3)
    ]
    (batch,) = updates.make_batches(context, groups, 1)
    batch = batch.replace(
      ref_logprobs=-0.02 * batch.tokens * batch.loss_mask,
      behavior_logprobs=-0.021 * batch.tokens * batch.loss_mask,
    )
    logprobs = -0.02 * batch.tokens - 0.01 * batch.positions
    loss = methods.make_loss(context.config)
    results.append((loss(logprobs, batch), int(batch.num_rows)))
  (expected, _), *_ = results
  assert abs(float(expected[0])) > 1e-4
  for (value, metrics), _ in results:
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    for name in expected[1]:
      np.testing.assert_allclose(
        metrics[name], expected[1][name], rtol=1e-5, atol=1e-6, err_msg=name
      )
  # Whole groups in rows of 15 + 4 * 17 tokens are fewest.
  assert results[3][1] < results[0][1]


def _gradient(context, batch, **loss):
  """Of the configured loss, by log-probability: float32 [B, T]."""
  context.config.loss.update(loss)
  rows = jax.tree.map(jnp.asarray, batch)
  logprobs = jax.random.normal(jax.random.key(0), batch.tokens.shape) - 3
  loss_of = methods.make_loss(context.config)
  return jax.grad(lambda x: loss_of(x, rows)[0])(logprobs)


@pytest.mark.parametrize('method', ['reinforce', 'grpo'])
def test_gamma_weighs_tokens_by_how_many_follow(tmp_path, method):
  context = small_run.make_context(tmp_path, loss__rollout_correction_cap=5.0)
  group = small_run.make_group(0, (1.0, 0.0), (4, 6))
  (batch,) = updates.make_batches(context, [group], 0)
  # What sampled was e times less likely: the weight of every token.
  batch = batch.replace(behavior_logprobs=-batch.loss_mask)
  changes = dict(method=method, grpo_clip=1e9, grpo_beta=0.0)
  plain = _gradient(context, batch, **changes)
  decayed = _gradient(context, batch, gamma=0.5, **changes)
  both = _gradient(context, batch, rollout_correction='truncate')
  for tokens in (t.tokens for t in group.trajectories):
    row, start = _find(batch, tokens)
    own = row, slice(start, start + len(tokens))
    expected = 0.5 ** np.arange(len(tokens))[::-1] * plain[own]
    np.testing.assert_allclose(decayed[own], expected, rtol=1e-6)
    np.testing.assert_allclose(both[own], np.e * expected, rtol=1e-6)


def test_a_gamma_of_1_is_the_program_without_it(tmp_path):
  context = small_run.make_context(tmp_path)
  group = small_run.make_group(0, (1.0, 0.0), (4, 6))
  (batch,) = updates.make_batches(context, [group], 0)
  programs = []
  for gamma in (1.0, 0.5):
    context.config.loss.gamma = gamma
    loss = methods.make_loss(context.config)
    programs.append(str(jax.make_jaxpr(loss)(batch.ref_logprobs, batch)))
  assert 'cummin' in programs[1] and 'cummin' not in programs[0]
