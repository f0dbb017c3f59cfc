"""The models that see and have learnt to answer, which `vision` begins with.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_vision.py:cpu \\
        --root=runs/reproduce/warm_up_vision

All stages of `experiments/vision.py` before RL.  `make reproduce` runs it
first.  Cost: ten minutes of a core for each seed.
"""

from experiments import vision
from experiments.ablations import scales


def get_config(variant='cpu'):
  config = vision.get_config('smoke' if variant == 'smoke' else '')
  config.stages = config.stages[: config.stages.index('rl')]
  return config


sweep = scales.warm_up_sweep
