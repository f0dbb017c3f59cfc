"""Kimi k1.5 from its first document to a short-CoT model (section 2, whole).

    python -m k15.main --config=experiments/whole_recipe.py \\
        --workdir=runs/whole

A random policy of 0.64 million weights learns documents of the arithmetic
family, then verified questions among them, then longer and longer rows with
another base of the rotary positions (2.5.1); from there on the stages are those
of `experiments/recipe.py`.  Each is followed by an evaluation on the held-out
problems, and the report shows the way of the model through all of them.

`:smoke` takes the same way with a smaller policy, and learns little.
"""

from experiments import recipe

# One token each: what documents have beside problems and solutions.
WORDS = (
  'note ', 'table ', ' and ', ' times ', ' less ', ' is ', ' follows.',
  'even', 'odd', ' = ',
)  # fmt: skip


def get_config(variant=''):
  config = recipe.get_config(variant)
  config.stages = ('pretrain', 'cooldown', 'long_context', *config.stages)
  config.tokenizer.words = (*config.tokenizer.words, *WORDS)
  config.documents.update(
    number=12000, held_out_share=0.02, held_out_every=100, held_out_tokens=8192
  )
  shared = dict(
    batch_tokens=2048, optimizer='muon', warmup_steps=20, log_every=20
  )
  config.pretrain.update(
    **shared, row_tokens=64, steps=800, learning_rate=1e-2,
    end_learning_rate=3e-3,
    weights=('equations:2', 'prose:1', 'tables:1', 'notes:1'),
  )  # fmt: skip
  # Questions are a quarter of what there is, and more of what is learnt.
  weights = 'qa:3', 'equations:1', 'prose:1', 'tables:1', 'notes:1'
  config.cooldown.update(
    **shared, row_tokens=64, steps=400, learning_rate=3e-3,
    end_learning_rate=1e-3, weights=weights,
  )  # fmt: skip
  config.long_context.update(
    **shared, lengths=(64, 128, 256), steps=300, learning_rate=3e-3,
    end_learning_rate=1e-3, weights=weights,
  )  # fmt: skip
  # Of the 2,800 steps of the warm-up from random weights.
  config.sft.update(steps=1200, learning_rate=5e-3)
  if variant == 'smoke':
    _smoke(config)
  return config


def _smoke(config):
  config.sft.update(steps=400, warmup_steps=5)
  config.documents.update(number=600, held_out_every=4, held_out_tokens=1024)
  for group in (config.pretrain, config.cooldown, config.long_context):
    group.update(steps=8, batch_tokens=1024, warmup_steps=2, log_every=2)
  config.long_context.update(steps=6, needles=4)
