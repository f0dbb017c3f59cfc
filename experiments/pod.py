"""Kimi k1.5's recipe for Qwen2.5 policies on slices of TPU v5p, to plan for.

    python -m launch.plan --config=experiments/pod.py:qwen25_7b_32k \\
        --topology=v5p:4x4x4

Rows of 32k or 128k tokens, prompts included.  Training splits parameters over
all chips and long rows over `context`; the rollout splits heads over `tensor`.
There are no weights here: `experiments/math.py` takes real ones.
"""

from experiments import base
from experiments import shapes

# fsdp and context of training, chips of a rollout replica, slots.
_LAYOUTS = {
  'qwen25_7b_32k': (64, 1, 4, 512),  # v5p:4x4x4
  'qwen25_7b_128k': (8, 8, 4, 256),  # v5p:4x4x4
  'qwen25_32b_32k': (64, 1, 8, 256),  # v5p:4x4x4
  'qwen25_32b_128k': (16, 8, 8, 128),  # v5p:4x4x8
  'qwen25_72b_32k': (64, 4, 8, 512),  # v5p:4x8x8
  'qwen25_72b_128k': (32, 16, 8, 256),  # v5p:8x8x8
}


def get_config(variant='qwen25_7b_32k'):
  if variant not in _LAYOUTS:
    raise ValueError(f'unknown variant {variant!r}; there are {list(_LAYOUTS)}')
  model, _, length = variant.rpartition('_')
  fsdp, context, tensor, slots = _LAYOUTS[variant]
  columns = dict(zip(('32k', '128k'), (32768, 131072), strict=True))[length]
  config = base.get_config()
  config.stages = ('rl',)
  shapes.SHAPES[model](config.policy)
  config.policy.dtype = 'bfloat16'
  config.policy.scan_layers = True
  config.policy.remat = 'full'
  config.policy.cache_block = columns // 8
  config.mesh.fsdp = fsdp
  config.mesh.context = context
  # Devices that share long rows share parameters and moments too.
  config.mesh.rules = ('embed:fsdp+context',)
  config.rl.problems_per_iteration = 128
  config.rollout.mesh = (fsdp * context // tensor, 1, tensor)
  config.rollout.dtype = 'bfloat16'
  config.rollout.num_slots = slots
  config.rollout.prefill_batch = fsdp * context // tensor
  config.rollout.tokens_per_call = 128
  config.rollout.max_prompt_length = 1024
  config.rollout.max_length = columns - 1024
  config.rollout.token_budget = columns // 4
  config.optimizer.micro_batch_rows = fsdp
  config.optimizer.learning_rate = 2e-6
  config.sft.batch_tokens = columns
  return config
