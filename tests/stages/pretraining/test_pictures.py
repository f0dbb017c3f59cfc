"""Cooldown and long context with pictures: rows, albums, files, resumed runs.

Pictures of four cells, a token a patch; rows of 160 and 320 tokens.
"""

import dataclasses
import json
import operator

import jax
import numpy as np
import pytest
import small_sight
import small_talks

from k15 import files
from k15.data import conversations
from k15.data_types import Problem
from k15.runtime.families import lessons
from k15.stages.pretraining import albums
from k15.stages.pretraining import document_rows
from k15.stages.pretraining import learnt_documents
from k15.stages.pretraining import pretrain
from k15.stages.pretraining import questions
from k15.vision import positions

CHANGES = dict(
  documents__number=40,
  documents__held_out_share=0.2,
  documents__held_out_every=2,
  vision__domains=('count',),
  vision__row_patches=96,
)
COOLDOWN = dict(
  image_share=0.5, row_tokens=128, batch_tokens=512, steps=2, warmup_steps=0
)
LONG = dict(
  image_share=0.5, lengths=(160, 320), batch_tokens=640, steps=4, needles=4,
  warmup_steps=0, full_attention_share=0.5, log_every=1,
)  # fmt: skip


def make_context(folder, stage, **changes):
  own = dict(cooldown=COOLDOWN, long_context=LONG)[stage] | changes
  keys = {f'{stage}__{key}': value for key, value in own.items()}
  return small_sight.make_context(folder, **CHANGES | keys, stages=(stage,))


def rows_of(context, stage):
  store = learnt_documents.open_store(context, stage, True)
  return store, document_rows.phases_of(context, stage, store)


def train(context):
  context = pretrain.activated(context, 'long_context')
  return pretrain.train(context, None, 'long_context')


def logged(context):
  return [
    {k: v for k, v in row.items() if not k.startswith('time')}
    for row in files.read_jsonl(context.workdir / 'metrics.jsonl')
  ]


@pytest.fixture(scope='module', autouse=True)
def _few_held_out():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(lessons, 'HELD_OUT', 12)
    yield


@pytest.fixture(scope='module')
def long(tmp_path_factory):
  """Long context in one go: the context and the last state."""
  context = make_context(tmp_path_factory.mktemp('long'), 'long_context')
  return context, train(context)


def test_half_of_the_rows_of_cooldown_show_pictures(tmp_path):
  context = make_context(tmp_path, 'cooldown')
  store, [phase] = rows_of(context, 'cooldown')
  assert {'pictures', 'picture_qa', 'qa', 'notes'} <= set(store.names)
  image_id = context.task.tokenizer.image_id
  for i in range(2):
    batch = phase.batches[i]
    is_image = batch['tokens'] == image_id
    assert is_image.any(axis=1).sum() == 2
    # No picture is cut, and none of its tokens is to be predicted.
    assert (is_image.sum(axis=1) % 16 == 0).all()
    assert not batch['loss_mask'][is_image].any()
    assert (batch['images'].index[is_image] >= 0).all()
    assert (batch['images'].numbers.max(axis=1) > 0).sum() == 2
  found = files.read_json(context.workdir / 'cooldown_tokens/mixture.json')
  assert found['partial']['rows'] == found['partial, pictures']['rows'] == [4]
  assert set(found['partial, pictures']['domains']) == {
    'pictures', 'picture_qa'
  }  # fmt: skip


def test_without_a_share_rows_are_those_of_texts(tmp_path):
  context = make_context(tmp_path, 'cooldown', image_share=0.0)
  store, [phase] = rows_of(context, 'cooldown')
  assert not store.num_images.any() and 'pictures' not in store.names
  assert 'images' not in phase.batches[0]


def test_albums_lie_whole_in_rows_that_attend_to_all(long):
  context, _ = long
  store, phases = rows_of(context, 'long_context')
  shown, lengths = context.shown, LONG['lengths']
  for phase, shorter in zip(phases, (0, *lengths), strict=False):
    kinds = set()
    for i in range(phase.plan.num_rows):
      documents = phase.plan.documents[list(phase.plan.row(i))]
      is_full, has_images = phase.plan.is_full[i], store.num_images[documents]
      kinds.add((bool(is_full), bool(has_images.all())))
      if not (is_full and has_images.all()):
        continue
      # One album, too long for the rows before: its positions are those of it
      # alone.
      [album] = documents
      assert store.lengths[album] > shorter and has_images[0] > 1
      batch, place = phase.batches[i // phase.rows], i % phase.rows
      row = jax.tree.map(operator.itemgetter(place), batch)
      last = store.lengths[album]
      tokens = row['tokens'][:last]
      np.testing.assert_array_equal(tokens, store[album])
      grids = [shown.sight.grid(image) for image in store.images(album)]
      expected, _ = positions.rotary(tokens, shown.sight.image_id, grids)
      np.testing.assert_array_equal(row['images'].positions[:last], expected)
    assert len(kinds) == 4


def test_an_album_answers_what_it_showed(long):
  context, _ = long
  examples = context.task.lessons['long_context'].held_out[:4]
  pictures = list(zip((0.3, 0.1, 0.2, 0.4), examples, strict=True))
  album = albums.album_of(pictures, 4, '\n')
  second, third = examples[1].response, examples[2].response
  assert album.problem.prompt == (
    'picture 1 <image>\npicture 2 <image>\npicture 3 <image>\n'
    f'picture 4 <image>\npicture 2\n{second}\npicture 3'
  )
  assert album.response == third
  assert album.problem.digests == tuple(
    digest for example in examples for digest in example.problem.digests
  )
  # What is measured is never learnt.
  learnt = context.task.lessons['long_context'].learnt
  seen = {d for example in learnt for d in example.problem.digests}
  assert not seen & set(album.problem.digests)


def test_pictures_are_measured_at_each_length(long):
  before, *_, last = (r for r in logged(long[0]) if 'text/read' in r)
  for row in (before, last):
    for name in ('read', 'read_count', 'picture_at_160', 'picture_at_320'):
      assert 0 <= row[f'text/{name}'] <= 1
    assert 'text/needle_at_320' in row
  assert last['text/held_out_loss'] < before['text/held_out_loss']


def test_a_run_that_goes_on_has_the_same_rows(long):
  """Of the same pictures, whose store is opened again."""
  folder = long[0].workdir.parent
  again = make_context(folder, 'long_context')
  store = learnt_documents.open_store(again, 'long_context', False)
  phases = document_rows.phases_of(again, 'long_context', store)
  _, before = rows_of(long[0], 'long_context')
  for i, phase in enumerate(phases):
    jax.tree.map(
      np.testing.assert_array_equal, phase.batches[1], before[i].batches[1]
    )


def test_rows_without_room_for_two_pictures_are_refused(tmp_path):
  context = make_context(tmp_path, 'long_context', lengths=(64, 320))
  with pytest.raises(
    conversations.DataError,
    match='[01] pictures .* fill a row of 64 with 96 patches, vision.row_patc',
  ):
    rows_of(context, 'long_context')


def write(folder, *rows):
  path = folder / 'documents.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def documents(count=12):
  """A text and one about two pictures in turns."""
  return [
    dict(text=f'{i} abc', domain='words')
    if i % 2
    else dict(
      text=f'{i} <image> and <image> {i}', domain='shown',
      images=[small_talks.url(shade=i + j) for j in range(2)],
    )
    for i in range(count)
  ]  # fmt: skip


def test_files_may_show_pictures(tmp_path):
  path = write(tmp_path, *documents())
  changes = dict(files=(path,), image_share=0.25)
  context = make_context(tmp_path, 'cooldown', **changes)
  store, [phase] = rows_of(context, 'cooldown')
  assert store.num_images.tolist() == [2, 0] * 6
  digests = {image.digest for i in range(12) for image in store.images(i)}
  assert len(digests) == 12 and digests <= context.pictures.refs.keys()
  shown = (phase.batches[0]['images'].numbers > 0).any(axis=1)
  assert shown.sum() == 1
  assert context.task.lessons == {}


@pytest.mark.parametrize(
  ('row', 'changes', 'sentence'),
  [
    (
      documents()[0],
      dict(image_share=0.0),
      'line 1: it has 2 pictures, and stage cooldown learns from texts alone',
    ),
    (
      documents()[0] | dict(text='<image> alone'),
      {},
      'line 1: 1 <image> in a prompt, and 2 pictures',
    ),
    (
      documents()[1],
      {},
      'cooldown.image_share: 0 documents with pictures of 1',
    ),
  ],
)
def test_what_cannot_be_learnt_is_refused(row, changes, sentence, tmp_path):
  path = write(tmp_path, row, documents()[1])
  changes = dict(files=(path,)) | changes
  context = make_context(tmp_path, 'cooldown', **changes)
  context.config.documents.held_out_share = 0.0
  with pytest.raises(conversations.DataError, match=sentence):
    rows_of(context, 'cooldown')


def test_questions_about_pictures_are_asked_where_they_are_learnt(tmp_path):
  context = make_context(tmp_path, 'cooldown')
  problem = next(p for p in context.task.train if p.images)
  record = dict(problem_id=problem.id, response='#### 1')
  row = questions._document(
    context.task, {problem.id: problem}, record, server=True
  )
  assert row['domain'] == 'picture_qa'
  assert row['images'] == [dataclasses.asdict(i) for i in problem.images]
  text = Problem('a', '1+1', '2')
  task = dataclasses.replace(context.task, train=[problem, text])
  context = dataclasses.replace(context, task=task)
  assert questions._learnable(context).task.train == [problem, text]
  context.config.cooldown.image_share = 0.0
  assert questions._learnable(context).task.train == [text]
