"""Teachers of `distill`: larger models after RL, and what they got right.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_teacher.py:cpu \\
        --root=runs/reproduce/warm_up_teacher

Four layers instead of two learn the warm-up and plain RL; their right responses
are in rejection_sft/examples.jsonl of each run.  `make reproduce` runs it
first.  Cost: six minutes of a core for each seed.
"""

from experiments.ablations import scales


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  config.stages = ('sft', 'rl', 'rejection_sft')
  config.policy.num_layers = 4
  config.rejection_sft.update(
    epochs=1, batch_tokens=2048, warmup_steps=1, samples=4
  )
  return config


sweep = scales.warm_up_sweep
