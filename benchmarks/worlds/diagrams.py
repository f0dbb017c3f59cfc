"""The diagrams: of each, worlds along an axis, arms, and what is compared.

A diagram asks when a choice of the paper pays, not whether it does once.  Its
`finding` is written by hand, below what was drawn in full.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.worlds import drawing
from benchmarks.worlds import learning
from benchmarks.worlds import runs
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import World
from benchmarks.worlds.learning import Arm
from benchmarks.worlds.learning import Curves

Measure = Callable[[Curves], float]
ADAM_RATES = 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2
SGD_RATES = 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0


@dataclasses.dataclass(frozen=True)
class Place:
  """A world on a diagram's axis, at x; those of one series are one line."""

  x: float
  world: World
  nature: Nature
  series: str = ''

  def __post_init__(self):
    pool = self.nature.pool * self.world.problems
    if pool < self.world.drawn:
      raise ValueError(f'{self.world.drawn} problems are drawn of {pool:g}')


@dataclasses.dataclass(frozen=True)
class Line:
  """A measure of an arm, or its difference to another, along a series."""

  label: str
  arm: str
  minus: str = ''
  series: str = ''


@dataclasses.dataclass(frozen=True)
class Panel:
  """Lines of one measure; `ylabel` says which, no two have one title."""

  ylabel: str
  measure: Measure
  lines: Sequence[Line]
  title: str = ''


@dataclasses.dataclass(frozen=True)
class Diagram:
  """A picture.

  Attributes:
    question: its title.
    xlabel: of the axis, on which places are in equal steps.
    places: in the order of the axis.
    arms: by label.
    panels: side by side.
    finding: a sentence, of the diagram drawn in full.
    rates: tried for each arm, by label; the others have `ADAM_RATES`.
    fixed: fields of worlds that x is computed from, beside those that places of
      a series differ in.
  """

  question: str
  xlabel: str
  places: Sequence[Place]
  arms: Mapping[str, Arm]
  panels: Sequence[Panel]
  finding: str
  rates: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
  fixed: Sequence[str] = ()

  def rates_of(self, arm: str) -> Sequence[float]:
    """Learning rates that are tried for an arm."""
    return self.rates.get(arm, ADAM_RATES)


def final(curves: Curves) -> float:
  return float(curves.accuracy[-1])


def start(curves: Curves) -> float:
  return float(curves.accuracy[0])


def slope(curves: Curves) -> float:
  """Accuracy gained per symbol written, by least squares over RL."""
  return float(np.polyfit(curves.symbols, curves.accuracy, 1)[0])


def _arm(advantage='mean', optimizer='reset', strategy='uniform', **numbers):
  return Arm(
    advantage=learning.ADVANTAGES.index(advantage),
    optimizer=learning.OPTIMIZERS.index(optimizer),
    strategy=drawing.STRATEGIES.index(strategy),
    **numbers,
  )


_SIZES = World(iterations=48)
# The facts family of k15's own runs, `experiments/facts.py`, as toys have it:
# ten symbols are asked for by halves.  Its beliefs are better, q 0.4 to 0.9 and
# not 0.2 to 0.6, of which the toy learns nothing in 48 iterations; with these
# its accuracy rises as that of k15's own runs does.
_WALKS = World(symbols=10, operators=8, steps=3, drawn=64, iterations=48)
_BELIEFS = Nature(answers=2)
_K15 = _arm()
_REST, _RFT = _arm('rest', tau=0.0), _arm('rft', tau=0.0)


def _negative_gradients():
  coins, fixed, coarse = series = (
    'by coins of the response', 'fixed by the problem',
    'of a coarse answer, P = 64',
  )  # fmt: skip
  places = [
    Place(luck, _SIZES, Nature(luck=luck, fixed_luck=float(how == fixed)), how)
    for how in (coins, fixed)
    for luck in (0.0, 0.2, 0.4, 0.6, 0.8)
  ]
  places += [
    # How often one of the nine other symbols is of the right one's class.
    Place(round((10 / n - 1) / 9, 2), _WALKS, _BELIEFS._replace(answers=n),
          coarse)
    for n in (10, 5, 2)
  ]  # fmt: skip
  others = 'ReST', 'RFT', 'positive only'
  panels = [
    Panel(
      ylabel, measure,
      [Line(f'k1.5 minus {other}', 'k1.5', other, how) for other in others],
      f'{title}, luck {how}',
    )
    for title, ylabel, measure in (
      ('all of RL', 'difference of mean accuracy', runs.area),
      ('greedy', 'difference of final accuracy', lambda c: float(c.greedy)),
    )
    for how in series
  ]  # fmt: skip
  return Diagram(
    question='When does it pay to push wrong responses down?',
    xlabel='luck: how often a wrong step does no harm',
    places=places,
    arms={
      'k1.5': _K15,
      'ReST': _REST,
      'RFT': _RFT,
      'positive only': _arm('positive'),
    },
    panels=panels,
    finding=(
      'Against ReST it pays where wrong steps are often harmless, by up to '
      '0.14; against RFT, which uses all right responses too, by 0.03, where '
      'they mostly are. Without luck it loses to all three.'
    ),
    fixed=('symbols',),
  )


# Hard problems are made of easy facts and one hard one, now and then two.
_MIXED = Nature(
  easy=(0.9, 0.99), hard=(0.1, 0.5), easy_share=0.8, hard_steps=0.1
)


def _curriculum():
  series = {
    'P = 64': (64, _MIXED.hard_steps),
    'P = 16': (16, _MIXED.hard_steps),
    'P = 64, half of the steps hard': (64, 0.5),
  }
  places = [
    Place(
      share,
      dataclasses.replace(_SIZES, drawn=P),
      _MIXED._replace(easy_share=share, hard_steps=hard_steps),
      name,
    )
    for name, (P, hard_steps) in series.items()
    for share in (0.2, 0.5, 0.8, 0.9)
  ]
  lines = [Line(name, 'curriculum', 'uniform', name) for name in series]
  return Diagram(
    question='When do hard problems teach more, once easy ones are learnt?',
    xlabel='share of easy problems',
    places=places,
    arms={
      'curriculum': _arm(strategy='curriculum', switch=12),
      'uniform': _K15,
    },
    panels=[
      Panel('curriculum minus uniform', final, lines, 'final accuracy, all'),
      Panel(
        'curriculum minus uniform', _final_hard, lines, 'final accuracy, hard'
      ),
      Panel(
        'curriculum minus uniform', _final_easy, lines, 'final accuracy, easy'
      ),
    ],
    finding=(
      'It pays with many problems an iteration of which most are easy, by '
      'accuracy on hard ones; else it forgets easy facts, or collapses.'
    ),
  )


def _final_hard(curves):
  return float(curves.hard[-1])


def _final_easy(curves):
  return float(curves.easy[-1])


def _priorities():
  drawn, visits, problems = (16, 64), (0.75, 1.5, 3.0, 6.0), 4096
  places = [
    Place(
      times,
      dataclasses.replace(_SIZES, drawn=P, problems=problems),
      _MIXED._replace(pool=P * _SIZES.iterations / times / problems),
      f'P = {P}',
    )
    for P in drawn
    for times in visits
  ]
  lines = [
    Line(f'P = {P}', 'prioritized', 'uniform', f'P = {P}') for P in drawn
  ]
  return Diagram(
    question='How often must a problem be met until priorities pay?',
    xlabel='visits of a problem in a run: iterations x P / problems',
    places=places,
    arms={'prioritized': _arm(strategy='prioritized'), 'uniform': _K15},
    panels=[
      Panel('prioritized minus uniform', runs.area, lines, 'mean accuracy'),
      Panel('prioritized minus uniform', final, lines, 'final accuracy, all'),
      Panel(
        'prioritized minus uniform', _final_hard, lines, 'final accuracy, hard'
      ),
    ],
    finding=(
      'With 64 problems an iteration it gains 0.05 to 0.07 from 1.5 visits on, '
      'all of it on hard ones; with 16 nothing is gained.'
    ),
    fixed=('iterations', 'problems'),
  )


_TAUS = 0.0, 0.1, 0.4, 1.6
_COMMON_RATE = 1e-2


def _tau():
  coins, coarse = series = 'luck by coins, P = 32', 'coarse answer, P = 64'
  shapes = {coins: (_SIZES, Nature(luck=0.4), (1, 2, 4)),
            coarse: (_WALKS, _BELIEFS, (1, 4))}  # fmt: skip
  places = [
    Place(epochs, dataclasses.replace(world, epochs=epochs), nature, name)
    for name, (world, nature, some) in shapes.items()
    for epochs in some
  ]
  tuned = {f'tau {tau:g}': _arm(tau=tau) for tau in _TAUS}
  tuned['GRPO'] = _arm('normalized', is_grpo=1)
  alike = {f'{name}, one rate': arm for name, arm in tuned.items()}
  others = [name for name in tuned if name != 'tau 0']
  one_rate = f'rate {_COMMON_RATE:g}'
  minus = 'mean accuracy, minus that of tau 0'

  def panels(name):
    yield Panel(
      'log-ratio at the last update, rms, nats',
      lambda c: float(c.log_ratio[-8:].mean()),
      [Line(n, f'{n}, one rate', '', name) for n in tuned],
      f'log-ratio, {one_rate}; {name}',
    )
    for title, end in (('best rates', ''), (one_rate, ', one rate')):
      lines = [Line(n, f'{n}{end}', f'tau 0{end}', name) for n in others]
      yield Panel(minus, runs.area, lines, f'{title}; {name}')

  return Diagram(
    question='When does the pull towards the first policy matter?',
    xlabel='epochs over the responses of an iteration',
    places=places,
    arms=tuned | alike,
    panels=[panel for name in series for panel in panels(name)],
    finding=(
      'With one epoch tau and GRPO change little. With four the log-ratio '
      'falls with tau, and 0.4 gains 0.03 to 0.04 at best rates, 0.28 at twice '
      'the best of tau 0; 1.6 learns too slowly where P is 32.'
    ),
    # Many updates without a pull bear the smallest of these alone.
    rates=dict.fromkeys(tuned, (1.25e-3, *ADAM_RATES[:-1]))
    | dict.fromkeys(alike, (_COMMON_RATE,)),
  )


def _model_size():
  places = [
    Place(
      width,
      dataclasses.replace(_SIZES, width=width, rounds=3),
      Nature(easy=(0.3, 0.8), hard=(0.3, 0.8)),
    )
    for width in (16, 24, 32, 64, 128)
  ]
  return Diagram(
    question='What does a wider policy have from its checks?',
    xlabel='width of the policy; 0.7 to 5.6 thousand weights',
    places=places,
    arms={'k1.5': _K15},
    panels=[
      Panel(
        'accuracy', start, [Line('before RL', 'k1.5')], 'where RL starts'
      ),
      Panel('accuracy', final, [Line('after RL', 'k1.5')], 'where RL ends'),
      Panel(
        'accuracy per symbol', slope, [Line('slope', 'k1.5')],
        'gain per symbol written',
      ),
      Panel(
        'symbols', lambda c: float(c.symbols[-1]), [Line('length', 'k1.5')],
        'final length, at least 4',
      ),
    ],
    finding=(
      'Width 16 has no room for the facts and gains nothing, 24 half of what '
      'there is; from 32 on all start and end nearly alike: a threshold.'
    ),
  )  # fmt: skip


def _optimizer():
  slips = Nature(easy=(1.0, 1.0), hard=(1.0, 1.0), slip=0.15)
  one_epoch = (1, 1), (4, 1), (8, 1)
  series = {
    'facts and luck': (_SIZES, Nature(luck=0.4), one_epoch),
    'slips alone': (_SIZES, slips, one_epoch),
    # The second in four epochs of four updates.
    'coarse answer, P = 64': (_WALKS, _BELIEFS, ((4, 1), (4, 4))),
  }  # fmt: skip
  places = [
    Place(
      updates * epochs,
      dataclasses.replace(world, updates=updates, epochs=epochs),
      nature,
      name,
    )
    for name, (world, nature, shapes) in series.items()
    for updates, epochs in shapes
  ]
  # Few updates, and slips alone, bear a larger rate than other worlds.
  arms, rates = {}, {}
  for optimizer in learning.OPTIMIZERS:
    arms[optimizer] = _arm(optimizer=optimizer)
    arms[f'ReST, {optimizer}'] = _arm('rest', optimizer, tau=0.0)
    tried = SGD_RATES if optimizer == 'sgd' else (*ADAM_RATES, 8e-2)
    rates |= dict.fromkeys((optimizer, f'ReST, {optimizer}'), tried)
  names = {'kept': 'Adam kept', 'sgd': 'SGD', 'reset': 'Adam reset'}
  return Diagram(
    question='Does it pay to reset the optimizer at every iteration?',
    xlabel='updates in an iteration; 16: four epochs of four',
    places=places,
    arms=arms,
    panels=[
      *(
        Panel(
          'difference of mean accuracy',
          runs.area,
          [
            Line(f'reset minus {names[o]}', 'reset', o, name)
            for o in ('kept', 'sgd')
          ],
          f'k1.5; {name}',
        )
        for name in series
      ),
      *(
        Panel(
          'k1.5 minus ReST, mean accuracy',
          runs.area,
          [Line(names[o], o, f'ReST, {o}', name) for o in names],
          f'against ReST; {name}',
        )
        for name in series
      ),
    ],
    finding=(
      'The reset never pays here: kept moments are ahead by 0.02 to 0.10 '
      'from four updates on. Where slips alone are left, ReST leads k1.5 by '
      '0.10 with a reset Adam, by 0.02 to 0.05 with a kept one.'
    ),
    rates=rates,
  )


def _length_reward():
  weights = 0.0, 0.1, 0.3, 1.0
  places = [
    Place(
      rounds,
      dataclasses.replace(_SIZES, rounds=rounds),
      Nature(easy=(0.3, 0.8), hard=(0.3, 0.8), alarm=0.3),
    )
    for rounds in (2, 3, 4)
  ]
  arms = {f'weight {w:g}': _arm(length_weight=w) for w in weights}
  lines = [Line(name, name, 'weight 0') for name in list(arms)[1:]]
  return Diagram(
    question='What does the length reward cost where steps are checked?',
    xlabel='times that a chain may write a step',
    places=places,
    arms=arms,
    panels=[
      Panel(
        'symbols, minus weight 0', lambda c: float(c.symbols[-1]), lines,
        'final length',
      ),
      Panel('accuracy, minus weight 0', final, lines, 'final accuracy'),
    ],
    finding=(
      'A weight of 0.1 removes most of the repeated writing, 0.3 as much as '
      '1, and accuracy does not fall: what there is to learn is learnt by '
      'writing rightly at once.'
    ),
  )  # fmt: skip


DIAGRAMS = dict(
  negative_gradients=_negative_gradients(),
  curriculum=_curriculum(),
  priorities=_priorities(),
  tau=_tau(),
  model_size=_model_size(),
  optimizer=_optimizer(),
  length_reward=_length_reward(),
)
