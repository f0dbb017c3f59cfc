"""Fig. 10: the whole loss against ReST, which has no negative gradients.

    make reproduce FIGURE=negative_gradients

Expected: far fewer samples for the same accuracy with negative gradients.  ReST
fits the best response of each group; 'positive only' is the k1.5 loss without
its responses below the baseline.  Cost: 15 runs of 40 s.
"""

from experiments.ablations import scales

ARMS = {
  'k1.5': {'loss.method': 'mirror_descent', scales.RATE: 2e-4},
  'ReST': {'loss.method': 'rest', scales.RATE: 2e-4},
  'positive only': {'loss.negative_gradients': 'drop', scales.RATE: 2e-4},
}


def get_config(variant='cpu'):
  return scales.get_config(variant)


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant)
