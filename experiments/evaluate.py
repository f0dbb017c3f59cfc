"""A model on MATH-500, GSM8K, HumanEval, contests, or problems of your own.

    python -m k15.main --config=experiments/evaluate.py --workdir=runs/eval \\
        --config.checkpoint=Qwen2.5-7B-Instruct \\
        --config.evaluation.sets="('math500:math500.json','gsm8k/test.jsonl')"

The checkpoint is a directory from the hub or the workdir of a run; the files
are as their authors publish them.  It prints a table and leaves results.json
and a record per response in runs/eval/evaluation; killed, it goes on where it
was.  Two of them are compared by `python -m k15.report.evaluations runs/a
runs/b`.

The paper (3.1, appendix C) publishes neither temperature nor the number of
samples, but that AIME's is "averaged over 8 runs" and a figure's title,
"temp_1.0"; hence temperature 1.  `:greedy` takes the likeliest token; `:smoke`
asks 4 problems of each set for 16 tokens, on a laptop.
"""

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  config.stages = ('evaluate',)
  config.task.name = 'file'  # its fields, where a set is your own
  config.reward.default = 'math_answers'
  config.policy.dtype = 'bfloat16'
  config.policy.scan_layers = True
  config.mesh.fsdp = -1
  config.rollout.num_slots = 256
  config.rollout.prefill_batch = 32
  config.rollout.max_prompt_length = 2048
  config.rollout.max_length = 8192
  config.evaluation.samples = 4
  config.evaluation.pass_at = (1, 4)
  if variant == 'greedy':
    config.evaluation.temperature = 0.0
    config.evaluation.samples = 1
  elif variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there are :greedy, :smoke')
  return config


def _smoke(config):
  base.smoke(config)
  config.rollout.update(max_length=16, token_budget=16)
  config.evaluation.update(samples=2, pass_at=(1, 2), problems=4)
