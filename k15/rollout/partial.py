"""One rollout phase with partial rollouts: Kimi k1.5, section 2.6.2.

Every response may grow by a fixed token budget per iteration.  What is not
finished by then keeps its segments and is continued, by prefilling it under
the new weights, in the next iteration.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from k15.data_types import Problem, Segment, StopReason, Trajectory
from k15.rollout import client
from k15.rollout import engine


def run(
  rollout,
  pending: Sequence[tuple[Problem, Trajectory]],
  encode: Callable[[str], np.ndarray],
  token_budget: int,
  max_length: int,
  temperature: float,
) -> Iterator[Trajectory]:
  """Grows every pending response by one segment.

  Args:
    rollout: `LocalRollout`, or whatever has its methods.
    pending: responses to start or continue, in this order.
    encode: problem text -> int32 prompt tokens.
    token_budget: tokens a response may grow in this iteration.
    max_length: tokens of a whole response.
    temperature: of the sampling.

  Yields:
    The responses with one more segment, as they stop.  Their `stop` says why;
    BUDGET ones are to be continued.
  """
  requests, trajectories = [], {}
  for problem, trajectory in pending:
    left = max_length - trajectory.length
    requests.append(
      client.Request(
        group_id=trajectory.group_id,
        sample_index=trajectory.sample_index,
        prompt=encode(problem.prompt),
        response=trajectory.tokens,
        budget=min(token_budget, left),
        temperature=temperature,
      )
    )
    key = (trajectory.group_id, trajectory.sample_index)
    trajectories[key] = trajectory
  for completion in rollout.generate(requests):
    key = (completion.request.group_id, completion.request.sample_index)
    yield _extend(trajectories[key], completion, max_length)


def _extend(
  trajectory: Trajectory, completion: client.Completion, max_length: int
) -> Trajectory:
  """Appends the new segment and says why it stopped."""
  segment = Segment(
    tokens=completion.tokens,
    behavior_logprobs=completion.logprobs,
    policy_version=completion.policy_version,
  )
  stop = {
    engine.ENDED: StopReason.EOS,
    engine.REPEATED: StopReason.REPETITION,
    engine.EXHAUSTED: StopReason.BUDGET,
  }[completion.stop]
  length = trajectory.length + len(segment.tokens)
  if stop is StopReason.BUDGET and length >= max_length:
    stop = StopReason.MAX_LENGTH
  return dataclasses.replace(
    trajectory, segments=(*trajectory.segments, segment), stop=stop
  )
