"""Text and vision together, from random weights (Kimi k1.5, section 2 and B.4).

    python -m k15.main --config=experiments/vision.py --workdir=runs/vision

A language model learns to read and to answer texts; a tower learns in isolation
to show it pictures; then both learn together, the share of pictures rising to
30 % of the tokens.  Supervised fine-tuning teaches two habits as often: to say
first what is seen, and to answer at once.  Joint RL has to find out which one
pays.  At most 20 minutes on two cores; `:smoke` takes the same way in under a
minute and learns nothing.  `:whole` cools down and activates long context, with
pictures, before it is fine-tuned (2.5.1).  Every number here is NP.
"""

from experiments import arithmetic
from experiments import base
from experiments import whole_recipe

# One token each: what pictures show, and what is asked and said of them.
_SHAPES = 'circle', 'square', 'triangle', 'star', 'cross', 'diamond', 'ring'
_WORDS = (
  ' red', ' green', ' blue', ' orange', ' purple', ' black', ' .', ' /',
  *(f' {shape}' for shape in _SHAPES), *_SHAPES, 'see', 'read',
  'red', 'green', 'blue', 'orange', 'purple', 'black',
  *(f' {bar} ' for bar in 'abcdefg'), 'row', 'column', 'none',
  'how many', 'what is ', 'left of the', 'right of the', 'above the',
  'below the', 'between the', ' and the', 'which is highest',
  'difference of the largest two', 'solve the picture',
)  # fmt: skip
_DOMAINS = ('count', 'relation', 'chart', 'text')


def get_config(variant=''):
  config = base.get_config()
  config.stages = (
    'pretrain_text', 'pretrain_tower', 'pretrain_joint', 'sft', 'rl',
  )
  config.task.update(
    name='pictures', kinds=('add', 'subtract'), max_difficulty=0.2,
    train_problems=4096, held_out_problems=512, guess_rate=0.3,
  )
  words = arithmetic.get_config().tokenizer.words
  config.tokenizer.words = (*words, *_WORDS)
  config.policy.update(num_layers=3, logprob_chunk=4096)
  config.vision.update(
    enabled=True, domains=_DOMAINS, levels=(0,), min_pixels=256,
    max_pixels=4096,
  )
  config.vision.patch_buckets = (16, 32, 64)
  shared = dict(
    batch_tokens=2048, row_tokens=256, optimizer='muon', warmup_steps=30,
    log_every=25, packing='first_fit',
  )  # fmt: skip
  config.pretrain_text.update(
    **shared, steps=700, learning_rate=1e-2, end_learning_rate=3e-3
  )
  config.pretrain_tower.update(
    **shared, steps=900, learning_rate=1e-2, end_learning_rate=2e-3
  )
  # At the full rate, what the tower has learnt to show would be lost.
  config.pretrain_joint.update(
    **shared, num_examples=12000, steps=250, learning_rate=2e-3,
    end_learning_rate=1e-3,
  )
  config.sft.update(
    **shared, num_examples=20000, steps=600, learning_rate=5e-3,
    end_learning_rate=3e-4,
  )  # fmt: skip
  config.rl.update(
    iterations=48, problems_per_iteration=32, group_size=8,
    updates_per_iteration=4,
  )  # fmt: skip
  config.rollout.update(
    max_prompt_length=96, max_length=96, token_budget=96, num_slots=64,
    prefill_batch=32, tokens_per_call=16,
  )  # fmt: skip
  config.evaluation.every = 8
  config.optimizer.update(
    learning_rate=1e-4, muon_embeddings=True, micro_batch_rows=8
  )
  if variant == 'smoke':
    _smoke(config)
  elif variant == 'whole':
    _whole(config, shared)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke, :whole')
  return config


def _whole(config, shared):
  """Verified questions at a rate that ends at 0, then rows that grow."""
  *before, sft, rl = config.stages
  config.stages = (*before, 'cooldown', 'long_context', sft, rl)
  words = config.tokenizer.words
  config.tokenizer.words = (*words, *whole_recipe.WORDS, 'picture ')
  config.documents.update(
    number=8000, held_out_share=0.02, held_out_every=100, held_out_tokens=8192
  )
  keys = 'batch_tokens', 'optimizer', 'warmup_steps', 'log_every'
  shared = {key: shared[key] for key in keys}
  config.cooldown.update(
    **shared, image_share=0.3, row_tokens=256, steps=200, learning_rate=1e-3,
    end_learning_rate=0.0,
  )  # fmt: skip
  # An album of 512 tokens has some 10 pictures of 16 to 32 patches.
  config.vision.row_patches = 256
  config.long_context.update(
    **shared, image_share=0.3, lengths=(128, 256, 512), steps=300,
    learning_rate=1e-3, end_learning_rate=3e-4,
  )  # fmt: skip


def _smoke(config):
  base.smoke(config)
  config.policy.num_layers = 1
  config.vision.update(
    num_layers=1, width=32, num_heads=2, d_ff=32, mrope_section=(4, 2, 2)
  )
  for group in (
    config.pretrain_text, config.pretrain_tower, config.pretrain_joint,
    config.sft,
  ):  # fmt: skip
    group.update(num_examples=150, steps=4, batch_tokens=1024, warmup_steps=1)
  config.rl.iterations = 2
