"""Names of the hub in a config, and the commits that a run keeps."""

import os
import pathlib
import subprocess
import sys

import fake_hub
import pytest
import thorough

from benchmarks.stress import chaos_parts
from experiments import base
from k15 import files
from k15.config import checks
from k15.data import arithmetic
from k15.runtime import hub_paths

ROW = b'{"prompt": "1 + 1?", "answer": "2"}\n'


@pytest.fixture
def remote(tmp_path, monkeypatch):
  with fake_hub.served() as (remote, address):
    fake_hub.use(monkeypatch, address, tmp_path / 'cache')
    monkeypatch.chdir(tmp_path)
    yield remote


def _config(**changes):
  config = base.get_config()
  config.update_from_flattened_dict(
    {key.replace('__', '.'): value for key, value in changes.items()}
  )
  return config


def test_names_become_paths_and_their_commits_are_kept(
  remote, tmp_path, capsys
):
  (tmp_path / 'own.jsonl').write_bytes(ROW)
  model = remote.put('models', 'org/m', {'config.json': b'{}'})
  data = remote.put(
    'datasets', 'org/d', {'train.jsonl': ROW, 'test.jsonl': ROW}
  )
  names = dict(
    checkpoint='org/m', task__name='file', task__train_path='org/d',
    task__held_out_path='org/d', sft__files=('own.jsonl', 'org/d/train'),
    sft__packing='first_fit',
    evaluation__sets=('org/d@main', 'mine:own.jsonl', 'b:org/d/test.jsonl'),
  )  # fmt: skip
  config = _config(**names)
  hub_paths.adopt(config, tmp_path / 'run')
  place = tmp_path / 'cache'
  folder = f'{place}/datasets--org--d/snapshots/{data}'
  assert config.checkpoint == f'{place}/models--org--m/snapshots/{model}'
  assert config.task.train_path == f'{folder}/train.jsonl'
  assert config.task.held_out_path == f'{folder}/test.jsonl'
  assert config.sft.files == ('own.jsonl', f'{folder}/train.jsonl')
  assert config.evaluation.sets == (
    f'd:{folder}/test.jsonl', 'mine:own.jsonl', f'b:{folder}/test.jsonl'
  )  # fmt: skip
  checks.validate(config, 1, arithmetic.KINDS)
  kept = files.read_json(tmp_path / 'run' / 'hub.json')
  assert kept == {
    'org/m': model, 'org/d': data, 'org/d/train': data, 'org/d@main': data,
    'org/d/test.jsonl': data,
  }  # fmt: skip
  assert f'checkpoint: org/m of the hub at {model[:12]}: ' in (
    capsys.readouterr().out
  )
  # The branch goes on; the run does not go with it.
  remote.put('datasets', 'org/d', {'train.jsonl': ROW * 9})
  again = _config(**names)
  hub_paths.adopt(again, tmp_path / 'run')
  assert again == config


def test_a_path_that_is_there_wins(remote, tmp_path):
  (tmp_path / 'org' / 'm').mkdir(parents=True)
  config = _config(checkpoint='org/m')
  hub_paths.adopt(config, tmp_path / 'run')
  assert config.checkpoint == 'org/m'
  assert not remote.asked
  assert not (tmp_path / 'run').exists()


def test_a_name_that_fails_is_said_with_its_key(remote, tmp_path):
  config = _config(task__name='file', task__train_path='org/none/train')
  with pytest.raises(ValueError, match="^task.train_path: no file or direct"):
    hub_paths.adopt(config, tmp_path / 'run')


def test_elsewhere_names_are_no_missing_files(tmp_path, monkeypatch):
  """A worker of the run, or a plan, reads none of them."""
  monkeypatch.chdir(tmp_path)
  config = _config(
    sft__files=('org/d',), sft__packing='first_fit',
    evaluation__sets=('b:org/d',),
  )  # fmt: skip
  checks.validate(config, 1, arithmetic.KINDS)


_PROCESS = """
import pathlib, sys, time
from experiments import base
from k15.data import hub
from k15.devices import hosts
from k15.runtime import hub_paths
port, number, workdir, pause = sys.argv[1:]
def fetched(*arguments, at_once=hub.fetched):
  if hosts.is_first():
    time.sleep(float(pause))
  return at_once(*arguments)
hub.fetched = fetched
hosts.join(f'localhost:{port}', 2, int(number))
config = base.get_config()
config.checkpoint = 'org/m'
try:
  hub_paths.adopt(config, pathlib.Path(workdir))
  print(config.checkpoint)
except ValueError as error:
  print('refused:', error)
"""


def _of_two(address, tmp_path, caches, pause=0):
  """What each of two processes prints, each with a cache of its own.

  The first takes `pause` seconds longer to download.
  """
  port, processes = chaos_parts.free_port(), []
  for number, cache in enumerate(caches):
    environment = os.environ | dict(
      HF_ENDPOINT=address, HF_HOME=str(cache), HF_HUB_OFFLINE='0',
      HF_HUB_DISABLE_XET='1', HF_HUB_DISABLE_TELEMETRY='1',
      PYTHONPATH=str(pathlib.Path(hub_paths.__file__).parents[2]),
    )  # fmt: skip
    command = [sys.executable, '-c', _PROCESS, str(port), str(number)]
    processes.append(
      subprocess.Popen(
        [*command, str(tmp_path / 'run'), str(pause)], env=environment,
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
      )
    )  # fmt: skip
  return [process.communicate(timeout=900)[0] for process in processes]


# A download takes longer than gloo waits for a connection, 30 s.
@pytest.mark.parametrize('pause', thorough.after([0, 40]))
def test_two_processes_have_one_commit_or_both_end(tmp_path, pause):
  """Each host has a cache of its own; one of them may have no room for it."""
  (tmp_path / 'file').touch()
  with fake_hub.served() as (remote, address):
    commit = remote.put('models', 'org/m', {'config.json': b'{}'})
    # A file where the folder should be.
    caches = tmp_path / 'first', tmp_path / 'file'
    first, second = _of_two(address, tmp_path, caches, pause)
    assert 'refused: another process did not get what is named' in first
    assert "refused: checkpoint: no file or directory 'org/m', and" in second
    # The branch goes on: both have the commit that the first had then.
    remote.put('models', 'org/m', {'config.json': b'{"later": 1}'})
    caches = tmp_path / 'first', tmp_path / 'second'
    for out, cache in zip(
      _of_two(address, tmp_path, caches), caches, strict=True
    ):
      place = f'{cache}/hub/models--org--m/snapshots/{commit}'
      assert out.splitlines()[-1] == place
      assert (pathlib.Path(place) / 'config.json').read_bytes() == b'{}'
