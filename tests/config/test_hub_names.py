"""Which texts are names of the hub, and which are paths."""

import pytest

from k15.config import hub_names


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'org').mkdir()
  (tmp_path / 'org' / 'here').mkdir()
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(('text', 'repo', 'revision', 'inside'), [
  ('Qwen/Qwen2.5-7B', 'Qwen/Qwen2.5-7B', '', ''),
  ('a/b@v1.0', 'a/b', 'v1.0', ''),
  ('a/b/main/train', 'a/b', '', 'main/train'),
  ('a/b@0123abc/c.csv', 'a/b', '0123abc', 'c.csv'),
  ('a/b@refs/convert/parquet', 'a/b', 'refs/convert/parquet', ''),
  ('a/b@refs/pr/3/default/', 'a/b', 'refs/pr/3', 'default'),
  ('runs/b@main', 'runs/b', 'main', ''),  # Said to be one.
])  # fmt: skip
def test_names(text, repo, revision, inside):
  assert hub_names.parse(text) == hub_names.HubName(
    repo, revision, inside, False
  )


@pytest.mark.parametrize('text', [
  '', 'name', 'train.jsonl', './a/b', '/a/b', '~/a', 'data/train.jsonl', 'a/',
  'data/x.gguf', 'runs/mine', 'runs/mine/models/rl', 'org/here', 'a/b@',
  'http://a/b', 'a/b c', '../a/b', 3, 'a/b/*.parquet',
])  # fmt: skip
def test_paths(text):
  assert hub_names.parse(text) is None


def test_a_model_goes_on_with_a_gguf_file_alone():
  assert hub_names.parse('a/b/c', is_model=True) is None
  assert hub_names.parse('a/b/c.gguf', is_model=True).inside == 'c.gguf'
