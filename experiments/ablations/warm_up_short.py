"""Short models: they learn to state facts once, without checks and rounds.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_short.py:cpu \\
        --root=runs/reproduce/warm_up_short

SFT of `warm_up_search`, the ancestor that they share with the long models of
`warm_up_long`, on the same writer's short chains: what `long2short` merges the
long ones with.  `make reproduce` runs it first.  Cost: half a minute of a core
for each seed.
"""

from experiments.ablations import scales
from experiments.ablations import walks


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'search')
  config.stages = ('sft',)
  walks.set_habits(config, check_rate=0.0, again_rate=0.0)
  return config


def sweep(variant='cpu'):
  del variant
  return scales.seeds(scales.WARM_UP_SEEDS, warm_up='warm_up_search')
