"""Which segments of a resumed response enter the loss (2.6.2).

    make reproduce FIGURE=loss_segments

Expected: nothing.  All of them, or those of the current iteration alone: the
paper leaves the choice open.  The budget cuts the longest: with a quarter of
the limit most responses were resumed.  Cost: 10 runs of a minute.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'all': {'rl.loss_segments': 'all', scales.RATE: 2e-4},
  'last': {'rl.loss_segments': 'last', scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='2.6.2, loss',
  question='Must segments of earlier iterations enter the loss?',
  paper='Certain segments "can be excluded" from the loss; no figure.',
  panels=claims.BOTH,
  measures=(
    claims.area('last', 'all'),
    claims.final('last', 'all'),
    claims.Measure('tokens trained an iteration: last minus all',
                   'rl/tokens_trained', 'last', 'all', 'mean'),
  ),
  checks=(
    claims.Check('share of responses cut at the budget, all', 'rl/stop_budget',
                 'all', least=0.03, most=0.3),
  ),
  changed='equal accuracy was expected; that segments can be excluded does not'
  ' say that it costs nothing',
)  # fmt: skip
OUTCOME = (
  'Where 16 % of responses are cut, leaving their earlier segments out costs'
  ' 0.018 ± 0.012: an iteration trains on 2,954 tokens less'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  # The 85th percentile of lengths, or near it.
  config.rollout.token_budget = config.rollout.max_length * 2 // 5
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
