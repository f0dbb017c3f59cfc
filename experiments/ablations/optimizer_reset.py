"""Moments made anew at every iteration (2.3.2), or kept.

    make reproduce FIGURE=optimizer_reset

Expected: the paper resets without a figure; a difference is not claimed.  Cost:
10 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'reset': {'optimizer.reset_every_iteration': True, scales.RATE: 2e-4},
  'kept': {'optimizer.reset_every_iteration': False, scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
