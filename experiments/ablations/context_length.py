"""Figs. 5 and 6: accuracy and length rise together; longer is better.

    make reproduce FIGURE=context_length

Expected: with RL both rise; the slope of accuracy against tokens is positive;
a greater maximum length has a higher ceiling.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import scales


def _limits(*lengths):
  return {
    f'{n} tokens': {
      'rollout.max_length': n,
      'rollout.token_budget': min(n, 32768),
    }
    for n in lengths
  }


ARMS = _limits(32, 64, 160)
PAPER = _limits(8192, 32768, 130048)


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
