"""Mirror descent of k1.5 against GRPO of DeepSeek-R1.

    make reproduce FIGURE=grpo

Expected: no paper compares them; both should learn alike.  Cost: 10 runs of
40 s.
"""

from experiments.ablations import scales

ARMS = {
  'mirror descent': {'loss.method': 'mirror_descent', scales.RATE: 2e-4},
  'GRPO': {'loss.method': 'grpo', scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
