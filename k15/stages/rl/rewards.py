"""What a response has earned in all: its reward, its length, what it pays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from k15.config import routes
from k15.data_types import Group, StopReason
from k15.devices import hosts
from k15.equations import advantages
from k15.equations import toggle
from k15.rewards import scoring
from k15.rewards.verdict import Verdict


def total_rewards(
  config: Any,
  groups: list[Group],
  is_correct_P_K: np.ndarray,
  iteration: int,
  budgets_P: np.ndarray | None = None,
) -> np.ndarray:
  """Raw reward, length reward and penalties, float64 [P, K].

  Args:
    budgets_P: tokens, of Toggle; None: without it.
  """
  rewards = np.array([[t.reward for t in g.trajectories] for g in groups])
  lengths = np.array([[t.length for t in g.trajectories] for g in groups])
  c = config.length_reward
  if budgets_P is not None:
    rewards = toggle.rewards(
      rewards,
      is_correct_P_K,
      lengths,
      budgets_P,
      c.toggle_accuracy,
      toggle.is_limited(iteration, c.toggle_iterations),
    )
  weight = advantages.length_weight(iteration, c.weight, c.start_iteration)
  shaped = advantages.total_rewards(rewards, is_correct_P_K, lengths, weight)
  r = config.rl
  penalties = dict.fromkeys(StopReason, 0.0)
  penalties[StopReason.REPETITION] = r.repetition_penalty
  if r.overlong_tokens:
    longest = _longest(config, groups)
    over = advantages.overlong_shares(lengths, longest, r.overlong_tokens)
    shaped = shaped - r.overlong_penalty * over
  else:
    penalties[StopReason.MAX_LENGTH] = r.overlong_penalty
  return shaped - np.array(
    [[penalties[t.stop] for t in g.trajectories] for g in groups]
  )


def _longest(config, groups):
  """Tokens that a response to each group's problem may have."""
  r = config.rollout
  found = routes.lengths_of(r.domain_max_lengths)
  domains = [group.problem.domain for group in groups]
  return [min(r.max_length, found.get(d, r.max_length)) for d in domains]


def earned(
  verdicts: Sequence[Verdict],
) -> tuple[list[float], list[dict[str, float]]]:
  """Rewards and their parts, those of the first process in all of them."""
  table = np.full((len(verdicts), 1 + len(routes.PARTS)), np.nan)
  for row, verdict in zip(table, verdicts, strict=True):
    own = scoring.parts_of(verdict)
    row[0] = scoring.reward_of(verdict)
    # A part that the reward does not have is no number.
    row[1:] = [own.get(name, np.nan) for name in routes.PARTS]
  if verdicts:
    table = hosts.of_first(table)
  parts = [
    {
      name: float(value)
      for name, value in zip(routes.PARTS, row[1:], strict=True)
      if not np.isnan(value)
    }
    for row in table
  ]
  return table[:, 0].tolist(), parts
