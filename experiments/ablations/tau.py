"""How strongly each iteration is held to its first policy, tau of eq. 3.

    make reproduce FIGURE=tau

Expected: without it updates go astray at high learning rates, a strong one
learns slowly.  Not in the paper, nor is its tau.  Cost: 20 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'none': {'loss.method': 'reinforce', scales.RATE: 2e-4},
  'tau 0.1': {'loss.tau': 0.1, scales.RATE: 2e-4},
  'tau 0.4': {'loss.tau': 0.4, scales.RATE: 2e-4},
  'tau 1.6': {'loss.tau': 1.6, scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
