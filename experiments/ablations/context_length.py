"""Figs. 5 and 6: accuracy and length rise together; longer is better.

    make reproduce FIGURE=context_length

Expected: with RL both rise; the slope of accuracy against tokens is positive;
a greater maximum length has a higher ceiling.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales


def limits(*lengths):
  return {
    f'{n} tokens': {
      'rollout.max_length': n,
      'rollout.token_budget': min(n, 32768),
    }
    for n in lengths
  }


ARMS = limits(32, 64, 160)
PAPER = limits(8192, 32768, 130048)
CLAIM = claims.Claim(
  figure='Figs. 5, 6',
  question='Do accuracy and length rise together, and higher with more room?',
  paper='Accuracy 0.58 to 0.80 as responses grow from 1,259 to 9,607 tokens,'
  ' correlation 0.98, 2.5e-5 a token.',
  panels=(*claims.BOTH, claims.Panel(claims.ACCURACY, claims.TOKENS, fit=True)),
  measures=(
    claims.Measure('gain of accuracy', claims.ACCURACY, claims.LAST,
                   by='change', expected='above'),
    claims.Measure('gain of tokens', claims.TOKENS, claims.LAST,
                   by='change', expected='above'),
    claims.Measure('correlation of accuracy and tokens', claims.ACCURACY,
                   claims.LAST, by='correlation', expected='above'),
    claims.final(claims.LAST, claims.FIRST, 'above'),
    claims.Measure('accuracy per token, slope', claims.ACCURACY, claims.EACH,
                   by='slope'),
    claims.Measure('final accuracy', claims.ACCURACY, claims.EACH),
    claims.Measure('final tokens', claims.TOKENS, claims.EACH),
  ),
)  # fmt: skip
OUTCOME = (
  'Whoever has room for a single try only gains as much by guessing as by'
  ' work; the ceiling of the longest is how surely so small a policy works'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
