import dataclasses
import json

import numpy as np
import pytest

from k15.data_types import ImageRef, Problem, Segment, StopReason
from k15.training import replay

PROBLEMS = [
  Problem('a', '1 + 1 =', '2', 'add'),
  Problem('b', 'où est 重?', 'ici', '', 1 / 3),
]


def segment(tokens, version=0):
  tokens = np.array(tokens, np.int32)
  return Segment(tokens, -0.1 * tokens.astype(np.float32), version)


def grown(trajectory, tokens, version=0, stop=StopReason.EOS):
  segments = (*trajectory.segments, segment(tokens, version))
  return dataclasses.replace(trajectory, segments=segments, stop=stop)


def pending(buffer):
  return [trajectory for _, trajectory in buffer.pending()]


def names(trajectories):
  return [(t.group_id, t.sample_index) for t in trajectories]


def finish(buffer, trajectories, reward=1.0):
  trajectories = [grown(t, [1, 2], version=5) for t in trajectories]
  buffer.update(trajectories)
  buffer.set_rewards(trajectories, [reward] * len(trajectories))


def example():
  """Two groups from iteration 0; one response finished, one cut."""
  buffer = replay.ReplayBuffer()
  buffer.open(PROBLEMS, iteration=0, group_size=2)
  first, second, third, _ = pending(buffer)
  buffer.update(
    [
      grown(first, [1, 2, 3]),
      grown(second, [4], stop=StopReason.BUDGET),
      grown(third, [5, 6], stop=StopReason.BUDGET),
    ]
  )
  buffer.set_rewards([first], [0.1], [{'accuracy': 0.0, 'format': 0.1}])
  return buffer


def test_open_makes_groups_of_empty_responses():
  buffer = replay.ReplayBuffer()
  buffer.open(PROBLEMS, iteration=3, group_size=2)
  buffer.open(PROBLEMS[:1], iteration=4, group_size=1)
  assert [group.group_id for group in buffer.groups] == [0, 1, 2]
  assert [group.opened_at for group in buffer.groups] == [3, 3, 4]
  assert names(pending(buffer)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
  assert [problem.id for problem, _ in buffer.pending()] == list('aabba')
  assert all(t.length == 0 and t.stop is None for t in pending(buffer))
  buffer.check_valid()


def test_pending_is_oldest_first_then_longest():
  buffer = example()
  buffer.open(PROBLEMS[:1], iteration=1, group_size=1)
  young = pending(buffer)[-1]
  buffer.update([grown(young, range(9), 1, StopReason.BUDGET)])
  # Of iteration 0: 2, 1 and 0 tokens; of iteration 1: 9.
  assert names(pending(buffer)) == [(1, 0), (0, 1), (1, 1), (2, 0)]


def test_a_group_is_popped_once_when_all_its_responses_are_done():
  buffer = example()
  assert buffer.pop_complete() == []
  finish(buffer, [t for t in pending(buffer) if t.group_id == 0], reward=0.0)
  (group,) = buffer.pop_complete()
  assert [t.reward for t in group.trajectories] == [0.1, 0.0]
  np.testing.assert_array_equal(group.trajectories[1].tokens, [4, 1, 2])
  assert buffer.pop_complete() == []
  assert names(pending(buffer)) == [(1, 0), (1, 1)]
  with pytest.raises(ValueError, match='unknown'):
    buffer.update([grown(group.trajectories[0], [1])])
  # Group ids are never used again.
  buffer.open(PROBLEMS[:1], iteration=1, group_size=1)
  assert [group.group_id for group in buffer.groups] == [1, 2]


def test_groups_are_popped_in_order_of_group_id():
  buffer = replay.ReplayBuffer()
  buffer.open(PROBLEMS * 2, iteration=0, group_size=1)
  for trajectory in reversed(pending(buffer)):
    finish(buffer, [trajectory])
  assert [group.group_id for group in buffer.pop_complete()] == [0, 1, 2, 3]
  buffer.check_valid()


def test_each_response_is_popped_once_as_it_arrives():
  buffer = example()
  (group,) = buffer.pop_arrived()
  assert names(group.trajectories) == [(0, 0)] and group.earlier == ()
  assert buffer.pop_arrived() == []
  # The others of the group have it as their sibling, after a resume too.
  resumed = replay.ReplayBuffer()
  resumed.set_state(buffer.get_state())
  for other in (buffer.copy(), resumed, buffer):
    finish(other, [t for t in pending(other) if t.length == 2], reward=0.5)
    (group,) = other.pop_arrived()
    assert names(group.trajectories) == [(1, 0)] and group.earlier == ()
    finish(other, pending(other), reward=0.0)
    first, second = other.pop_arrived()
    assert names(first.known) == [(0, 0), (0, 1)]
    assert names(second.known) == [(1, 0), (1, 1)]
    assert names(second.trajectories) == [(1, 1)]
    assert [t.reward for t in second.earlier] == [0.5]
    assert other.groups == other.pop_arrived() == []
    other.check_valid()


def test_arrivals_are_known_in_the_order_in_which_they_came():
  buffer = replay.ReplayBuffer()
  buffer.open(PROBLEMS[:1], iteration=0, group_size=4)
  for index in (2, 0, 3):
    (chosen,) = [t for t in pending(buffer) if t.sample_index == index]
    finish(buffer, [chosen], reward=float(index))
    (group,) = buffer.pop_arrived()
  assert [t.reward for t in group.known] == [2, 0, 3]
  # One that never ends is closed by its age, and its group goes.
  (closed,) = buffer.expire(iteration=4, max_age=3)
  with pytest.raises(ValueError, match='no reward'):
    buffer.pop_arrived()
  buffer.set_rewards([closed], [0.0])
  (group,) = buffer.pop_arrived()
  assert names(group.known) == [(0, 2), (0, 0), (0, 3), (0, 1)]
  assert group.trajectories[0].stop is StopReason.AGE
  assert buffer.groups == []


def test_responses_are_scored_before_they_leave():
  buffer = replay.ReplayBuffer()
  buffer.open(PROBLEMS[:1], iteration=0, group_size=1)
  (trajectory,) = pending(buffer)
  with pytest.raises(ValueError, match='unfinished'):
    buffer.set_rewards([trajectory], [1.0])
  buffer.update([grown(trajectory, [1])])
  ((problem, finished),) = buffer.unscored()
  assert problem == PROBLEMS[0]
  with pytest.raises(ValueError, match='no reward'):
    buffer.pop_complete()
  with pytest.raises(ValueError, match='nan'):
    buffer.set_rewards([finished], [float('nan')])
  buffer.set_rewards([finished], [1])
  assert buffer.unscored() == []
  with pytest.raises(ValueError, match=r'already has the reward 1\.0'):
    buffer.set_rewards([finished], [0.0])
  assert len(buffer.pop_complete()) == 1


def test_update_refuses_what_does_not_fit():
  buffer = example()
  stored = pending(buffer)[1]  # (0, 1), one token
  finished = buffer.groups[0].trajectories[0]
  other_version = dataclasses.replace(stored, segments=(segment([4], 1),))
  for wrong, message in (
    (dataclasses.replace(stored, group_id=7), 'unknown'),
    (dataclasses.replace(stored, sample_index=2), 'unknown'),
    (dataclasses.replace(stored, problem_id='b'), 'unknown'),
    (grown(finished, [9]), 'already finished'),
    (dataclasses.replace(stored, segments=()), '0 tokens do not extend the 1'),
    (
      dataclasses.replace(stored, segments=(segment([8, 9]),)),
      '2 tokens do not extend the 1',
    ),
    (other_version, 'do not extend'),
    (dataclasses.replace(stored, reward=1.0), 'reward 1.0'),
    (grown(stored, [1], version=-1), r'versions \[0, -1\]'),
  ):
    with pytest.raises(ValueError, match=message):
      buffer.update([wrong])
  short = Segment(np.zeros(2, np.int32), np.zeros(1, np.float32), 0)
  wide = Segment(np.zeros(2, np.int64), np.zeros(2, np.float32), 0)
  never = Segment(np.zeros(1, np.int32), np.full(1, -np.inf, np.float32), 0)
  for bad, message in (
    (short, r'\(2,\), \(1,\)'),
    (wide, 'int64'),
    (never, 'not finite'),
  ):
    segments = (*stored.segments, bad)
    with pytest.raises(ValueError, match=message):
      buffer.update([dataclasses.replace(stored, segments=segments)])


def test_a_refused_update_changes_nothing():
  buffer = example()
  before = buffer.get_state()
  good = grown(pending(buffer)[0], [1])
  bad = grown(buffer.groups[0].trajectories[0], [1])
  for batch in ([good, bad], [good, good]):
    with pytest.raises(ValueError):
      buffer.update(batch)
  after = buffer.get_state()
  for key in before:
    np.testing.assert_array_equal(before[key], after[key])


def test_expire_finishes_old_responses_with_what_they_have():
  buffer = example()
  buffer.open(PROBLEMS[:1], iteration=3, group_size=1)
  assert buffer.expire(iteration=8, max_age=8) == []
  expired = buffer.expire(iteration=9, max_age=8)
  assert names(expired) == [(0, 1), (1, 0), (1, 1)]
  assert [t.length for t in expired] == [1, 2, 0]
  assert {t.stop for t in expired} == {StopReason.AGE}
  assert names(pending(buffer)) == [(2, 0)]
  # They go the way of all finished responses.
  unscored = [trajectory for _, trajectory in buffer.unscored()]
  assert names(unscored) == names(expired)
  buffer.set_rewards(unscored, [0.0, 0.0, 0.0])
  assert [group.group_id for group in buffer.pop_complete()] == [0, 1]


def test_state_round_trip_is_exact():
  buffer = example()
  cut = pending(buffer)[0]
  buffer.update([grown(cut, [7, 8], 2, StopReason.REPETITION)])
  restored = replay.ReplayBuffer()
  restored.set_state({k: v.copy() for k, v in buffer.get_state().items()})
  for left, right in zip(buffer.groups, restored.groups, strict=True):
    assert (left.group_id, left.problem) == (right.group_id, right.problem)
    assert left.opened_at == right.opened_at
    for a, b in zip(left.trajectories, right.trajectories, strict=True):
      assert (a.stop, a.reward, a.parts) == (b.stop, b.reward, b.parts)
      assert names([a]) == names([b])
      for x, y in zip(a.segments, b.segments, strict=True):
        assert x.policy_version == y.policy_version
        assert x.tokens.dtype == y.tokens.dtype
        assert x.tokens.tobytes() == y.tokens.tobytes()
        assert x.behavior_logprobs.tobytes() == y.behavior_logprobs.tobytes()
  restored.open(PROBLEMS[:1], iteration=1, group_size=1)
  assert restored.groups[-1].group_id == 2
  finish(restored, pending(restored))


def test_state_of_an_empty_buffer():
  state = replay.ReplayBuffer().get_state()
  # Some checkpoint formats refuse arrays of size zero.
  assert all(value.size for value in state.values())
  restored = replay.ReplayBuffer()
  restored.set_state(state)
  assert restored.groups == []
  assert restored.pending() == []


def test_a_broken_buffer_is_noticed():
  state = example().get_state()
  for key, value in (
    ('behavior_logprobs', np.full_like(state['behavior_logprobs'], np.nan)),
    ('tokens', state['tokens'].astype(np.int64)),
    ('tokens', state['tokens'][:3]),
    ('index', _replaced(state['index'], b'"next_group_id": 2', b'1')),
    ('index', _replaced(state['index'], b'"versions": [0]', b'[0, 0]')),
  ):
    with pytest.raises((ValueError, RuntimeError)):
      replay.ReplayBuffer().set_state(state | {key: value})


def _replaced(index, field, value):
  name = field.split(b':')[0] + b': '
  text = index.tobytes().replace(field, name + value)
  assert text != index.tobytes()
  return np.frombuffer(text, np.uint8)


def test_what_is_remembered_is_so_for_some_iterations():
  buffer = example()
  first, second = buffer.groups
  buffer.remember([first], 4, max_age=2)
  buffer.remember([second], 5, max_age=2)
  other = replay.ReplayBuffer()
  other.set_state(buffer.get_state())
  for each in (buffer, other, buffer.copy()):
    known = [g.group_id for g in each.remembered(6, 2)]
    assert known == [first.group_id, second.group_id]
    assert len(each.remembered(7, 2)) == 1
  copied = other.remembered(6, 2)[0]
  for old, new in zip(first.trajectories, copied.trajectories, strict=True):
    np.testing.assert_array_equal(old.tokens, new.tokens)
    assert (old.stop, old.reward) == (new.stop, new.reward)
  copy = buffer.copy()
  buffer.remember([], 6, max_age=2)  # Forgets those of iteration 4.
  assert len(buffer.remembered(6, 2)) == 1
  assert len(copy.remembered(6, 2)) == 2
  buffer.remember([first], 7, max_age=0)
  assert not buffer.remembered(7, 2)


def test_a_copy_stays_as_it_was():
  buffer = example()
  copy, before = buffer.copy(), buffer.get_state()
  buffer.open(PROBLEMS[:1], iteration=1, group_size=1)
  buffer.update([grown(pending(buffer)[0], [7], 2)])
  after = copy.get_state()
  for key in before:
    np.testing.assert_array_equal(before[key], after[key])
  # What never changes is there once.
  old, new = buffer.groups[1].trajectories[1], copy.groups[1].trajectories[1]
  assert old is new


def test_states_from_before_there_were_parts_are_read():
  state = example().get_state()
  index = json.loads(state['index'].tobytes())
  for group in index['groups']:
    for entry in group['trajectories']:
      del entry['parts']
  index = np.frombuffer(json.dumps(index).encode(), np.uint8)
  buffer = replay.ReplayBuffer()
  buffer.set_state(state | dict(index=index))
  first = buffer.groups[0].trajectories[0]
  assert (first.reward, first.parts, first.accuracy) == (0.1, {}, 0.1)


def test_pictures_are_restored_by_their_hashes(tmp_path):
  images = (ImageRef('d' * 64, 32, 48, 'scenes'),)
  seen = dataclasses.replace(PROBLEMS[0], id='seen', images=images)
  buffer = replay.ReplayBuffer()
  buffer.open([seen, *PROBLEMS], iteration=0, group_size=1)
  state = buffer.get_state()
  other = replay.ReplayBuffer()
  other.set_state(state)
  assert [group.problem for group in other.groups] == [seen, *PROBLEMS]
