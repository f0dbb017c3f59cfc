"""Models that know easy facts, and hard ones seldom.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_curriculum.py:cpu \\
        --root=runs/reproduce/warm_up_curriculum

SFT on the writer's chains of `experiments/facts.py:curriculum`; the figures
begin with models/sft.  `make reproduce` runs it first.  Cost: a minute of a
core for each seed.
"""

from experiments.ablations import scales
from experiments.ablations import walks


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'curriculum')
  config.stages = ('sft',)
  config.optimizer.clip_norm = 1.0  # gradients are longer than those of RL
  return config


sweep = scales.warm_up_sweep
