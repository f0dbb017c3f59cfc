"""The mean reward as baseline, or tau log Z which it stands for (2.3.2).

    make reproduce FIGURE=baseline

Expected: tau log Z tends to the best reward of a group for a small tau, so that
learning is slower; leave-one-out is the mean times k / (k - 1).  No figure in
the paper.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'mean': {'loss.baseline': 'mean', scales.RATE: 2e-4},
  'tau log Z': {'loss.baseline': 'tau_log_z', scales.RATE: 2e-4},
  'leave one out': {'loss.baseline': 'leave_one_out', scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='2.3.2, baseline',
  question='Mean reward or tau log Z: which baseline learns faster?',
  paper='The mean of the sampled rewards "yields effective practical results";'
  ' no figure.',
  panels=claims.BOTH,
  measures=(
    claims.area('mean', 'tau log Z', 'above'),
    claims.final('mean', 'tau log Z'),
  ),
)
OUTCOME = (
  'tau log Z of eight rewards in {0, 1} with tau 0.1 is nearly the best of'
  ' them, so that right responses are hardly pulled up'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
