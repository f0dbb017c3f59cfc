"""The replay buffer: groups of responses until they are trained on.

Kimi k1.5, section 2.6: a response cut by the iteration's token budget waits
here and is resumed in the next iteration.  The baseline needs all responses
of a problem, so a group waits until its last one is finished and scored; or
each response leaves as it arrives, to be compared with those known so far.
Groups that were trained on may be remembered for a while, to be used again.
The life of a response, every step checked:

  open -> pending -> update (as often as it takes to finish) -> set_rewards
       -> pop_complete, together with its group, or pop_arrived
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from k15.data_types import Group, Problem, StopReason, Trajectory
from k15.training import group_records


class ReplayBuffer:
  """Owns the groups that are not trained on yet, by group id."""

  def __init__(self):
    self._groups: dict[int, Group] = {}
    self._next_group_id = 0
    self._remembered: list[tuple[int, Group]] = []
    # Sample indices that were handed over, of groups that stay for the others.
    self._arrived: dict[int, list[int]] = {}

  @property
  def groups(self) -> list[Group]:
    """All groups held, in order of group id."""
    return list(self._groups.values())

  def open(self, problems: list[Problem], iteration: int, group_size: int):
    """Starts one group of empty responses for each problem."""
    for problem in problems:
      group_id = self._next_group_id
      trajectories = tuple(
        Trajectory(group_id, problem.id, index) for index in range(group_size)
      )
      self._groups[group_id] = Group(group_id, problem, trajectories, iteration)
      self._next_group_id += 1

  def pending(self) -> list[tuple[Problem, Trajectory]]:
    """Unfinished responses: oldest draw first, then longest first."""
    pairs = [pair for pair in self._pairs() if not pair[1].is_finished]
    # The oldest groups have waited longest for their baseline.
    pairs.sort(key=lambda pair: (pair[0].opened_at, -pair[1].length))
    return [(group.problem, trajectory) for group, trajectory in pairs]

  def unscored(self) -> list[tuple[Problem, Trajectory]]:
    """Finished responses that wait for a reward."""
    return [
      (group.problem, trajectory)
      for group, trajectory in self._pairs()
      if trajectory.is_finished and trajectory.reward is None
    ]

  def update(self, trajectories: list[Trajectory]) -> None:
    """Replaces responses by grown ones; all of them or, on error, none.

    Raises:
      ValueError: for a response that is unknown, already finished, given
        twice or not valid, or whose segments do not extend those stored.
    """
    seen = set()
    for new in trajectories:
      old, name = self._find(new), _name(new)
      if old.is_finished:
        raise ValueError(f'{name} is already finished')
      if name in seen:
        raise ValueError(f'{name} comes twice in one update')
      seen.add(name)
      # By bytes: log-probabilities that were computed again are almost those
      # stored, and not what sampled the tokens.
      if _history(new)[: len(old.segments)] != _history(old):
        raise ValueError(
          f'{name}: {new.length} tokens do not extend the {old.length} stored'
        )
      _check_trajectory(new)
    # Only now, so that an error above leaves the buffer as it was.
    for new in trajectories:
      self._replace(new)

  def set_rewards(
    self,
    trajectories: Sequence[Trajectory],
    rewards: Sequence[float],
    parts: Sequence[Mapping[str, float]] | None = None,
  ) -> None:
    """Sets the raw rewards of finished responses, each once.

    Args:
      parts: what each is made of; None: the rewards are accuracies.

    Raises:
      ValueError: for a response that is unknown, unfinished or already
        scored, a reward that is not finite, or lengths that differ.
    """
    parts = parts or [{'accuracy': float(reward)} for reward in rewards]
    for trajectory, reward, own in zip(
      trajectories, rewards, parts, strict=True
    ):
      old, name = self._find(trajectory), _name(trajectory)
      if not old.is_finished:
        raise ValueError(f'{name} is unfinished and cannot be scored')
      if old.reward is not None:
        raise ValueError(f'{name} already has the reward {old.reward}')
      new = dataclasses.replace(old, reward=float(reward), parts=dict(own))
      _check_trajectory(new)
      self._replace(new)

  def pop_complete(self) -> list[Group]:
    """Hands over the complete groups, in order of group id, for good.

    Raises:
      ValueError: if one of their responses has no reward yet.
    """
    complete = [group for group in self.groups if group.is_complete]
    _check_scored(t for group in complete for t in group.trajectories)
    for group in complete:
      del self._groups[group.group_id]
    return complete

  def pop_arrived(self) -> list[Group]:
    """Hands over what has finished since the last call, each response once.

    Groups are of the new responses; `earlier` are those of calls before.  One
    leaves with its last response.  Raises as `pop_complete` does.
    """
    _check_scored(t for _, t in self._pairs() if t.is_finished)
    found = []
    for group in self.groups:
      members = group.trajectories
      before = self._arrived.get(group.group_id, [])
      ended = [t.sample_index for t in members if t.is_finished]
      new = [index for index in ended if index not in before]
      earlier, now = (tuple(members[i] for i in part) for part in (before, new))
      if now:
        found += [dataclasses.replace(group, trajectories=now, earlier=earlier)]
      self._arrived[group.group_id] = before + new
      if group.is_complete:
        del self._groups[group.group_id], self._arrived[group.group_id]
    return found

  def expire(self, iteration: int, max_age: int) -> list[Trajectory]:
    """Finishes, as they are, the responses of groups older than max_age.

    A group's age is iteration - opened_at.  The responses stop with AGE and
    are returned, to be scored like all that is finished; so one that never
    ends cannot hold up its group for ever, and nothing sampled is lost.
    """
    expired = [
      dataclasses.replace(trajectory, stop=StopReason.AGE)
      for group, trajectory in self._pairs()
      if iteration - group.opened_at > max_age and not trajectory.is_finished
    ]
    for trajectory in expired:
      self._replace(trajectory)
    return expired

  def remember(self, groups: list[Group], iteration: int, max_age: int) -> None:
    """Keeps complete groups for max_age iterations after this one."""
    known = [*self._remembered, *((iteration, group) for group in groups)]
    self._remembered = [
      (since, group) for since, group in known if iteration - since < max_age
    ]

  def remembered(self, iteration: int, max_age: int) -> list[Group]:
    """Groups kept at most max_age iterations before, the oldest first."""
    return [g for since, g in self._remembered if iteration - since <= max_age]

  def check_valid(self) -> None:
    """Raises a ValueError if the buffer contradicts itself."""
    for group_id, group in self._groups.items():
      if group_id != group.group_id or group_id >= self._next_group_id:
        raise ValueError(f'group {group.group_id} is stored as {group_id}')
      for index, trajectory in enumerate(group.trajectories):
        expected = group_id, group.problem.id, index
        if _name(trajectory) != expected:
          raise ValueError(f'{_name(trajectory)} is stored as {expected}')
        _check_trajectory(trajectory)
    for group_id, samples in self._arrived.items():
      _check_scored(self._groups[group_id].trajectories[i] for i in samples)

  def copy(self) -> 'ReplayBuffer':
    """A buffer that stays as this one is now; they share what never changes."""
    other = ReplayBuffer()
    other._groups = dict(self._groups)
    other._next_group_id = self._next_group_id
    other._remembered = list(self._remembered)
    other._arrived = dict(self._arrived)
    return other

  def get_state(self) -> dict[str, np.ndarray]:
    """Returns the whole buffer as numpy arrays, see `group_records`."""
    return group_records.pack(
      self.groups,
      self._remembered,
      dict(
        next_group_id=self._next_group_id, arrived=list(self._arrived.items())
      ),
    )

  def set_state(self, state: dict[str, np.ndarray]) -> None:
    """Replaces the contents by those of `get_state`, bit for bit."""
    groups, self._remembered, facts = group_records.unpack(state)
    self._groups = {group.group_id: group for group in groups}
    self._arrived = dict(facts.get('arrived', []))
    self._next_group_id = facts['next_group_id']
    self.check_valid()

  def _pairs(self):
    """All (group, response) pairs, in order of group id and sample index."""
    return [(group, t) for group in self.groups for t in group.trajectories]

  def _find(self, trajectory):
    """Returns the stored response of the same name."""
    if trajectory.group_id in self._groups:
      for old in self._groups[trajectory.group_id].trajectories:
        if _name(old) == _name(trajectory):
          return old
    raise ValueError(f'{_name(trajectory)} is unknown')

  def _replace(self, trajectory):
    group = self._groups[trajectory.group_id]
    trajectories = list(group.trajectories)
    trajectories[trajectory.sample_index] = trajectory
    self._groups[trajectory.group_id] = dataclasses.replace(
      group, trajectories=tuple(trajectories)
    )


def _name(trajectory):
  """What names a response: (group id, problem id, sample index)."""
  return trajectory.group_id, trajectory.problem_id, trajectory.sample_index


def _check_scored(trajectories):
  for trajectory in trajectories:
    if trajectory.reward is None:
      raise ValueError(f'{_name(trajectory)} has no reward')


def _history(trajectory):
  return [
    (s.policy_version, s.tokens.tobytes(), s.behavior_logprobs.tobytes())
    for s in trajectory.segments
  ]


def _check_trajectory(trajectory):
  name, reward = f'response {_name(trajectory)}', trajectory.reward
  numbers = [reward or 0.0, *trajectory.parts.values()]
  is_scorable = trajectory.is_finished and np.isfinite(numbers).all()
  if reward is not None and not is_scorable:
    raise ValueError(f'{name}: reward {reward}, stopped by {trajectory.stop}')
  versions = [segment.policy_version for segment in trajectory.segments]
  # Weights only get newer; which tokens are the last segment is told by this
  # order.
  if versions != sorted(versions):
    raise ValueError(f'{name}: policy versions {versions} are not in order')
  for segment in trajectory.segments:
    tokens, logprobs = segment.tokens, segment.behavior_logprobs
    if tokens.dtype != np.int32 or logprobs.dtype != np.float32:
      raise ValueError(f'{name}: dtypes {tokens.dtype}, {logprobs.dtype}')
    if tokens.ndim != 1 or tokens.shape != logprobs.shape:
      raise ValueError(f'{name}: shapes {tokens.shape}, {logprobs.shape}')
    if not np.isfinite(logprobs).all():
      raise ValueError(f'{name}: behavior_logprobs are not finite')
