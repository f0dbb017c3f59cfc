"""The second task of the ablations: walks over facts that are believed wrongly.

In the arithmetic of `scales` a single right response tells a good habit from a
bad one, as no wrong habit is ever right.  Here each of 80 facts has a
misconception of its own, fluent and often harmless (`k15/data/facts/`), so that
right responses carry wrong steps, hard problems take what easy ones take, and
what a policy believes is many small things instead of one.

Kinds: '' for negative gradients, baselines and the trust region; 'curriculum',
easy and hard problems; 'search', longer responses that check and go round
again.  Scales are those of `scales`; `:cpu` takes two minutes of a core a run.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import facts
from experiments.ablations import scales

RATES = (1.5e-4, 3e-4, 6e-4)  # tried for each arm
# Of 'search', whose responses are longer.
SEARCH_RATES = (7.5e-5, 1.5e-4, 3e-4)


def get_config(variant='cpu', kind=''):
  """The config that all arms change, at a scale of `scales`."""
  if variant in scales.CPU:
    config = facts.get_config(kind)
    config.stages = ('rl',)
    if variant == 'cpu':
      scales.set_last(config)
    return config
  if variant == 'smoke':
    config = facts.get_config('smoke')
    config.rl.iterations = 2
    config.evaluation.every = 1
    return config
  return scales.get_config(variant)


def set_habits(config, check_rate, again_rate):
  """SFT that changes how often a model checks and goes round, for siblings.

  The facts stay, and so do most weights: the mean of two models that are far
  apart would be none.
  """
  config.facts.update(check_rate=check_rate, again_rate=again_rate)
  config.sft.update(steps=100, learning_rate=1e-3, end_learning_rate=1e-4)


def sweep(
  arms: Mapping[str, Mapping[str, Any]],
  variant: str,
  paper: Mapping[str, Mapping[str, Any]] | None = None,
  kind: str = '',
  count: int = scales.SEEDS,
  rates: Sequence[float] = RATES,
) -> Iterator[dict[str, Any]]:
  """All arms with all seeds of a scale, see `scales.sweep`."""
  warm_up = f'warm_up_{kind or "facts"}'
  return scales.sweep(
    arms, variant, paper, warm_up=warm_up, count=count, rates=rates
  )
