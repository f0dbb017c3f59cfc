"""Reinforcement learning on geometry with pictures, from a model of the hub.

    python -m k15.main --config=experiments/geometry.py --workdir=runs/geo \\
        --config.checkpoint=Qwen2.5-VL-7B-Instruct \\
        --config.task.train_path=geometry3k/train.parquet \\
        --config.task.held_out_path=geometry3k/test.parquet

The checkpoint is a directory from the hub, Qwen2.5-VL, Qwen2-VL or Qwen3-VL;
the files are those of hiyouga/geometry3k, with rows of `images`, `problem` and
`answer`.  Sizes are for 7B on 8 chips:

    python -m launch.plan --config=experiments/geometry.py --topology=v5p:2x2x2

On a node of 8 GPUs of 80 GB, the layout is the same and nothing was tried.

k1.5 publishes none of them.  From verl's example for this model and set
(examples/grpo_trainer/run_qwen2_5_vl-7b.sh) are 512 problems of 5 responses,
4 updates an iteration, 2,048 tokens of a response, 1e-6 and 15 epochs; a
picture has 1,280 tokens at most, as the model's card advises; tau is
Kimina-Prover's.  What is left is NP.

`:smoke` runs the same on a laptop, for a checkpoint of a few thousand weights.
"""

from experiments import base
from experiments import math
from experiments import shapes

_TOKENS = 1280  # of a picture: 2 x 2 patches of 14 x 14 pixels each


def get_config(variant=''):
  config = base.get_config()
  config.stages = ('rl',)
  shapes.qwen25_vl_7b(config)  # To plan with; a checkpoint has its own.
  math.set_task(config)
  config.task.held_out_problems = 601  # of its test split, all
  config.vision.update(
    max_pixels=_TOKENS * 28 * 28, patch_buckets=(1280, 2560, 4 * _TOKENS),
    row_patches=8192, cache_bytes=1 << 30,
  )  # fmt: skip
  config.policy.dtype = 'bfloat16'
  config.policy.scan_layers = True
  config.policy.remat = 'full'
  config.policy.cache_block = 512
  config.mesh.fsdp = 8
  config.rl.iterations = 62  # 15 passes over 2,101 problems
  config.rl.problems_per_iteration = 512
  config.rl.group_size = 5
  config.rl.updates_per_iteration = 4
  config.rollout.mesh = (4, 1, 2)  # heads over 2 chips, 4 replicas
  config.rollout.dtype = 'bfloat16'
  config.rollout.num_slots = 512
  config.rollout.prefill_batch = 16
  config.rollout.tokens_per_call = 128
  config.rollout.max_prompt_length = _TOKENS + 256
  config.rollout.max_length = 2048
  config.rollout.token_budget = 1024
  config.loss.tau = 0.4
  config.optimizer.learning_rate = 1e-6
  config.optimizer.micro_batch_rows = 8
  config.problem_sampler.strategy = 'prioritized'
  config.evaluation.every = 5
  if variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def _smoke(config):
  base.smoke(config)
  config.rl.iterations = 2
  config.task.held_out_problems = 8
  config.vision.update(
    min_pixels=0, max_pixels=4096, patch_buckets=(256,), row_patches=512
  )
  config.rollout.update(max_prompt_length=384, max_length=32, token_budget=16)
  config.saving.every_iterations = 1
