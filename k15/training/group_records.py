"""Groups of responses as arrays of a checkpoint, and back, bit for bit."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from k15.data import problem_records
from k15.data_types import Group, Segment, StopReason, Trajectory


def pack(
  groups: Sequence[Group],
  remembered: Sequence[tuple[int, Group]],
  facts: dict[str, Any],
) -> dict[str, np.ndarray]:
  """Four numpy arrays.

  `tokens` int32 and `behavior_logprobs` float32 hold all segments end to end
  and one unused 0, as Orbax refuses arrays of size zero; `offsets` int64 says
  where each segment starts; `index`, JSON in uint8, the rest.

  Args:
    groups: those that wait.
    remembered: others, each with the iteration since when it is kept.
    facts: values that JSON can hold, beside them.
  """
  whole = [*groups, *(group for _, group in remembered)]
  segments = [s for g in whole for t in g.trajectories for s in t.segments]
  tokens = [segment.tokens for segment in segments]
  logprobs = [segment.behavior_logprobs for segment in segments]
  index = facts | {
    'groups': [_index(group) for group in groups],
    'remembered': [[int(since), _index(group)] for since, group in remembered],
  }
  return {
    'tokens': np.concatenate([*tokens, np.zeros(1, np.int32)]),
    'behavior_logprobs': np.concatenate([*logprobs, np.zeros(1, np.float32)]),
    'offsets': np.cumsum([0, *map(len, tokens)], dtype=np.int64),
    'index': np.frombuffer(json.dumps(index).encode(), np.uint8).copy(),
  }


def unpack(
  state: dict[str, np.ndarray],
) -> tuple[list[Group], list[tuple[int, Group]], dict[str, Any]]:
  """What `pack` was given."""
  tokens = np.array(state['tokens'])
  logprobs = np.array(state['behavior_logprobs'])
  pieces = (
    (tokens[start:end], logprobs[start:end])
    for start, end in itertools.pairwise(state['offsets'])
  )
  index = json.loads(np.asarray(state['index'], np.uint8).tobytes())
  groups = [_from_index(entry, pieces) for entry in index['groups']]
  remembered = [
    (since, _from_index(entry, pieces))
    for since, entry in index.get('remembered', [])
  ]
  return groups, remembered, index


def _index(group):
  return {
    'group_id': group.group_id,
    'problem': problem_records.to_record(group.problem),
    'opened_at': int(group.opened_at),
    'trajectories': [
      {
        'versions': [int(segment.policy_version) for segment in t.segments],
        'stop': t.stop and t.stop.value,
        'reward': t.reward if t.reward is None else float(t.reward),
        'parts': {name: float(value) for name, value in t.parts.items()},
      }
      for t in group.trajectories
    ],
  }


def _from_index(entry, pieces):
  """Rebuilds a group; `pieces` yields (tokens, logprobs) of its segments."""
  group_id = entry['group_id']
  problem = problem_records.from_record(entry['problem'])
  trajectories = tuple(
    Trajectory(
      group_id,
      problem.id,
      sample_index,
      tuple(Segment(*next(pieces), version) for version in t['versions']),
      t['stop'] and StopReason(t['stop']),
      t['reward'],
      # Before there were parts, a reward was the accuracy.
      t.get('parts', {}),
    )
    for sample_index, t in enumerate(entry['trajectories'])
  )
  return Group(group_id, problem, trajectories, entry['opened_at'])
