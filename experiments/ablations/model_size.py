"""Fig. 8: a small and a large policy, accuracy against length.

    make reproduce FIGURE=model_size

Expected: the large one begins higher and gains more for each token; the small
one comes near with more tokens.  Here two layers against four, each with a
warm-up on the same data; `:paper` and `:paper_large` are 7B and 32B.  Cost: 5
runs of 40 s and 5 of 5 minutes.
"""

from experiments import sweeps
from experiments.ablations import scales

_LARGE = {'policy.num_layers': 4, 'stages': ('sft', 'rl')}
ARMS = {
  'small': {'policy.num_layers': 2, scales.RATE: 2e-4},
  'large': _LARGE | {scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  if variant.startswith('paper'):
    yield from sweeps.seeds(1)
  elif variant == 'cpu':
    yield from sweeps.product([ARMS['small']], scales.seeds())
    yield from sweeps.product([ARMS['large']], sweeps.seeds(scales.SEEDS))
  elif variant == 'smoke':
    yield from scales.sweep(ARMS, variant)
  else:
    rates = sweeps.over(scales.RATE, scales.RATES)
    yield from sweeps.product([_LARGE], rates, sweeps.seeds(1, first=5))
