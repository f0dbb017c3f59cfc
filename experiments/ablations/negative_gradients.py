"""Fig. 10: the whole loss against ReST, which has no negative gradients.

    make reproduce FIGURE=negative_gradients

Expected: far fewer samples for the same accuracy with negative gradients.  ReST
fits the best response of each group; 'positive only' is the k1.5 loss without
its responses below the baseline.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'k1.5': {'loss.method': 'mirror_descent', scales.RATE: 2e-4},
  'ReST': {'loss.method': 'rest', scales.RATE: 2e-4},
  'positive only': {'loss.negative_gradients': 'drop', scales.RATE: 4e-4},
}
CLAIM = claims.Claim(
  figure='Fig. 10',
  question='Does it pay to push wrong responses down?',
  paper='With negative gradients 0.51 to 0.65 in 48 steps, ReST 0.53 to 0.59.',
  panels=claims.BOTH,
  measures=(
    claims.area('k1.5', 'ReST', 'above'),
    claims.final('k1.5', 'ReST', 'above'),
    claims.final('k1.5', 'ReST', metric=claims.TOKENS),
    claims.final('k1.5', 'positive only'),
  ),
  checks=(
    claims.Check('share of groups without a right response, k1.5',
                 'rl/all_wrong_groups', 'k1.5', most=0.3),
  ),
  changed='the check was added',
)  # fmt: skip
OUTCOME = (
  'Nearly every group of eight has a right response, which shows the habits'
  ' that pay; what is left to learn is to work surely, which imitation'
  ' teaches and the push away from wrong responses disturbs'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
