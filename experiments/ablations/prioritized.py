"""Problems drawn in proportion to 1 - success rate (2.3.4), or alike.

    make reproduce FIGURE=prioritized

Expected: prioritized sampling rises faster on the held-out problems.  No figure
in the paper.  Cost: 10 runs of 40 s.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'uniform': {'problem_sampler.strategy': 'uniform', scales.RATE: 2e-4},
  'prioritized': {'problem_sampler.strategy': 'prioritized', scales.RATE: 2e-4},
}
CLAIM = claims.Claim(
  figure='2.3.4, priorities',
  question='Does it pay to draw problems by 1 - success rate?',
  paper='Prioritized sampling directs effort to what is weak; no figure.',
  panels=claims.BOTH,
  measures=(
    claims.area('prioritized', 'uniform', 'above'),
    claims.final('prioritized', 'uniform'),
  ),
  # At the first visit every problem has the same weight.
  checks=(
    claims.Check('visits a problem, prioritized', 'problem_sampler/visits',
                 'prioritized', 'final', least=3),
  ),
  changed='the check was added',
)  # fmt: skip
OUTCOME = (
  'What stays unsolved is what the policy cannot work out yet, and to try it'
  ' more often does not change that'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    config.task.train_problems = 192  # each is met twice
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
