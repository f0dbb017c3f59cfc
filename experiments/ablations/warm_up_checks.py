"""A warm-up that thinks longer than it has to: for the length penalty.

    python -m launch.local --sweep --root=runs/reproduce/warm_up_checks \\
        --config=experiments/ablations/warm_up_checks.py:cpu --parallel=2

As `warm_up`, with divisions whose right results are checked again most of the
time.  `make reproduce` runs it first.  Cost: six runs of two and a half minutes
on one core.
"""

from experiments import sweeps
from experiments.ablations import scales


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  scales.set_checks(config)
  config.stages = ('sft',)
  return config


def sweep(variant='cpu'):
  del variant
  return sweeps.seeds(scales.SEEDS + len(scales.TUNING_SEEDS))
