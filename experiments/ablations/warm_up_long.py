"""Long models: RL of the models that check and go round, until it is flat.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_long.py:cpu \\
        --root=runs/reproduce/warm_up_long

Plain RL without any price of length, begun with `warm_up_search`, for
long2short: the longest that an accuracy can be bought with.  `make reproduce`
runs it first.  Cost: three minutes of a core for each seed.
"""

from experiments.ablations import scales
from experiments.ablations import walks

_ITERATIONS = 72  # the last third of which is flat, which `long2short` checks


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'search')
  config.rl.iterations = _ITERATIONS
  return config


def sweep(variant='cpu'):
  del variant
  return scales.seeds(scales.WARM_UP_SEEDS, warm_up='warm_up_search')
