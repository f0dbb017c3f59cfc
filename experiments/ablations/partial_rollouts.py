"""Responses cut by a token budget and continued (2.6.2), or sampled whole.

    make reproduce FIGURE=partial_rollouts

Expected: the same learning curve; an iteration has to wait for fewer decode
steps.  Fig. 3b, without numbers in the paper.  Cost: 10 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'whole': {'rollout.token_budget': 160, scales.RATE: 2e-4},
  'partial': {'rollout.token_budget': 40, scales.RATE: 2e-4},
}


PAPER = {
  'whole': {'rollout.token_budget': 130048},
  'partial': {'rollout.token_budget': 32768},
}


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    config.rollout.num_slots = 128  # all responses at once
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
