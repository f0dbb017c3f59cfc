"""The models that see and have learnt to answer, which `vision` begins with.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_vision.py:cpu \\
        --root=runs/reproduce/warm_up_vision

All stages of `experiments/vision.py` before RL.  `make reproduce` runs it
first.  Cost: six runs of ten minutes on one core.
"""

from experiments import sweeps
from experiments import vision
from experiments.ablations import scales


def get_config(variant='cpu'):
  config = vision.get_config('smoke' if variant == 'smoke' else '')
  config.stages = config.stages[: config.stages.index('rl')]
  return config


def sweep(variant='cpu'):
  del variant
  return sweeps.seeds(scales.SEEDS + len(scales.TUNING_SEEDS))
