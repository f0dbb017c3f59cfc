"""Mirror descent of k1.5 against GRPO of DeepSeek-R1.

    make reproduce FIGURE=grpo

Expected: no paper compares them; both should learn alike, also where four
epochs take the policy so far from its reference that they differ.  Cost: 16
runs of a minute, half of them those of `tau`.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import tau
from experiments.ablations import walks

ARMS = {
  'mirror descent': tau.ARMS['tau 0.4'],
  'GRPO': {'loss.method': 'grpo', scales.RATE: 4e-4},
}
_LAST = 'rl/last_log_ratio_rms'
CLAIM = claims.Claim(
  figure='eq. 3, R1 eq. 1',
  question='Does GRPO learn otherwise than mirror descent?',
  paper='Neither paper compares them.',
  panels=(claims.Panel(claims.ACCURACY), claims.Panel(_LAST)),
  measures=(
    claims.area('mirror descent', 'GRPO', 'equal', claims.MARGIN),
    claims.final('mirror descent', 'GRPO', 'equal', claims.MARGIN),
    claims.Measure('log-ratio of the last update', _LAST, claims.EACH,
                   by='mean'),
  ),
  # Nearer to the reference both gradients are that of REINFORCE: GRPO's clip
  # begins at a ratio of 1.2, 0.18 nats.
  checks=(
    claims.Check('log-ratio of the last update, rms in nats', _LAST,
                 claims.EACH, least=0.2),
  ),
  changed='five seeds had 0.011 ± 0.031 of the area, and could not tell;'
  ' three more were run',
)  # fmt: skip
OUTCOME = (
  'GRPO goes twice as far from its reference, to no gain: mirror descent is'
  ' ahead by 0.018 ± 0.023, which eight seeds do not tell from 0.03'
)

get_config = tau.get_config


def sweep(variant='cpu'):
  return walks.sweep(ARMS, variant, rates=tau.RATES, count=8)
