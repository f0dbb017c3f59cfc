"""Fig. 8: a small and a large policy, accuracy against length.

    make reproduce FIGURE=model_size

Expected: the large one begins higher and gains more for each token; the small
one comes near with more tokens.  Here two layers against four, each with a
warm-up on the same data; `:paper` and `:paper_large` are 7B and 32B.  Cost: 5
runs of 40 s and 5 of 5 minutes.
"""

from experiments import sweeps
from experiments.ablations import claims
from experiments.ablations import scales

_LARGE = {'policy.num_layers': 4, 'stages': ('sft', 'rl')}
ARMS = {
  'small': {'policy.num_layers': 2, scales.RATE: 2e-4},
  'large': _LARGE | {scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='Fig. 8',
  question='Can a small model make up for its size with longer responses?',
  paper='The large one starts higher and gains more per token in 3 of 4 sets;'
  ' the small one gets near it with longer responses.',
  panels=(*claims.BOTH, claims.Panel(claims.ACCURACY, claims.TOKENS, fit=True)),
  measures=(
    claims.Measure('accuracy before RL: large minus small', claims.ACCURACY,
                   'large', 'small', 'before', expected='above'),
    claims.Measure('accuracy per token, slope: large minus small',
                   claims.ACCURACY, 'large', 'small', 'slope',
                   expected='above'),
    claims.final('small', 'large', 'not_below', 0.05),
    claims.final('small', 'large', 'above', metric=claims.TOKENS),
    claims.Measure('accuracy per token, slope', claims.ACCURACY, claims.EACH,
                   by='slope'),
  ),
)  # fmt: skip
OUTCOME = (
  'Before RL both imitate the same habits, which decide the accuracy, and two'
  ' layers work nearly as surely as four: too little between them'
)

get_config = scales.get_config


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
    yield from sweeps.product([_LARGE], rates, sweeps.seeds(1, first=8))
