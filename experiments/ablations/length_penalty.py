"""The length penalty of 2.3.3: none, from the start, after a warm-up.

    make reproduce FIGURE=length_penalty

Expected: responses get shorter and accuracy is kept; from the start it slows
early learning, which is why the paper warms up.  Of final accuracies of six
seeds a difference has an interval of about 0.02.  Cost: 18 runs of a minute.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'none': {'length_reward.weight': 0.0, scales.RATE: 2e-4},
  'from the start': {'length_reward.weight': 0.5, scales.RATE: 2e-4},
  'after a warm-up': {
    'length_reward.weight': 0.5,
    'length_reward.start_iteration': 12,
    scales.RATE: 2e-4,
  },
}


PAPER = {
  **ARMS,
  'after a warm-up': {
    'length_reward.weight': 0.5,
    'length_reward.start_iteration': 75,
  },
}
_START = 'length_reward.start_iteration'
_WARM, _EARLY = 'after a warm-up', 'from the start'
CLAIM = claims.Claim(
  figure='2.3.3',
  question='Does the length penalty shorten, and does it need a warm-up?',
  paper='It stops overthinking, but may slow the early phase down, hence'
  ' a warm-up without it; no figure.',
  panels=tuple(claims.Panel(y, mark=(_WARM, _START))
               for y in (claims.ACCURACY, claims.TOKENS)),
  measures=(
    claims.final(_WARM, 'none', 'below', metric=claims.TOKENS),
    claims.final(_WARM, 'none', 'not_below', claims.MARGIN),
    claims.Measure(
      'accuracy until the penalty begins: after a warm-up minus from the start',
      claims.ACCURACY, _WARM, _EARLY, 'mean', until=_START, expected='above',
    ),
    claims.final(_EARLY, 'none', metric=claims.TOKENS),
    claims.final(_WARM, _EARLY),
  ),
)  # fmt: skip
OUTCOME = (
  'A fifth of the tokens goes, and with it 0.021 ± 0.011 of the accuracy, too'
  ' near the margin of 0.03; from the start it holds learning back by 0.046'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    scales.set_checks(config)
  return config


def sweep(variant='cpu'):
  return scales.sweep(
    ARMS, variant, PAPER, warm_up='warm_up_checks', count=6
  )
