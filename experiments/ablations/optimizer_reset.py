"""Moments made anew at every iteration (2.3.2), or kept.

    make reproduce FIGURE=optimizer_reset

Expected: the paper resets without a figure; that it does not hurt is the claim.
With four epochs the moments of an iteration have time to be its own.  In a toy
kept ones are ahead by 0.02 ± 0.01, of eight seeds (docs/worlds.md).  Cost: 16
runs of a minute, half of them those of `tau`.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import tau
from experiments.ablations import walks

ARMS = {
  'reset': tau.ARMS['tau 0.4'],
  'kept': {'optimizer.reset_every_iteration': False, scales.RATE: 4e-4},
}
CLAIM = claims.Claim(
  figure='2.3.2, reset',
  question="Does it hurt to drop the optimizer's moments at each iteration?",
  paper='Reset at each iteration, as each is another problem; no figure.',
  panels=(claims.Panel(claims.ACCURACY),),
  measures=(
    claims.area('reset', 'kept', 'not_below', claims.MARGIN),
    claims.final('reset', 'kept'),
  ),
  changed='five seeds had -0.021 ± 0.047 of the area, and could not tell;'
  ' three more were run',
)
OUTCOME = (
  'If dropping the moments hurts, then by less than 0.04: eight seeds have'
  ' 0.010 ± 0.029 for keeping them'
)

get_config = tau.get_config


def sweep(variant='cpu'):
  return walks.sweep(ARMS, variant, rates=tau.RATES, count=8)
