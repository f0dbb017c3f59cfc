"""What a response has earned in all: its reward, its length, what it pays."""

from typing import Any

import numpy as np

from k15.config import routes
from k15.data_types import Group, StopReason
from k15.equations import advantages
from k15.equations import toggle


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
