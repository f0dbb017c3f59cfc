"""Figs. 5 and 6 again, where what is longer has been checked and gone over.

    make reproduce FIGURE=context_length_walks

As `context_length`, on walks whose answers are places, which no guess finds:
room for no check, for one round with all its checks, and for more.  Expected:
with RL accuracy and tokens rise together, and more room has a higher ceiling.
Cost: 15 runs of two minutes.
"""

import dataclasses

from experiments.ablations import context_length
from experiments.ablations import scales
from experiments.ablations import walks

# A round without checks has 11 tokens with its answer, a check has two more; of
# single rounds with all checks nine in ten have at most 37.
ARMS = {
  label: arm | {scales.RATE: 1.5e-4 if label == '128 tokens' else 3e-4}
  for label, arm in context_length.limits(12, 40, 128).items()
}
CLAIM = dataclasses.replace(
  context_length.CLAIM,
  question='Do accuracy and length rise together where checks and rounds pay?',
)
OUTCOME = (
  'RL unlearns the wrong facts themselves: one round without checks comes to'
  ' 0.93. More room is ahead at first; then one of five runs loses it'
)


def get_config(variant='cpu'):
  return walks.get_config(variant, 'search')


def sweep(variant='cpu'):
  return walks.sweep(
    ARMS, variant, context_length.PAPER, 'search', rates=walks.SEARCH_RATES
  )
