"""Long models: they learn to check and go round more, and RL until it is flat.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_long.py:cpu \\
        --root=runs/reproduce/warm_up_long

SFT of `warm_up_search`, the ancestor that they share with the short models of
`warm_up_short`, on the same writer's long chains; then plain RL without any
price of length, for `long2short`, which checks that it has become flat.  `make
reproduce` runs it first.  Cost: three minutes of a core for each seed.
"""

from experiments.ablations import scales
from experiments.ablations import walks


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'search')
  config.stages = ('sft', 'rl')
  walks.set_habits(config, check_rate=0.8, again_rate=0.8)
  return config


def sweep(variant='cpu'):
  del variant
  return scales.seeds(scales.WARM_UP_SEEDS, warm_up='warm_up_search')
