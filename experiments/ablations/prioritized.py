"""Problems drawn in proportion to 1 - success rate (2.3.4), or alike.

    make reproduce FIGURE=prioritized

Expected: prioritized sampling rises faster on the held-out problems, where most
are easy and each is met often enough for its rate to be known.  No figure in
the paper; a toy has 0.02 ± 0.02 for this, of eight seeds (docs/worlds.md).
Cost: 16 runs of two minutes.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import walks

ARMS = {
  'uniform': {'problem_sampler.strategy': 'uniform', scales.RATE: 3e-4},
  'prioritized': {'problem_sampler.strategy': 'prioritized', scales.RATE: 3e-4},
}
_HARD = 'evaluation/accuracy_hard'
CLAIM = claims.Claim(
  figure='2.3.4, priorities',
  question='Does it pay to draw problems by 1 - success rate?',
  paper='Prioritized sampling directs effort to what is weak; no figure.',
  panels=(claims.Panel(claims.ACCURACY), claims.Panel(_HARD)),
  measures=(
    claims.area('prioritized', 'uniform', 'above'),
    claims.final('prioritized', 'uniform'),
    claims.Measure('accuracy on hard problems, mean of the run: prioritized'
                   ' minus uniform', _HARD, 'prioritized', 'uniform', 'area'),
  ),
  # At the first visit every problem has the same weight.  With the last
  # iteration all have had three; this is of the last three evaluations.
  checks=(
    claims.Check('visits a problem, uniform', 'problem_sampler/visits',
                 'uniform', 'final', least=2.9),
    claims.Check('share of groups without variance, uniform',
                 'rl/zero_variance_groups', 'uniform', 'final', least=0.5),
  ),
  changed='3 visits were asked for, which the mean of the last evaluations does'
  ' not reach though the run does: 2.94',
)  # fmt: skip
OUTCOME = (
  'What is often wrong can be learnt here, and gets more tries: it is hard'
  ' problems that gain, 0.079 ± 0.029'
)


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'curriculum')
  if variant in scales.CPU:
    config.task.train_problems = 1024  # each is met three times
  return config


def sweep(variant='cpu'):
  return walks.sweep(ARMS, variant, kind='curriculum', count=8)
