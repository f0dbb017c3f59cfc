"""Shapes to plan for: Qwen2.5 policies on TPU slices.

    python -m launch.plan --config=experiments/pod.py:qwen25_7b \\
        --topology=v5p:4x4x4
"""

from experiments import base
from experiments import shapes


def get_config(variant='qwen25_7b'):
  config = base.get_config()
  config.stages = ('rl',)
  config.policy.update(
    dtype='bfloat16', scan_layers=True, remat='full', cache_block=8192
  )
  config.mesh.update(data=1, fsdp=-1, tensor=4)
  config.rollout.update(
    max_prompt_length=1024,
    max_length=32768 - 1024,
    token_budget=16384,
    num_slots=64,
    prefill_batch=16,
    repetition_max_period=32,
  )
  config.optimizer.update(micro_batch_rows=16, learning_rate=1e-6)
  config.sft.batch_tokens = 32768
  if variant == 'qwen25_7b':
    shapes.qwen25_7b(config.policy)
  elif variant == 'qwen25_32b':
    shapes.qwen25_32b(config.policy)
  elif variant == 'qwen25_72b':
    shapes.qwen25_72b(config.policy)
  return config
