"""Kimi k1.5's recipe whole, from raw prompts to a short-CoT model (section 2).

    python -m k15.main --config=experiments/recipe.py --workdir=runs/recipe

A small policy learns the traces of the arithmetic family (2.5.2); then the
prompt set is curated, with its own pass rates and guesses (2.1); it learns from
its verified searches (2.2); reinforcement learning (2.3), long2short RL (2.4)
and an evaluation follow.  The report shows each stage, and the way of the model
through all of them.  About 20 minutes on two cores; `:smoke` takes two.

With a checkpoint from the hub the same stages take their settings from
`experiments/sft.py`, `curate.py`, `long_cot.py` and `math.py`.
"""

from experiments import arithmetic


def get_config(variant=''):
  if variant not in ('', 'smoke'):
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  config = arithmetic.get_config(variant)
  config.stages = ('sft', 'curate', 'long_cot', 'rl', 'short_rl', 'evaluate')
  config.task.train_problems = 512
  arithmetic.set_guesses(config)
  config.long_cot.update(
    batch_tokens=2048, learning_rate=1e-4, end_learning_rate=1e-5
  )
  config.long_cot_examples.update(
    prompt='plain', samples=4, problems=512, least_processes=2
  )
  config.short_rl.iterations = 12
  config.evaluation.update(samples=4, pass_at=(1, 4))
  if variant == 'smoke':
    _smoke(config)
  return config


def _smoke(config):
  arithmetic.smoke_with_right_answers(config)
  config.task.train_problems = 64
  config.curation.update(samples=2, guesses=1)
  config.rl.iterations = 2
  config.short_rl.update(iterations=1, max_length=32)
