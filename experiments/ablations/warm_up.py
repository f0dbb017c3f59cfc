"""The warm-ups and long models that the ablations at cpu scale begin with.

    python -m launch.local --config=experiments/ablations/warm_up.py:cpu \\
        --sweep --root=runs/reproduce/warm_up --parallel=2

SFT on chains of thought with good and bad habits, then plain RL; the figures
begin with models/sft, long2short with models/rl.  `make reproduce` runs it
first.  Cost: three minutes of a core for each seed.
"""

from experiments.ablations import scales


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  config.stages = ('sft', 'rl')
  return config


sweep = scales.warm_up_sweep
