"""The long-CoT warm-up of Kimi k1.5 (2.2), alone.

    python -m k15.main --config=experiments/long_cot.py --workdir=runs/cot \\
        --config.checkpoint=Qwen2.5-7B-Instruct \\
        --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

The checkpoint answers the RL problems, asked to plan, evaluate, reflect and
explore; what is verified and does so is what it then learns as its answer to
the plain problem.  Another model writes instead where a server is named:
--config.long_cot_examples.server=http://host:8000/v1 with server_model.  The
examples are in WORKDIR/long_cot/examples.jsonl, and how they came about in
funnel.json.

`:arithmetic` needs no checkpoint: a small policy learns the generated traces of
the arithmetic family, samples in its own way, and learns from those of its
searches that are right, in which it noticed a slip.  `:smoke` is the same in a
minute, and keeps whatever is right.
"""

from experiments import arithmetic
from experiments import math


def get_config(variant=''):
  if variant in ('arithmetic', 'smoke'):
    return _arithmetic(variant)
  config = math.get_config(variant)
  config.stages = ('long_cot',)
  config.rollout.max_prompt_length = 2048  # the engineered prompt is longer
  return config


def _arithmetic(variant):
  is_smoke = variant == 'smoke'
  config = arithmetic.get_config('smoke' if is_smoke else '')
  config.stages = ('sft', 'long_cot')
  config.task.slip_rate = 0.1
  config.task.guess_rate = 0.2
  config.long_cot.batch_tokens = 2048
  config.long_cot.learning_rate = 1e-3
  config.long_cot.end_learning_rate = 1e-4
  config.long_cot_examples.prompt = 'plain'
  config.long_cot_examples.samples = 4
  config.long_cot_examples.problems = 1024
  if is_smoke:
    # Problems and policy so small that it is sometimes right within seconds.
    config.task.kinds = ('multiply',)
    config.task.max_difficulty = 0.0
    config.sft.num_examples = 2000
    config.sft.steps = 400
    config.sft.warmup_steps = 5
    config.long_cot.epochs = 1
    config.long_cot.warmup_steps = 0
    config.long_cot_examples.problems = 32
    config.long_cot_examples.least_processes = 0
  return config
