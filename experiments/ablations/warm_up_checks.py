"""Warm-ups that teach to think longer than one has to.

    python -m launch.local --sweep --root=runs/reproduce/warm_up_checks \\
        --config=experiments/ablations/warm_up_checks.py:cpu --parallel=2

As `warm_up`, with divisions whose right results are checked again most of the
time, for the length penalty, which needs something to shorten.  `make
reproduce` runs it first.  Cost: a minute of a core for each seed.
"""

from experiments.ablations import scales


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  scales.set_checks(config)
  config.stages = ('sft',)
  return config


sweep = scales.warm_up_sweep
