"""Fig. 8: policies of four widths, accuracy against length.

    make reproduce FIGURE=model_size

Each has a warm-up of its own, on the same walks that are checked and gone over
now and then.  Expected: the widest starts higher and gains more for each token;
the narrowest comes near it with more tokens; these three are judged apart.
`:paper` and `:paper_large` are 7B and 32B.  Cost: 20 runs of two minutes, after
20 warm-ups of 80 seconds.
"""

from experiments import sweeps
from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import walks
from experiments.ablations import warm_up_widths

_RATES = {32: 1.5e-4, 48: 1.5e-4, 64: 1.5e-4, 96: 7.5e-5}
ARMS = {
  f'd_model {n}': arm | {scales.RATE: _RATES[n]}
  for n, arm in warm_up_widths.WIDTHS.items()
}
_WIDEST, _NARROWEST = claims.LAST, claims.FIRST
CLAIM = claims.Claim(
  figure='Fig. 8',
  question='Can a small model make up for its size with longer responses?',
  paper='The large one starts higher and gains more per token in 3 of 4 sets;'
  ' the small one gets near it with longer responses.',
  panels=(*claims.BOTH, claims.Panel(claims.ACCURACY, claims.TOKENS, fit=True)),
  measures=(
    claims.Measure(f'starts higher: accuracy before RL, {_WIDEST} minus'
                   f' {_NARROWEST}', claims.ACCURACY, _WIDEST, _NARROWEST,
                   'before', expected='above'),
    claims.Measure(f'slope: accuracy per token, {_WIDEST} minus {_NARROWEST}',
                   claims.ACCURACY, _WIDEST, _NARROWEST, 'slope',
                   expected='above'),
    claims.Measure(f'catches up: final accuracy, {_NARROWEST} minus {_WIDEST}',
                   claims.ACCURACY, _NARROWEST, _WIDEST,
                   expected='not_below', margin=0.05),
    claims.final(_NARROWEST, _WIDEST, metric=claims.TOKENS),
    *(claims.Measure(f'accuracy, {by}', claims.ACCURACY, claims.EACH, by=by)
      for by in ('before', 'slope', 'final')),
    claims.Measure('tokens, final', claims.TOKENS, claims.EACH),
  ),
)  # fmt: skip
OUTCOME = (
  'The wide start higher and gain more for each token; the narrowest has its'
  ' facts and its checks wrong together, so that to check and go round again'
  ' mends nothing'
)


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'search')
  if variant in scales.CPU:
    config.rl.iterations = 32  # with the warm-ups half an hour of two cores
  return config


def sweep(variant='cpu'):
  if variant.startswith('paper'):
    return sweeps.seeds(1)
  found = scales.sweep(ARMS, variant, warm_up='', rates=walks.SEARCH_RATES)
  if variant not in scales.CPU:
    return found
  return (arm | warm_up_widths.start(arm) for arm in found)
