"""Fig. 9: uniform problems first, then hard ones, against uniform.

    make reproduce FIGURE=curriculum

Expected: one curve before the switch, in the middle of the rise as in the
paper; after it the curriculum is above on the held-out problems of all
difficulties.  Cost: 10 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'uniform': {'problem_sampler.strategy': 'uniform', scales.RATE: 2e-4},
  'curriculum': {
    'problem_sampler.strategy': 'curriculum',
    'problem_sampler.curriculum_iteration': 6,
    'problem_sampler.hard_below_success_rate': 0.75,
    scales.RATE: 2e-4,
  },
}
PAPER = {  # which switches at iteration 24
  'uniform': {'problem_sampler.strategy': 'uniform'},
  'curriculum': {'problem_sampler.strategy': 'curriculum'},
}


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    config.task.train_problems = 96  # all of them are seen before the switch
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
