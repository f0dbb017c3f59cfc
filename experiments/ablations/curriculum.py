"""Fig. 9: uniform problems first, then hard ones, against uniform.

    make reproduce FIGURE=curriculum

Expected: one curve before the switch; after it the curriculum is above on
held-out problems, half of them hard.  Four in five training problems are easy;
hard ones take the same and more, and are known by label until they are tried.
A toy ends 0.07 ± 0.04 higher.  Cost: 10 runs.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import walks

ARMS = {
  name: {'problem_sampler.strategy': name, scales.RATE: 3e-4}
  for name in ('uniform', 'curriculum')
}
ONE_RATE = True  # up to the switch they are one run
_SWITCH = 'problem_sampler.curriculum_iteration'
_HARD, _EASY = (f'evaluation/accuracy_{x}' for x in ('hard', 'easy'))


def _after(metric, expected=''):
  name = {_HARD: ', hard', _EASY: ', easy'}.get(metric, '')
  what = f'accuracy after the switch{name}: curriculum minus uniform'
  return claims.Measure(what, metric, 'curriculum', 'uniform', 'mean',
                        after=_SWITCH, expected=expected)  # fmt: skip


def _before(metric, **ends):
  what = f'accuracy up to the switch, {metric.rpartition("_")[2]}'
  return claims.Check(what, metric, 'uniform', 'final', until=_SWITCH, **ends)


CLAIM = claims.Claim(
  figure='Fig. 9',
  question='Do hard problems teach more once the easy ones are learnt?',
  paper='Equal up to the switch at iteration 24 (0.47); at 42 curriculum 0.606,'
  ' uniform 0.553.',
  panels=tuple(claims.Panel(y, mark=('curriculum', _SWITCH))
               for y in (claims.ACCURACY, _HARD, _EASY)),
  measures=(
    _after(claims.ACCURACY, 'above'),
    claims.final('curriculum', 'uniform'), _after(_HARD), _after(_EASY),
  ),
  checks=(
    claims.Check('share of groups without variance before the switch',
                 'rl/zero_variance_groups', 'uniform', 'final', until=_SWITCH,
                 least=0.6),
    _before(_HARD, least=0.1, most=0.6), _before(_EASY, least=0.9),
    claims.Check('draws of a problem', 'problem_sampler/visits', 'curriculum',
                 'final', most=3),
  ),
  changed='hard problems had to be hard after the switch, which learning fails;'
  ' gradients are clipped at 0.1; arms that are one run at first have one rate',
)  # fmt: skip
OUTCOME = 'Easy groups teach no more; hard problems take half the iterations'


def get_config(variant='cpu'):
  config = walks.get_config(variant, 'curriculum')
  if variant in scales.CPU:
    config.task.train_problems = 4096  # no hard one is met often
    config.problem_sampler.curriculum_iteration = 16  # easy ones are learnt
  return config


def sweep(variant='cpu'):
  return walks.sweep(ARMS, variant, kind='curriculum')
