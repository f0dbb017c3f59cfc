"""Shortest rejection sampling: Kimi k1.5, section 2.4, Fig. 7 'w/ ... rs'.

    python -m k15.main --config=experiments/long2short/shortest.py \\
        --config.checkpoint=runs/seed0/models/rl --workdir=runs/seed0_shortest

Eight responses to each of 1,024 problems; SFT on the shortest correct ones.
Expected: fewer tokens, about the same accuracy.  Three minutes on two cores,
most of them for the responses.
"""

from experiments import arithmetic


def get_config():
  config = arithmetic.get_config()
  config.stages = ('shortest',)
  config.shortest.steps = 100
  config.shortest.learning_rate = 5e-4
  config.shortest.batch_tokens = 2048
  config.evaluation.samples = 4
  return config
