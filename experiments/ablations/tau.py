"""How strongly each iteration is held to its first policy, tau of eq. 3.

    make reproduce FIGURE=tau

Expected: without it updates go astray at high learning rates, a strong one
learns slowly.  Not in the paper, nor is its tau.  Cost: 20 runs of 40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'none': {'loss.method': 'reinforce', scales.RATE: 2e-4},
  'tau 0.1': {'loss.tau': 0.1, scales.RATE: 2e-4},
  'tau 0.4': {'loss.tau': 0.4, scales.RATE: 2e-4},
  'tau 1.6': {'loss.tau': 1.6, scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='eq. 3, tau',
  question='What does the pull towards the policy of the iteration do?',
  paper='tau is not published, and there is no ablation; its term keeps the'
  ' policy near the one that sampled.',
  panels=(*claims.BOTH, claims.Panel('rl/log_ratio_rms')),
  measures=(
    claims.Measure('log-ratio, rms in nats: largest tau minus smallest',
                   'rl/log_ratio_rms', claims.LAST, claims.FIRST, 'mean',
                   expected='below'),
    claims.area(claims.LAST, claims.FIRST),
    claims.Measure('final accuracy', claims.ACCURACY, claims.EACH),
  ),
  # Where nothing goes astray, nothing can be held back.
  checks=(
    claims.Check('log-ratio, rms in nats, none', 'rl/log_ratio_rms',
                 'none', least=0.5),
  ),
  changed='the check was added',
)  # fmt: skip
OUTCOME = (
  'Four small updates leave the reference by 0.2 nats with any tau; the'
  ' strongest only slows the rise'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
