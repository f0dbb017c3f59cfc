"""Test cases for contest problems that have none: Kimi k1.5, section 2.3.5.

    python -m k15.stages.contest_tests --config=experiments/test_cases.py \\
        --workdir=runs/tests --problems=contest.jsonl \\
        --config.checkpoint=DIRECTORY

A row of the file has `id`, `statement` and `submissions`, at least ten accepted
programs as objects of `language` and `source`; with `needs_special_judge` it is
left out.  A server writes in place of the checkpoint with
--config.long_cot_examples.server=http://host:port/v1 and `server_model`.  The
table says how many problems are left after each step, beside the paper's
1000, 614, 463 and 323; runs/tests/problems.jsonl is a file to train on with
--config.reward.default=code_tests.
"""

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  if variant:
    raise ValueError(f'unknown variant {variant!r}; there is none')
  # No stage runs, and no problem of these is asked.
  config.task.update(train_problems=64, held_out_problems=16)
  config.policy.dtype = 'bfloat16'
  config.policy.scan_layers = True
  config.mesh.fsdp = -1
  config.rollout.num_slots = 64
  config.rollout.prefill_batch = 16
  config.rollout.max_prompt_length = 4096
  config.rollout.max_length = 8192
  config.rollout.token_budget = 8192
  config.sft.batch_tokens = 1 << 14  # room for a row, as of every config
  return config
