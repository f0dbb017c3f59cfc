"""A run of a policy that sees, so small that its stages take seconds.

One layer of width 16, and of the tower, on pictures of 4 x 4 patches and more.
"""

import small_run

CHANGES = dict(
  task__name='pictures',
  task__kinds=('add',),
  task__max_difficulty=0.0,
  task__train_problems=24,
  task__held_out_problems=8,
  vision__enabled=True,
  vision__min_pixels=256,
  vision__max_pixels=4096,
  vision__num_layers=1,
  vision__width=16,
  vision__num_heads=2,
  vision__d_ff=24,
  vision__mrope_section=(2, 1, 1),
  vision__domains=('count', 'text'),
  vision__levels=(0,),
  vision__patch_buckets=(16, 64),
  vision__row_patches=64,
  vision__cache_bytes=1 << 20,
  sft__packing='first_fit',
  sft__num_examples=24,
  sft__batch_tokens=384,
  sft__row_tokens=192,
  rollout__max_prompt_length=96,
  rollout__max_length=24,
)
READING = dict(
  packing='first_fit', num_examples=24, batch_tokens=384, row_tokens=192,
  steps=4, optimizer='adam', warmup_steps=1, log_every=1,
)  # fmt: skip


def changes_of(**changes):
  """Keys of `small_run.make_config`, the stages that read among them."""
  stages = ('pretrain_text', 'pretrain_tower', 'pretrain_joint')
  reading = {
    f'{stage}__{key}': x for stage in stages for key, x in READING.items()
  }
  return CHANGES | reading | changes


def make_context(folder, workdir='run', **changes):
  """A context of it in folder / workdir."""
  return small_run.make_context(folder, workdir, **changes_of(**changes))
