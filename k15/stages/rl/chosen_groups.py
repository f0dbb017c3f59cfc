"""Which groups an iteration trains on, where that is not all it completes.

Groups whose rewards are all equal may leave, for others to be drawn in their
place; right responses of iterations before may come back; and problems may have
budgets of tokens.  Each is off by default, and then this page does nothing.
"""

import numpy as np

from k15.data_types import Group
from k15.equations import advantages
from k15.equations import correctness
from k15.equations import toggle
from k15.stages.rl import rewards as rewards_lib
from k15.stages.rl.stage import Stage


def teaching(stage: Stage, groups: list[Group], iteration: int) -> list[Group]:
  """All groups or, where others are drawn for the rest, those that teach."""
  if not stage.context.config.rl.refill_rounds:
    return groups
  return _with_differences(stage, groups, iteration)


def replayed(stage: Stage, iteration: int) -> list[Group]:
  """Groups of the `rl.positive_replay` iterations before, to learn from again.

  Kimi-Dev (arXiv 2509.23045) brings positive examples of recent iterations back
  late in its training; how many, and when, is not published.
  """
  r = stage.context.config.rl
  if iteration < r.positive_replay_start:
    return []
  return stage.buffer.remembered(iteration, r.positive_replay)


def remember(stage: Stage, groups: list[Group], iteration: int) -> None:
  """Keeps what later iterations may learn from: groups with right responses."""
  age = stage.context.config.rl.positive_replay
  right = [g for g in groups if any(map(correctness.is_right, g.trajectories))]
  kept = _with_differences(stage, right, iteration) if age else []
  stage.buffer.remember(kept, iteration, age)


def fix_budgets(stage: Stage, groups: list[Group]) -> None:
  """Gives problems the budget of Toggle, by their first right responses."""
  c = stage.context.config.length_reward
  if not c.toggle_iterations or not groups:
    return
  lengths = [[t.length for t in g.trajectories] for g in groups]
  found = toggle.budgets(
    lengths, correctness.of_groups(groups), c.toggle_percentile
  )
  stage.sampler.fix_budgets(_indices(stage, groups), found)


def budgets(stage: Stage, groups: list[Group]) -> np.ndarray | None:
  """Budgets of the groups' problems, float64 [P]; None without Toggle."""
  if not stage.context.config.length_reward.toggle_iterations:
    return None
  return stage.sampler.budgets(_indices(stage, groups))


def _indices(stage, groups):
  return [stage.problem_index[group.problem.id] for group in groups]


def _with_differences(stage, groups, iteration):
  """Groups whose rewards differ: the others have advantages of 0 only."""
  if not groups:
    return []
  rewards = rewards_lib.total_rewards(
    stage.context.config,
    groups,
    correctness.of_groups(groups),
    iteration,
    budgets(stage, groups),
  )
  are_equal = advantages.are_equal(rewards)
  return [g for g, equal in zip(groups, are_equal, strict=True) if not equal]
