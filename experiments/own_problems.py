"""SFT and RL on a file of your own problems, with a byte policy from scratch.

    python -m k15.main --config=experiments/own_problems.py \\
        --workdir=runs/own --config.task.train_path=problems.jsonl

Each row has a `prompt` and an `answer`; SFT learns from the rows that have a
worked `response` too, which ends with '#### ' and the answer.  The field names
are keys: GSM8K's file runs with --config.task.prompt_field=question
--config.task.response_field=answer.  Without responses, leave SFT out by
--config.stages="('rl',)".
"""

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  config.task.name = 'file'
  config.sft.batch_tokens = 16384
  config.rollout.num_slots = 32
  config.rollout.max_prompt_length = 1024  # bytes
  config.rollout.max_length = 1024
  config.rollout.token_budget = 512
  config.optimizer.micro_batch_rows = 2
  if variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def _smoke(config):
  base.smoke(config)
  # A row is a prompt of 1,024 bytes and a response.
  config.sft.update(steps=4, warmup_steps=1, batch_tokens=4096)
  config.saving.update(every_iterations=1, every_sft_steps=2)
