"""Mirror descent of k1.5 against GRPO of DeepSeek-R1.

    make reproduce FIGURE=grpo

Expected: no paper compares them; both should learn alike.  Cost: 10 runs of
40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'mirror descent': {'loss.method': 'mirror_descent', scales.RATE: 2e-4},
  'GRPO': {'loss.method': 'grpo', scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='eq. 3, R1 eq. 1',
  question='Does GRPO learn otherwise than mirror descent?',
  paper='Neither paper compares them.',
  panels=(*claims.BOTH, claims.Panel('rl/log_ratio_rms')),
  measures=(
    claims.area('mirror descent', 'GRPO', 'equal', claims.MARGIN),
    claims.final('mirror descent', 'GRPO', 'equal', claims.MARGIN),
  ),
  # Nearer to the reference both gradients are that of REINFORCE.
  checks=(
    claims.Check('log-ratio, rms in nats, mirror descent', 'rl/log_ratio_rms',
                 'mirror descent', least=0.5),
  ),
  changed='the check was added',
)  # fmt: skip
OUTCOME = (
  'With four small updates an iteration the policy stays so near to its'
  ' reference that both gradients are nearly that of REINFORCE'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
