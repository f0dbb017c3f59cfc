"""SFT and RL on programs, judged by tests in a sandbox.

    python -m k15.main --config=experiments/code.py --workdir=runs/code

`code_problems.jsonl`, beside this page, holds 96 small problems written for
this, MBPP's in kind: a sentence, and calls of the function it asks for.  MBPP
itself becomes such a file by

    python -m k15.rewards.code.datasets mbpp.jsonl mbpp_problems.jsonl

and --config.task.train_path=mbpp_problems.jsonl.  A byte policy from scratch
learns the shipped ones in SFT (0.97 of those it trains on, 0.62 of the held
out), and RL keeps that; from a weaker start (100 steps of SFT: 0.20) RL loses
ground instead.  `:smoke` runs every stage and learns nothing.
"""

import pathlib

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  config.task.name = 'file'
  config.task.train_path = str(
    pathlib.Path(__file__).parent / 'code_problems.jsonl'
  )
  config.task.held_out_problems = 16
  config.reward.default = 'code_tests'
  config.sft.steps = 150
  config.sft.batch_tokens = 4096
  config.rl.iterations = 20
  config.rl.problems_per_iteration = 16
  config.optimizer.learning_rate = 1e-4
  config.rollout.num_slots = 64
  config.rollout.prefill_batch = 16
  config.rollout.max_length = 96
  config.rollout.token_budget = 96
  config.optimizer.micro_batch_rows = 8
  if variant == 'smoke':
    base.smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config
