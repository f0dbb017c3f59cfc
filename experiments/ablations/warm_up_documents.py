"""Base models of `long_context`: pretraining and cooldown.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_documents.py:cpu \\
        --root=runs/reproduce/warm_up_documents

The first two stages of `experiments/whole_recipe.py`, in rows of 64 tokens.
`make reproduce` runs it first.  Cost: five minutes of a core for each seed.
"""

from experiments import pod
from experiments import whole_recipe
from experiments.ablations import scales


def get_config(variant='cpu', stages=('pretrain', 'cooldown')):
  if variant == 'paper':
    config = pod.get_config('qwen25_7b_128k')
  else:
    config = whole_recipe.get_config('smoke' if variant == 'smoke' else '')
  if variant in scales.CPU:
    config.task.update(train_problems=64, held_out_problems=64)
    config.evaluation.samples = 1
  config.stages = stages
  return config


sweep = scales.warm_up_sweep
