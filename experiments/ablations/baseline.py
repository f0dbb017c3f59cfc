"""The mean reward as baseline, or tau log Z which it stands for (2.3.2).

    make reproduce FIGURE=baseline

Expected: tau log Z tends to the best reward of a group for a small tau, so that
learning is slower; leave-one-out is the mean times k / (k - 1).  No figure in
the paper.  Cost: 15 runs of two minutes.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import walks

ARMS = {
  'mean': {'loss.baseline': 'mean', scales.RATE: 3e-4},
  'tau log Z': {'loss.baseline': 'tau_log_z', scales.RATE: 3e-4},
  'leave one out': {'loss.baseline': 'leave_one_out', scales.RATE: 3e-4},
}
CLAIM = claims.Claim(
  figure='2.3.2, baseline',
  question='Mean reward or tau log Z: which baseline learns faster?',
  paper='The mean of the sampled rewards "yields effective practical results";'
  ' no figure.',
  panels=(claims.Panel(claims.ACCURACY),),
  measures=(
    claims.area('mean', 'tau log Z', 'above'),
    claims.final('mean', 'tau log Z'),
  ),
)
OUTCOME = (
  'tau log Z is near the best reward of a group, so that hardly anything is'
  ' pulled up: accuracy falls to 0.51, while both means reach 0.77'
)


def get_config(variant='cpu'):
  config = walks.get_config(variant)
  config.loss.tau = 0.1  # the smaller, the further are the two apart
  return config


def sweep(variant='cpu'):
  return walks.sweep(ARMS, variant)
