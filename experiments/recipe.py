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
  # Held-out problems have the templates of all others, and other numbers.
  config.curation.variant_similarity = 0.0
  # The habit of guessing begins so: no room is left to work anything out.
  config.curation.guess_suffix = '\n'
  config.curation.guess_prefix = 'guess\n#### '
  config.curation.guess_max_length = 8
  config.long_cot.batch_tokens = 2048
  config.long_cot.learning_rate = 1e-4
  config.long_cot.end_learning_rate = 1e-5
  config.long_cot_examples.prompt = 'plain'
  config.long_cot_examples.samples = 4
  config.long_cot_examples.problems = 512
  config.long_cot_examples.least_processes = 2
  config.short_rl.iterations = 12
  config.evaluation.samples = 4
  config.evaluation.pass_at = (1, 4)
  if variant == 'smoke':
    _smoke(config)
  return config


def _smoke(config):
  # Problems so small that the policy is sometimes right within seconds.
  config.task.kinds = ('multiply',)
  config.task.max_difficulty = 0.0
  config.task.train_problems = 64
  config.sft.num_examples = 2000
  config.sft.steps = 400
  config.sft.warmup_steps = 5
  config.curation.samples = 2
  config.curation.guesses = 1
  config.long_cot.epochs = 1
  config.long_cot.warmup_steps = 0
  config.long_cot_examples.least_processes = 0
  config.rl.iterations = 2
  config.short_rl.iterations = 1
  config.short_rl.max_length = 32
