"""Long2short by merging weights: Kimi k1.5, section 2.4, Fig. 7 'w/ merge'.

    python -m k15.main --config=experiments/long2short/merge.py \\
        --config.checkpoint=runs/seed0/models/rl --workdir=runs/seed0_merge \\
        --config.long2short.short_model=runs/seed0_short/models/shortest

The mean of a long-CoT and a short-CoT model, without training.  Expected: fewer
tokens than the long one, accuracy between the two.  Seconds on two cores.
"""

from experiments import arithmetic


def get_config():
  config = arithmetic.get_config()
  config.stages = ('merge',)
  config.evaluation.samples = 4
  return config
