"""Which segments of a resumed response enter the loss (2.6.2).

    make reproduce FIGURE=loss_segments

Expected: all of them, or those of the current iteration alone: not said by the
paper, which leaves the choice open.  Cost: 10 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'all': {'rl.loss_segments': 'all', scales.RATE: 2e-4},
  'last': {'rl.loss_segments': 'last', scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  config.rollout.token_budget = config.rollout.max_length // 4
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
