"""One rollout phase with partial rollouts: Kimi k1.5, section 2.6.2.

Every response may grow by a fixed token budget per iteration.  What is not
finished by then keeps its segments and is continued, by prefilling it under
the new weights, in the next iteration.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from k15.data_types import ImageRef, Problem, StopReason, Trajectory
from k15.rollout.journal import Phase
from k15.rollout.requests import Completion, Request, Rollout


def run(
  rollout: Rollout,
  pending: Sequence[tuple[Problem, Trajectory]],
  encode: Callable[[str, Sequence[ImageRef]], np.ndarray],
  token_budget: int,
  max_length: int,
  temperature: float,
  domain_max_lengths: Mapping[str, int] | None = None,
  phase: Phase | None = None,
) -> Iterator[Trajectory]:
  """Grows every pending response by at most `token_budget` tokens.

  Args:
    rollout: with weights.
    pending: responses to start or continue, in this order.
    encode: problem text and its pictures -> int32 prompt tokens.
    token_budget: tokens a response may grow in this iteration.
    max_length: tokens of a whole response.
    temperature: of the sampling.
    domain_max_lengths: tokens of a whole response, by domain, where that is
      less: the budgets by type of task of Kimi K2 (arXiv 2507.20534).
    phase: what is known of them already, and where the rest is kept; None:
      nothing, and nowhere.

  Yields:
    The responses with their new segments, as they stop: one each, unless the
    weights changed on the way.  Their `stop` says why; BUDGET ones are to be
    continued.
  """
  requests, trajectories, longest = [], {}, {}
  by_domain = domain_max_lengths or {}
  for problem, trajectory in pending:
    most = min(max_length, by_domain.get(problem.domain, max_length))
    left = most - trajectory.length
    requests.append(
      Request(
        group_id=trajectory.group_id,
        sample_index=trajectory.sample_index,
        prompt=encode(problem.prompt, problem.images),
        response=trajectory.tokens,
        budget=min(token_budget, left),
        temperature=temperature,
        images=problem.images,
      )
    )
    key = (trajectory.group_id, trajectory.sample_index)
    trajectories[key], longest[key] = trajectory, most
  kept = () if phase is None else (phase,)
  for completion in rollout.generate(requests, *kept):
    key = (completion.request.group_id, completion.request.sample_index)
    yield _extend(trajectories[key], completion, longest[key])


def _extend(
  trajectory: Trajectory, completion: Completion, max_length: int
) -> Trajectory:
  """Appends the new segments and says why it stopped."""
  stop = completion.stop.reason
  segments = (*trajectory.segments, *completion.segments)
  grown = dataclasses.replace(trajectory, segments=segments, stop=stop)
  if stop is StopReason.BUDGET and grown.length >= max_length:
    grown = dataclasses.replace(grown, stop=StopReason.MAX_LENGTH)
  return grown
