"""The mean reward as baseline, or tau log Z which it stands for (2.3.2).

    make reproduce FIGURE=baseline

Expected: tau log Z tends to the best reward of a group for a small tau, so that
learning is slower; leave-one-out is the mean times k / (k - 1).  No figure in
the paper.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'mean': {'loss.baseline': 'mean', scales.RATE: 2e-4},
  'tau log Z': {'loss.baseline': 'tau_log_z', scales.RATE: 2e-4},
  'leave one out': {'loss.baseline': 'leave_one_out', scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
