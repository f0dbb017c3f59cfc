"""The length penalty of 2.3.3: none, from the start, after a warm-up.

    make reproduce FIGURE=length_penalty

Expected: responses get shorter and accuracy is kept; from the start it slows
early learning, which is why the paper warms up.  Cost: 15 runs of 40 s.
"""

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


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    scales.set_checks(config)
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER, warm_up='warm_up_checks')
