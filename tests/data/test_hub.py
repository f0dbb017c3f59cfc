"""Names of the hub as paths of its cache, from a hub on the loopback."""

import pathlib

import fake_hub
import huggingface_hub
import pytest

from k15 import files
from k15.config import hub_names
from k15.data import hub
from k15.data import rows

ROW = b'{"question": "1 + 1?", "answer": "#### 2"}\n'


@pytest.fixture(scope='module')
def server():
  with fake_hub.served() as served:
    yield served


@pytest.fixture
def remote(server, tmp_path, monkeypatch):
  remote, address = server
  fake_hub.use(monkeypatch, address, tmp_path / 'cache')
  return remote


def _fetched(text, is_model=False, **more):
  return hub.fetched(text, hub_names.parse(text, is_model), **more)


def _offline(monkeypatch):
  monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)


def test_a_model_without_what_is_not_read(remote, monkeypatch):
  content = {'config.json': b'{}', 'model.safetensors': b'1', 'a.md': b''}
  commit = remote.put('models', 'org/m', content | {'other/model.bin': b'2'})
  path, found = _fetched('org/m', True)
  assert found == commit
  names = sorted(p.name for p in pathlib.Path(path).iterdir())
  assert names == ['config.json', 'model.safetensors']
  _offline(monkeypatch)
  assert _fetched('org/m', True) == (path, commit)
  assert hub.model_path('org/m') == path
  assert hub.model_path(path) == path


def test_a_gguf_file_of_a_model(remote):
  remote.put('models', 'org/g', {'q4.gguf': b'G', 'q8.gguf': b'H'})
  path, _ = _fetched('org/g/q4.gguf', True)
  assert pathlib.Path(path).read_bytes() == b'G'


def test_a_data_set_in_several_files_is_a_star(remote, monkeypatch):
  remote.put('datasets', 'org/d', {
    'data/train-00000-of-00002.jsonl': ROW * 2, 'README.md': b'',
    'data/train-00001-of-00002.jsonl': ROW, 'data/test.jsonl': ROW,
    'data/dataset_infos.json': b'{}',
  })  # fmt: skip
  path, _ = _fetched('org/d')
  assert pathlib.Path(path).name == 'train-0000*-of-00002.jsonl'
  assert [number for number, _, _ in rows.read_rows(path)] == [1, 2, 3]
  digest = files.digest(path)
  assert digest['bytes'] == 3 * len(ROW)
  assert digest['sha256'] != files.digest(files.matching(path)[0])['sha256']
  test, _ = _fetched('org/d', splits=('test', 'validation'))
  assert pathlib.Path(test).name == 'test.jsonl'
  _offline(monkeypatch)
  assert _fetched('org/d')[0] == path


def test_a_commit_stays_when_its_branch_goes_on(remote):
  first = remote.put('datasets', 'org/b', {'train.jsonl': ROW})
  _, commit = _fetched('org/b')
  assert commit == first
  second = remote.put('datasets', 'org/b', {'train.jsonl': ROW + ROW})
  assert _fetched('org/b')[1] == second
  path, commit = _fetched('org/b', commit=first)
  assert commit == first
  assert pathlib.Path(path).read_bytes() == ROW


def test_a_revision_with_a_slash_is_the_converted_one(remote):
  found = {f'default/train/000{i}.parquet': b'0' for i in range(2)}
  remote.put('datasets', 'org/c', found, 'refs/convert/parquet')
  path, _ = _fetched('org/c@refs/convert/parquet')
  assert path.endswith('/default/train/000*.parquet')


GSM8K = ('main/test.parquet', 'main/train.parquet', 'socratic/train.parquet')


@pytest.mark.parametrize(('inside', 'splits', 'expected'), [
  ('main', ('train',), 'main/train.parquet'),
  ('main', ('test',), 'main/test.parquet'),
  ('main/test', ('train',), 'main/test.parquet'),
  ('socratic/train.parquet', ('test',), 'socratic/train.parquet'),
  ('', ('test', 'validation'), 'main/test.parquet'),
])  # fmt: skip
def test_the_split_that_is_meant(inside, splits, expected):
  name = hub_names.HubName('openai/gsm8k', '', inside, False)
  assert hub.choose(GSM8K, name, splits) == [expected]


def test_of_two_forms_of_the_same_rows_parquet():
  name = hub_names.HubName('org/d', '', '', False)
  listed = ('train.jsonl', 'train.parquet')
  assert hub.choose(listed, name, ()) == ['train.parquet']


@pytest.mark.parametrize('inside', ['', 'other'])
def test_splits_are_named_where_none_is_meant(inside):
  name = hub_names.HubName('openai/gsm8k', '', inside, False)
  sentence = r"splits are meant, of \['main/test', 'main/train', 'socratic/tra"
  with pytest.raises(ValueError, match=sentence):
    hub.choose(GSM8K, name, ('train',))


@pytest.mark.parametrize(('text', 'is_model', 'sentence'), [
  ('org/none', True, "no file or directory 'org/none', and the hub as model"
   " 'org/none': there is none of this name, or it is private"),
  ('org/none', False, "as data set 'org/none': there is none of this name"),
  ('org/e@v9', True, 'it has no such revision'),
  ('org/e@v9', False, 'it has no such revision'),
])  # fmt: skip
def test_what_is_not_there(remote, text, is_model, sentence):
  for kind in ('models', 'datasets'):
    remote.put(kind, 'org/e', {'a.jsonl': ROW})
  with pytest.raises(ValueError, match=sentence):
    _fetched(text, is_model)


@pytest.mark.parametrize('is_model', [True, False])
def test_without_a_network(remote, tmp_path, monkeypatch, is_model):
  with fake_hub.served() as (_, gone):
    pass
  fake_hub.use(monkeypatch, gone, tmp_path / 'cache')
  with pytest.raises(ValueError, match='it cannot be reached, and the cache'):
    _fetched('org/x', is_model)
  _offline(monkeypatch)
  with pytest.raises(ValueError, match='and the cache lacks this$'):
    _fetched('org/x', is_model)


def test_without_the_package(monkeypatch):
  monkeypatch.setattr(hub, 'huggingface_hub', None)
  with pytest.raises(ValueError, match=r"^no file .* 'k15\[hub\]'"):
    _fetched('org/x')
