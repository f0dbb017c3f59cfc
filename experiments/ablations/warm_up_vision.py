"""The models that see and have learnt to answer, which `vision` begins with.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_vision.py:cpu \\
        --root=runs/reproduce/warm_up_vision

All stages of `experiments/vision.py` before RL.  `make reproduce` runs it
first.  Cost: ten minutes of a core for each seed.
"""

from experiments import vision
from experiments.ablations import scales

_STEPS = dict(
  pretrain_text=350, pretrain_tower=450, pretrain_joint=150, sft=300
)  # fmt: skip


def get_config(variant='cpu'):
  config = vision.get_config('smoke' if variant == 'smoke' else '')
  config.stages = config.stages[: config.stages.index('rl')]
  # Half of the steps end with 0.59 of the pictures right, in the mean of five
  # seeds, all with 0.69: both habits are there, and RL has what to choose from.
  if variant != 'smoke':
    for name, steps in _STEPS.items():
      config[name].steps = steps
  return config


sweep = scales.warm_up_sweep
