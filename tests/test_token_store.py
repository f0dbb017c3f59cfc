"""Conversations become one file, and come back as they were."""

import functools
import json

import numpy as np
import pytest

from k15 import conversations
from k15 import token_store
from k15.tokenizer import ByteTokenizer

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
    lambda text: text.split() == ['held', 'out'],
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
    token_store.make, tmp_path / 'tokens', 'key', [str(path)], ENCODE, 16, False
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
