"""Documents from files: what is refused, what is held out, what is stored."""

import json

import numpy as np
import pytest

from k15.data import conversations
from k15.data import documents
from k15.data import token_store
from k15.data.documents import Document


def _file(folder, *rows, name='documents.jsonl'):
  path = folder / name
  path.write_text('\n'.join(map(json.dumps, rows)) + '\n')
  return path


def _encode(document):
  return np.array([*document.text.encode(), 256], np.int32)


def _store(folder, found, share=0.0, **more):
  documents.make(folder / 'tokens', 'key', found, _encode, share, **more)
  return documents.DocumentStore(folder / 'tokens')


def test_rows_are_documents(tmp_path):
  path = _file(tmp_path, dict(text='1 + 1', domain='sums', id=7))
  [found] = documents.read(path, is_long=True)
  assert found == Document('1 + 1', 'sums', f'{path}, line 1', True)


@pytest.mark.parametrize(
  ('row', 'sentence'),
  [
    (dict(text='a'), r"line 2: no 'domain'; it has \['text'\]"),
    (dict(domain='a', txt='b'), r"no 'text'; it has \['domain', 'txt'\]"),
    (dict(text=7, domain='a'), "'text' is a int, and has to be a text"),
    (dict(text=' \n', domain='a'), "'text' is blank, of 2 characters"),
    (dict(text='a', domain=''), "'domain' is blank, of 0 characters"),
  ],
)
def test_what_is_no_document_is_refused(row, sentence, tmp_path):
  path = _file(tmp_path, dict(text='a', domain='b'), row)
  with pytest.raises(conversations.DataError, match=sentence) as error:
    list(documents.read(path))
  assert str(error.value).startswith(f'{path}, line 2: ')


def test_no_file(tmp_path):
  with pytest.raises(conversations.DataError, match='none.jsonl: no such file'):
    list(documents.read(tmp_path / 'none.jsonl'))


def test_parquet(tmp_path):
  arrow = pytest.importorskip('pyarrow')
  parquet = pytest.importorskip('pyarrow.parquet')
  table = arrow.table(dict(text=['a', 'b'], domain=['x', 'y']))
  parquet.write_table(table, tmp_path / 'a.parquet')
  found = list(documents.read(tmp_path / 'a.parquet'))
  assert [(d.text, d.domain) for d in found] == [('a', 'x'), ('b', 'y')]
  assert found[1].where.endswith('a.parquet, row 2')


def test_held_out_by_the_text_alone():
  texts = [f'text {i}' for i in range(2000)]
  few = {t for t in texts if documents.is_held_out(t, 0.05)}
  # 2,000 * 0.05 = 100, with a standard deviation of 9.7.
  assert 70 < len(few) < 130
  # A larger share holds out the same ones, and more.
  assert few < {t for t in texts if documents.is_held_out(t, 0.2)}
  assert not any(documents.is_held_out(t, 0.0) for t in texts)
  assert all(documents.is_held_out(t, 1.0) for t in texts)


def test_the_store(tmp_path):
  found = [
    Document('ab', 'late'), Document('secret', 'early'),
    Document('c', 'early', is_long=True),
  ]  # fmt: skip
  store = _store(tmp_path, found, is_evaluated=lambda d: d.text == 'secret')
  assert store.names == ('early', 'late') and len(store) == 2
  assert store.dropped == dict(evaluated=1)
  np.testing.assert_array_equal(store.domains, [1, 0])
  np.testing.assert_array_equal(store.lengths, [3, 2])
  np.testing.assert_array_equal(store.is_long, [False, True])
  np.testing.assert_array_equal(store[0], [97, 98, 256])
  np.testing.assert_array_equal(store.part(0, 1, 3), [98, 256])
  assert token_store.is_made(tmp_path / 'tokens', 'key')
  assert not token_store.is_made(tmp_path / 'tokens', 'other')


def test_nothing_to_learn_from(tmp_path):
  found = [Document('a', 'x')]
  with pytest.raises(conversations.DataError, match='1 documents, of which 1'):
    _store(tmp_path, found, 1.0)
  with pytest.raises(conversations.DataError, match="'evaluated': 1} left out"):
    _store(tmp_path, found, is_evaluated=lambda document: True)
  # What was there before stays.
  store = _store(tmp_path, found)
  with pytest.raises(conversations.DataError):
    _store(tmp_path, found, 1.0)
  np.testing.assert_array_equal(store[0], [97, 256])
