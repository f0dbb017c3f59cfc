"""Evaluations between two iterations."""

from k15.stages import held_out
from k15.stages.rl import rounds
from k15.stages.rl.stage import Stage


def evaluate(stage: Stage, version: int) -> dict[str, float]:
  """Held-out accuracy and length of the policy before iteration `version`."""
  if stage.ahead:  # Of other weights, and counted with its own iteration.
    stage.ahead.wait()
    rounds.count(stage, stage.ahead)
  stage.hand_over(version, label=0)
  config, e = stage.context.config, stage.context.config.evaluation
  every = max(1, e.every)
  left = config.rl.iterations // every - version // every
  with stage.timer('evaluation'):
    values = held_out.on_the_way(
      stage.context, stage.rollout, is_last=left < e.last_evaluations
    )
  stage.rollout.pop_stats()
  stage.context.scorer.pop_numbers()
  return {f'evaluation/{k}': v for k, v in values.items()}
