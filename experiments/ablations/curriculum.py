"""Fig. 9: uniform problems first, then hard ones, against uniform.

    make reproduce FIGURE=curriculum

Expected: one curve before the switch, in the middle of the rise as in the
paper; after it the curriculum is above on the held-out problems of all
difficulties.  Cost: 10 runs of 40 s.
"""

from experiments.ablations import claims
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
_SWITCH = 'problem_sampler.curriculum_iteration'
CLAIM = claims.Claim(
  figure='Fig. 9',
  question='Do hard problems teach more once the easy ones are learnt?',
  paper='Equal up to the switch at iteration 24 (0.47); at 42 curriculum 0.606,'
  ' uniform 0.553.',
  panels=tuple(claims.Panel(y, mark=('curriculum', _SWITCH))
               for y in (claims.ACCURACY, claims.TOKENS)),
  measures=(
    claims.Measure(
      'accuracy up to the switch: curriculum minus uniform', claims.ACCURACY,
      'curriculum', 'uniform', 'mean', until=_SWITCH, expected='equal',
      margin=claims.MARGIN,
    ),
    claims.Measure(
      'accuracy after the switch: curriculum minus uniform', claims.ACCURACY,
      'curriculum', 'uniform', 'mean', after=_SWITCH, expected='above',
    ),
    claims.final('curriculum', 'uniform'),
  ),
  # Uniform has to waste most of its groups, and what is hard has to be so.
  checks=(
    claims.Check('share of groups without variance before the switch',
                 'rl/zero_variance_groups', 'uniform', 'final', until=_SWITCH,
                 least=0.6),
    claims.Check('reward of what is drawn as hard', 'rl/reward', 'curriculum',
                 after=_SWITCH, least=0.1, most=0.6),
  ),
  changed='the checks were added',
)  # fmt: skip
OUTCOME = (
  'Hard problems are those in which single steps go wrong; groups with few'
  ' right responses say little about that, so nothing is gained by them'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    config.task.train_problems = 96  # all of them are seen before the switch
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
