"""Kimi k1.5's reinforcement learning on competition mathematics (2.3 to 2.6).

    python -m k15.main --config=experiments/math.py --workdir=runs/math \\
        --config.checkpoint=Qwen2.5-7B-Instruct \\
        --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

The checkpoint is a directory from the hub: Qwen2 and 2.5, Qwen3, Llama 3.  The
files have MATH's fields; GSM8K's run with --config.task.prompt_field=question.
Sizes and layout are for a 7B policy on 64 chips; what they cost is said by

    python -m launch.plan --config=experiments/math.py --topology=v5p:4x4x4 \\
        --config.checkpoint=Qwen2.5-7B-Instruct

and `experiments/pod.py` has larger ones.  What the paper does
not publish is taken from its team's later reports where they say it: 1,000
problems of 8 responses, tau 0.4, a constant learning rate of 2e-6
(Kimina-Prover), 5 updates an iteration (Kimi-Dev).

`:smoke` runs the same on a laptop, for a checkpoint of a few thousand weights.
"""

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  config.stages = ('rl',)
  set_task(config)
  config.policy.dtype = 'bfloat16'
  config.policy.scan_layers = True
  config.policy.remat = 'full'
  config.policy.cache_block = 4096
  config.mesh.fsdp = 64
  config.rl.iterations = 200
  config.rl.problems_per_iteration = 1000
  config.rl.updates_per_iteration = 5
  config.rollout.mesh = (16, 1, 4)  # heads over 4 chips, 16 replicas
  config.rollout.dtype = 'bfloat16'
  config.rollout.num_slots = 512
  config.rollout.prefill_batch = 16
  config.rollout.tokens_per_call = 128
  config.rollout.max_prompt_length = 1024
  config.rollout.max_length = 32768 - 1024
  config.rollout.token_budget = 8192
  config.loss.tau = 0.4
  config.optimizer.learning_rate = 2e-6
  config.optimizer.micro_batch_rows = 64
  config.length_reward.start_iteration = 100
  config.length_reward.weight = 0.2
  config.problem_sampler.strategy = 'prioritized'
  config.evaluation.every = 20
  if variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def set_task(config):
  """Competition mathematics, in files with MATH's fields."""
  config.task.name = 'file'
  config.task.prompt_field = 'problem'
  config.task.domain_field = 'type'
  config.task.hardest = 10.0
  config.task.drop_unusable = True
  config.task.prompt_suffix = (
    '\n\nReason step by step, and put the final answer in \\boxed{}.'
  )
  config.task.train_problems = 1 << 20  # all there are
  config.task.held_out_problems = 500
  config.reward.default = 'math_answers'


def _smoke(config):
  base.smoke(config)
  config.task.held_out_problems = 8
  config.rollout.update(max_prompt_length=256, max_length=32, token_budget=16)
  config.saving.every_iterations = 1
