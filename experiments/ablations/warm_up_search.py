"""Models that check what they state and go round again, now and then.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_search.py:cpu \\
        --root=runs/reproduce/warm_up_search

SFT on the writer's chains of `experiments/facts.py:search`; the figures
begin with models/sft.  `make reproduce` runs it first.  Cost: 80 seconds of a
core for each seed.
"""

from experiments.ablations import scales
from experiments.ablations import walks


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'search')
  config.stages = ('sft',)
  config.optimizer.clip_norm = 1.0  # gradients are longer than those of RL
  return config


sweep = scales.warm_up_sweep
