"""Supervised stages on users' conversations with pictures.

The pixels are in the run's store before anything is trained.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import small_run
import small_talks

from k15.data import conversations
from k15.runtime import context as context_lib
from k15.runtime import weights
from k15.stages import sft
from k15.vision import images

KEYS = dict(
  row_tokens=48, batch_tokens=96, epochs=1, packing='first_fit',
  optimizer='adam', warmup_steps=0, log_every=1,
)  # fmt: skip


def write(folder, count=12, shade=0):
  """A text and a picture from a file below the folder, in turns."""
  (folder / 'shown').mkdir(parents=True, exist_ok=True)
  rows = []
  for i in range(count):
    row = dict(prompt=f'{i}?', response='so ' * (i % 3) + str(i))
    if i % 2:
      (folder / f'shown/{i}.png').write_bytes(small_talks.png(shade=shade + i))
      row |= dict(prompt=f'{i} <image>?', images=[f'shown/{i}.png'])
    rows.append(row)
  path = folder / 'talks.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def make_context(
  folder, stage='sft_long', make=small_talks.make_context, **more
):
  keys = {f'{stage}__{key}': value for key, value in KEYS.items()}
  keys[f'{stage}__files'] = (str(folder / 'talks.jsonl'),)
  return make(folder, **keys | more, stages=(stage,))


def train(context, stage='sft_long'):
  make_params = lambda: weights.init_params(context.layout, 0)  # noqa: E731
  return sft.train(context, make_params, stage)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """One epoch in one go: the context and the last state."""
  folder = tmp_path_factory.mktemp('talks')
  write(folder)
  context = make_context(folder)
  return context, train(context)


def test_pictures_are_stored_first_and_then_in_the_rows(whole):
  context, _ = whole
  assert len(context.pictures) == 6
  stream = sft.make_stream(context, 'sft_long', None, False)
  batches = list(stream.batches)
  found = sum(
    len(np.unique(row[row > 0]))
    for batch in batches
    for row in batch['images'].numbers
  )
  assert found == 6
  tokens = np.concatenate([batch['tokens'] for batch in batches])
  assert (tokens == context.task.tokenizer.image_id).sum() == 12


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  write(tmp_path)
  context = make_context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted):
    train(context)
  again = train(make_context(tmp_path))
  jax.tree.map(np.testing.assert_array_equal, again, whole[1])


def test_a_file_that_shows_something_else_stops_the_run(tmp_path):
  write(tmp_path)
  make_context(tmp_path)
  write(tmp_path, shade=100)
  with pytest.raises(
    conversations.DataError, match='line 2, picture 1.* now shows'
  ):
    make_context(tmp_path)


def test_a_reference_to_a_picture_that_is_not_there(tmp_path):
  path = tmp_path / 'talks.jsonl'
  for name, height, message in (
    ('0' * 64, 8, f'has no picture {"0" * 64}'),
    (small_talks.digest(shade=1), 16, 'has 8 x 16 pixels, and not 16 x 16'),
  ):
    made_up = dict(digest=name, height=height, width=16, source='')
    row = dict(prompt='a', response='b', images=[made_up])
    write(tmp_path)
    path.write_text(f'{path.read_text()}\n{json.dumps(row)}')
    context = make_context(tmp_path, workdir=f'run{height}')
    with pytest.raises(conversations.DataError, match=message):
      sft.make_stream(context, 'sft_long', None, True)


def test_broken_pictures_are_refused_before_the_run_or_left_out(tmp_path):
  write(tmp_path)
  (tmp_path / 'shown/3.png').write_bytes(b'no picture')
  with pytest.raises(conversations.DataError, match='line 4, picture 1'):
    make_context(tmp_path)
  context = make_context(tmp_path, task__drop_unusable=True)
  stream = sft.make_stream(context, 'sft_long', None, True)
  assert stream.counts['sft/unusable_dropped'] == 1
  assert len(context.pictures) == 5


def test_who_sees_nothing_refuses_them_by_name(tmp_path):
  write(tmp_path)
  context = make_context(tmp_path, make=small_run.make_context)
  with pytest.raises(
    conversations.DataError,
    match='line 2: it has 1 pictures, and the policy sees none',
  ):
    sft.make_stream(context, 'sft_long', None, True)


def test_a_question_is_left_out_that_is_evaluated_on_its_picture(tmp_path):
  """The same words about another picture are learnt from."""
  asked = dict(prompt='how many?', answer='3')
  measured = tmp_path / 'measured.jsonl'
  measured.write_text(
    json.dumps(asked | dict(images=[small_talks.url(shade=1)]))
  )
  write(tmp_path)
  rows = [
    dict(prompt='How many <image>?', response='3', image=url)
    for url in (small_talks.url(shade=1), small_talks.url(shade=2))
  ]
  (tmp_path / 'talks.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  context = make_context(tmp_path, evaluation__sets=(str(measured),))
  stream = sft.make_stream(context, 'sft_long', None, True)
  assert stream.counts['sft/held_out_dropped'] == 1
  assert stream.counts['sft/examples'] == 1


def test_a_tower_learns_from_files_alone(tmp_path):
  """`pretrain_tower.files`: the stages that read take users' files too."""
  write(tmp_path)
  context = make_context(
    tmp_path, 'pretrain_tower', pretrain_tower__trains='vision'
  )
  before = weights.init_params(context.layout, 0)
  before = jax.tree.map(np.asarray, before['vision'])
  state = train(context, 'pretrain_tower')
  after = state.params['vision']
  changed = jax.tree.map(lambda x, y: (x != y).any(), before, after)
  assert any(jax.tree.leaves(changed))
  assert images.digest(small_talks.pixels_of(shade=1)) in context.pictures.refs


def test_another_run_takes_pictures_from_the_run_that_wrote_their_names(
  tmp_path,
):
  """As a smaller model learns the examples of `rejection_sft`."""
  write(tmp_path)
  first = make_context(tmp_path)
  digest = small_talks.digest(shade=1)
  folder = tmp_path / 'run/rejection_sft'
  folder.mkdir()
  found = first.pictures.refs[digest]
  row = dict(prompt='a', response='b', images=[dataclasses.asdict(found)])
  (folder / 'examples.jsonl').write_text(json.dumps(row))
  again = make_context(
    tmp_path,
    workdir='smaller',
    sft_long__files=(str(folder / 'examples.jsonl'),),
  )
  np.testing.assert_array_equal(
    again.pictures[digest], small_talks.pixels_of(shade=1)
  )
  stream = sft.make_stream(again, 'sft_long', None, True)
  assert stream.counts['sft/examples'] == 1
