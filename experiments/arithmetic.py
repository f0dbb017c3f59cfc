"""Warm-up, then RL, of a small policy on exact integer reasoning.

    python -m k15.main --config=experiments/arithmetic.py \\
        --workdir=runs/arithmetic

`:smoke` runs the same stages end to end in under a minute and learns nothing.
"""

from experiments import base

# One token each: the writer's phrases, and the numbers inside steps.
_WORDS = (
  'plan ', 'columns\n', 'digits\n', 'search\n', 'try ', 'check ', ' wait ',
  ' so ', ' want ', 'guess\n', 'give up\n', ' yes\n', ' no\n', '\n#### ',
  '#### ', 'make ', ' from ', 'pay ', ' with ', 'find x: x/', ', x/', ' r',
  *(str(number) for number in range(100)),
)  # fmt: skip


def get_config(variant=''):
  config = base.get_config()
  config.tokenizer.words = _WORDS
  config.policy.num_layers = 3
  config.policy.logprob_chunk = 4096
  config.task.give_up_rate = 0.2
  config.sft.num_examples = 60000
  config.sft.steps = 2200
  config.sft.batch_tokens = 2048
  config.rl.iterations = 36
  config.optimizer.learning_rate = 1e-4
  config.rollout.max_prompt_length = 24
  config.rollout.max_length = 256
  config.rollout.token_budget = 128
  config.rollout.num_slots = 64
  config.rollout.tokens_per_call = 32
  config.rollout.prefill_batch = 32
  config.optimizer.micro_batch_rows = 8
  if variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def _smoke(config):
  config.task.train_problems = 64
  config.task.held_out_problems = 16
  base.make_policy_tiny(config)
  config.sft.num_examples = 200
  config.sft.steps = 10
  config.sft.batch_tokens = 1024
  config.sft.warmup_steps = 2
  config.rl.iterations = 4
  config.rl.problems_per_iteration = 4
  config.rl.group_size = 2
  config.rl.updates_per_iteration = 2
  config.rollout.num_slots = 8
  config.rollout.tokens_per_call = 8
  config.rollout.max_length = 64
  config.rollout.token_budget = 24
  config.rollout.prefill_batch = 4
  config.optimizer.micro_batch_rows = 4
  config.saving.every_iterations = 2
  config.saving.every_sft_steps = 5
