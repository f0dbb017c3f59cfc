"""Conversations become one file, and come back as they were."""

import functools
import json

import numpy as np
import pytest
import small_talks

from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import conversations
from k15.data import token_store
from k15.vision import images
from k15.vision.shown_rows import Shown
from k15.vision.sight import Sight

ENCODE = conversations.make_encode(ByteTokenizer(), False, '\n', 'all')


def _write(path, pairs):
  rows = [json.dumps(dict(prompt=p, response=r)) for p, r in pairs]
  path.write_text('\n'.join(rows))
  return str(path)


@pytest.fixture
def files(tmp_path):
  return (
    _write(tmp_path / 'a.jsonl', [('x', 'yy'), ('held  out', 'y'), ('z', 'w')]),
    _write(tmp_path / 'b.jsonl', [('long' * 9, 'y'), ('p', 'q' * 5)]),
  )


def _make(folder, files, drop=True):
  key = token_store.fingerprint(files, dict(a=1))
  token_store.make(
    folder / 'tokens', key, files, ENCODE, 16, drop,
    lambda text, digests: text.split() == ['held', 'out'],
  )  # fmt: skip
  return token_store.TokenStore(folder / 'tokens'), key


def test_what_was_written_comes_back(tmp_path, files):
  store, key = _make(tmp_path, files)
  assert store.sizes == [2, 1] and len(store) == 3
  assert store.dropped == dict(too_long=1, held_out=1, unusable=0)
  np.testing.assert_array_equal(store.lengths, [5, 4, 8])
  for i, (prompt, response) in enumerate(
    (('x', 'yy'), ('z', 'w'), ('p', 'qqqqq'))
  ):
    tokens, mask = store[i]
    expected = [*f'{prompt}\n{response}'.encode(), ByteTokenizer().eos_id]
    np.testing.assert_array_equal(tokens, expected)
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(mask, np.arange(len(expected)) > 1)
  assert token_store.is_made(tmp_path / 'tokens', key)
  assert not list(tmp_path.glob('*.new'))


def test_the_fingerprint_is_of_files_and_settings(tmp_path, files):
  key = token_store.fingerprint(files, dict(a=1))
  assert key == token_store.fingerprint(files, dict(a=1))
  assert key != token_store.fingerprint(files, dict(a=2))
  assert key != token_store.fingerprint(files[::-1], dict(a=1))
  _write(tmp_path / 'b.jsonl', [('long' * 9, 'y'), ('p', 'r' * 5)])
  assert key != token_store.fingerprint(files, dict(a=1))
  assert not token_store.is_made(tmp_path / 'tokens', key)


def test_too_long_a_conversation_is_refused_by_default(tmp_path, files):
  # 36 bytes, a line break, a byte and the end of the turn.
  with pytest.raises(
    conversations.DataError,
    match='b.jsonl, line 1: 39 tokens do not fit a row of 16',
  ):
    _make(tmp_path, files, drop=False)
  assert not (tmp_path / 'tokens').exists()


def test_an_empty_file_is_refused(tmp_path, files):
  empty = _write(tmp_path / 'c.jsonl', [('held out', 'y')])
  with pytest.raises(
    conversations.DataError, match='c.jsonl: no conversations'
  ):
    _make(tmp_path, (*files, empty))


def test_what_cannot_be_used_is_refused_or_counted(tmp_path, capsys):
  path = tmp_path / 'a.jsonl'
  rows = [
    dict(prompt='', response='y'),
    dict(messages=[dict(role='assistant', content='first')]),
    dict(messages=[dict(role='user', content='alone')]),
    dict(prompt='x', response='yy'),
  ]
  path.write_text('\n'.join(map(json.dumps, rows)))
  make = functools.partial(
    token_store.make,
    tmp_path / 'tokens',
    'key',
    [str(path)],
    ENCODE,
    16,
    False,
  )
  with pytest.raises(
    conversations.Unusable, match='a.jsonl, line 1, message 1'
  ):
    make()
  make(drop_unusable=True)
  store = token_store.TokenStore(tmp_path / 'tokens')
  assert store.dropped == dict(too_long=0, held_out=0, unusable=3)
  assert len(store) == 1
  # The first is named.
  assert capsys.readouterr().out == (
    f"left out, and others like it: {path}, line 1, message 1: 'content' is '',"
    ' and has to be a text\n'
  )


BYTES = ByteTokenizer(sees=True)
SIGHT = Sight(images.Processor(8, 1, 1, 4096), BYTES.image_id, (4,))


def _make_shown(folder, rows, is_held_out=lambda *asked: False, **settings):
  path = folder / 'talks.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  encode = conversations.make_encode(BYTES, False, '\n', 'all', SIGHT)
  settings = dict(drop_too_long=True, shown=Shown(SIGHT, {}, 8)) | settings
  token_store.make(
    folder / 'tokens', 'key', [str(path)], encode, 16, is_held_out=is_held_out,
    **settings,
  )  # fmt: skip
  return token_store.TokenStore(folder / 'tokens')


SMALL, LARGE = small_talks.url(shade=3), small_talks.url(2, 2)
SHOWN = [
  dict(prompt='a', response='b', images=[SMALL, LARGE]),
  dict(prompt='text', response='c'),
  dict(prompt='<image>d', response='e', image=SMALL),
]


def test_pictures_come_back_by_name(tmp_path):
  store = _make_shown(tmp_path, SHOWN)
  small, large = store.images(0)
  assert (large.digest, large.height, large.width) == (
    small_talks.digest(2, 2), 16, 16,
  )  # fmt: skip
  assert store.images(1) == () and store.images(2) == (small,)
  assert sorted(i.digest for i in store.references()) == sorted(
    [small.digest, large.digest]
  )
  # Their tokens: of the small one two, of the large one four.
  assert store.lengths.tolist() == [6 + 4, 7, 2 + 4]
  assert (store[0][0] == BYTES.image_id).sum() == 6


def test_a_store_of_texts_is_the_one_it_was(tmp_path, files):
  store, _ = _make(tmp_path, files)
  names = sorted(path.name for path in (tmp_path / 'tokens').iterdir())
  assert names == ['index.json', 'offsets.npy', 'tokens.bin']
  assert store.images(0) == () and not list(store.references())


def test_pictures_that_outgrow_a_row_are_refused_or_counted(tmp_path):
  other = small_talks.url(2, 2, shade=9)
  many = dict(prompt='a', response='b', images=[LARGE, SMALL, other])
  rows = [*SHOWN, many, dict(prompt='a', response='b', images=[LARGE] * 4)]
  store = _make_shown(tmp_path, rows)
  # The first has 10 patches; the second 19 tokens, though a picture stands in
  # a row once.
  assert store.dropped == dict(too_long=2, held_out=0, unusable=0)
  assert len(store) == 3
  with pytest.raises(
    conversations.DataError,
    match='line 4: 3 pictures have 10 patches, more than the 8 of vision.row',
  ):
    _make_shown(tmp_path, rows, drop_too_long=False)


def test_what_is_evaluated_is_known_by_its_pictures(tmp_path):
  known, asked = small_talks.digest(2, 2), []

  def is_held_out(text, digests):
    asked.append((text, digests))
    return digests == (known,)

  turns = ['<image>?', 'x', 'and?', 'y']
  messages = [
    dict(role='user' if i % 2 == 0 else 'assistant', content=content)
    for i, content in enumerate(turns)
  ]
  rows = [
    dict(messages=messages, image=LARGE),
    dict(messages=messages, image=SMALL),
  ]
  store = _make_shown(tmp_path, rows, is_held_out)
  assert store.dropped['held_out'] == 1 and len(store) == 1
  small = small_talks.digest(shade=3)
  # A later turn may go on about the picture of the first, or about none.
  assert set(asked[-3:]) == {
    ('<image>?', (small,)), ('and?', ()), ('and?', (small,)),
  }  # fmt: skip
