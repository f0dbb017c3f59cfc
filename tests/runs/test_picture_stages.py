"""All stages of a policy that sees, in one run on pictures, to the report.

It learns nothing: what is tried is that pictures come through, and are found
again by their names.
"""

import json
import shutil

import jax
import pytest
import small_talks
import thorough

from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import checks
from k15.data import token_store
from k15.rewards.verdict import Verdict

TRAINED = (
  'sft', 'long_cot', 'rl', 'rejection_sft', 'shortest', 'dpo', 'short_rl',
)  # fmt: skip
STAGES = ('sft', 'curate', *TRAINED[1:], 'evaluate')
SUPERVISED = dict(
  packing='first_fit', steps=1, epochs=0, batch_tokens=96, row_tokens=96,
  warmup_steps=0, optimizer='adam',
)  # fmt: skip
CHANGES = dict(
  stages=STAGES,
  task__name='pictures',
  task__train_path='',
  task__kinds=('add',),
  task__train_problems=16,
  task__held_out_problems=4,
  vision__domains=('count', 'text'),
  vision__levels=(0,),
  vision__max_pixels=1024,
  vision__patch_buckets=(16,),
  curation__samples=1,
  curation__guesses=1,
  curation__max_pass_rate=1.0,
  curation__guess_max_length=2,
  rollout__max_prompt_length=64,
  rollout__max_length=12,
  rollout__token_budget=12,
  rl__iterations=1,
  long_cot_examples__prompt='plain',
  long_cot_examples__least_processes=0,
  long_cot_examples__problems=4,
  long_cot_examples__samples=4,
  rejection_sft__problems=4,
  rejection_sft__samples=4,
  long2short__problems=6,
  long2short__samples=4,
  dpo__steps=1,
  dpo__batch_pairs=4,
  dpo__warmup_steps=0,
  short_rl__iterations=1,
  short_rl__max_length=10,
)


def _even(response, reference):
  """Right is any text of an even number of characters."""
  said = response.strip()
  return Verdict('correct' if said and len(said) % 2 == 0 else 'wrong')


def write(folder):
  """Short answers about pictures, and without them."""
  rows = [
    dict(prompt='how many', response='1' * (i % 5), image=url)
    for i in range(1, 20)
    for url in (small_talks.url(shade=i), None)
    if i % 5
  ]
  path = folder / 'talks.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def run(folder, **changes):
  keys = {
    f'{stage}__{key}': value
    for stage in ('sft', 'long_cot', 'rejection_sft', 'shortest')
    for key, value in SUPERVISED.items()
  }
  keys |= dict(
    sft__steps=40, sft__learning_rate=0.03, sft__end_learning_rate=0.03
  )
  keys |= dict(sft__files=(write(folder),))
  context = small_talks.make_context(folder, **keys | CHANGES | changes)
  context.scorer._judges['exact_answer'] = _even
  checks.validate(context.config, jax.device_count(), ('add',))
  return context, recipe.run(context)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pictures')
  return folder, *run(folder)


def test_every_stage_leaves_a_model_that_is_asked_about_pictures(done):
  folder, context, summary = done
  for stage in TRAINED:
    assert models.read_origin(folder / 'run/models' / stage).stage == stage
    assert set(summary[f'parts_after_{stage}']) == {'pictures', 'texts'}
  assert (folder / 'run/report.html').exists()
  assert files.read_jsonl(folder / 'run/evaluation/held_out.jsonl')
  stored = context.pictures.refs
  for stage in ('rl', 'short_rl'):
    seen = [
      row['images']
      for row in files.read_jsonl(folder / 'run/trajectories.jsonl')
      if row['stage'] == stage and row.get('images')
    ]
    assert seen and all(digest in stored for each in seen for digest in each)


def test_what_the_stages_write_names_its_pictures(done):
  folder, context, _ = done
  stored = context.pictures.refs
  for name in (
    'long_cot/examples',
    'rejection_sft/examples',
    'curation/prompts',
  ):
    rows = files.read_jsonl(folder / f'run/{name}.jsonl')
    names = [image['digest'] for row in rows for image in row.get('images', ())]
    assert names and set(names) <= stored.keys()


def test_sampled_conversations_are_learnt_behind_the_tokens_that_were_asked(
  done,
):
  folder, context, _ = done
  store = token_store.TokenStore(folder / 'run/rejection_sft_tokens')
  problems = {p.id: p for p in context.task.train}
  rows = files.read_jsonl(folder / 'run/rejection_sft/examples.jsonl')
  assert len(store) == len(rows)
  for i, row in enumerate(rows):
    problem = problems[row['problem_id']]
    asked = context.task.encode_prompt(problem.prompt, problem.images)
    tokens, mask = store[i]
    assert tokens[~mask].tolist() == asked.tolist()
    assert [image.digest for image in store.images(i)] == list(problem.digests)


@thorough.MARK
def test_a_run_goes_on_with_what_it_sampled(done):
  """A stage whose model is lost asks nothing again."""
  folder, _, before = done
  sampled = [folder / 'run' / name for name in (
    'responses.jsonl', 'long_cot/samples.jsonl', 'images/pixels.bin',
  )]  # fmt: skip
  contents = [path.read_bytes() for path in sampled]
  for stage in ('long_cot', 'dpo'):
    for kind in ('models', 'checkpoints'):
      shutil.rmtree(folder / 'run' / kind / stage)
  _, again = run(folder)
  assert [path.read_bytes() for path in sampled] == contents
  assert again | {'seconds': 0} == before | {'seconds': 0}
