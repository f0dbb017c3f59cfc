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
  config.task.update(slip_rate=0.1, guess_rate=0.2)
  config.long_cot.update(
    batch_tokens=2048, learning_rate=1e-3, end_learning_rate=1e-4
  )
  config.long_cot_examples.update(prompt='plain', samples=4, problems=1024)
  if is_smoke:
    arithmetic.smoke_with_right_answers(config)
    config.long_cot_examples.problems = 32
  return config
