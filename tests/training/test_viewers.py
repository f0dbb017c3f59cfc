"""Viewers: what they are told, once, and a run that outlives their failures.

wandb, trackio and MLflow are tried as they are where they are installed,
offline; the packages' own files are read back.
"""

import importlib
import importlib.util
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from k15 import files
from k15.config import keys
from k15.training import logs
from k15.training import viewers

CONFIG = dict(seed=3, loss=dict(tau=0.1), stages=['sft', 'rl'])


class Told:
  """A viewer that only appends, and notes what it is told."""

  takes_back = False
  calls: list

  def __init__(self, run):
    self.calls.append(('made', run.shown_as))

  def truncate(self, stage, step):
    self.calls.append(('truncate', stage, step))

  def scalars(self, stage, step, values):
    self.calls.append((stage, step, values))

  def table(self, stage, step, columns, rows):
    self.calls.append((stage, step, columns, rows))

  def close(self):
    self.calls.append('closed')


@pytest.fixture
def told(monkeypatch):
  """The calls of a viewer 'told', which VIEWERS has."""
  monkeypatch.setattr(Told, 'calls', [], raising=False)
  monkeypatch.setitem(viewers.VIEWERS, 'told', Told)
  return Told.calls


def _logger(workdir, *to, **config):
  return logs.Logger(workdir, True, to, 'trials', 'mine', CONFIG | config)


def _record(i):
  return dict(
    prompt='1 + 1', response=f'so {i}', reward=0.5 * i, difficulty=None,
    parts={'rule': 1}, versions=[1, 2],
  )  # fmt: skip


def _log(logger, stage, first, last):
  logger.truncate(stage, first)
  for step in range(first, last):
    values = {'rl/reward': step / 10, 'reward/right': 0, 'sft/pass@8': 1}
    logger.scalars(stage, step, values)
    logger.trajectories(stage, step, [_record(step), _record(step + 1)])
  logger.close()


def test_the_names_of_a_config_are_the_rows():
  assert tuple(viewers.VIEWERS) == keys.VIEWERS


def test_a_viewer_is_made_when_there_is_something_to_tell(tmp_path, told):
  logger = _logger(tmp_path, 'told')
  assert not told
  logger.truncate('rl', 3)
  values = {'rl/reward': np.float32(0.5), 'rl/broken': np.nan}
  logger.scalars('rl', 3, values)
  logger.trajectories('rl', 3, [_record(3)])
  logger.close()
  columns = ['prompt', 'response', 'reward', 'difficulty']
  assert told == [
    ('made', 'mine'), ('truncate', 'rl', 3), ('rl', 3, {'rl/reward': 0.5}),
    ('rl', 3, columns, [['1 + 1', 'so 3', 1.5, None]]), 'closed',
  ]  # fmt: skip


def _steps(told, stage):
  return [c[1] for c in told if c[0] == stage and len(c) == 3]


def test_what_is_done_once_more_is_told_once(tmp_path, told):
  _log(_logger(tmp_path, 'told'), 'rl', 0, 7)
  _log(_logger(tmp_path, 'told'), 'rl', 4, 6)  # It comes less far than before.
  _log(_logger(tmp_path, 'told'), 'rl', 4, 9)
  assert _steps(told, 'rl') == list(range(9))
  records = files.read_jsonl(tmp_path / 'metrics.jsonl')
  assert [r['step'] for r in records] == list(range(9))


def test_a_later_stage_that_is_taken_back_is_told_once(tmp_path, told):
  _log(_logger(tmp_path, 'told'), 'sft', 0, 3)
  _log(_logger(tmp_path, 'told'), 'rl', 0, 2)
  _log(_logger(tmp_path, 'told'), 'sft', 2, 4)  # Takes all of rl with it.
  _log(_logger(tmp_path, 'told'), 'rl', 0, 3)
  assert _steps(told, 'sft') == list(range(4))
  assert _steps(told, 'rl') == list(range(3))


def test_a_stage_that_begins_anew_under_another_config_is_told(tmp_path, told):
  _log(_logger(tmp_path, 'told'), 'rl', 0, 2)
  _log(_logger(tmp_path, 'told'), 'rl', 0, 2)
  assert _steps(told, 'rl') == [0, 1]
  _log(_logger(tmp_path, 'told', seed=4), 'rl', 0, 2)
  assert _steps(told, 'rl') == [0, 1, 0, 1]


@pytest.mark.parametrize('method', ['__init__', 'scalars', 'table', 'close'])
def test_a_viewer_that_fails_is_left_out_with_a_sentence(
  tmp_path, told, monkeypatch, capsys, method
):
  def fail(self, *arguments):
    raise ConnectionError('no route to host\nand more')

  monkeypatch.setattr(Told, method, fail)
  _log(_logger(tmp_path, 'told', 'tensorboard'), 'rl', 0, 3)
  assert capsys.readouterr().err == (
    "logging.to: 'told' fails and is left out until the run is started again;"
    ' metrics.jsonl has all: no route to host\n'
  )
  assert len(files.read_jsonl(tmp_path / 'metrics.jsonl')) == 3
  assert list((tmp_path / 'tensorboard' / 'rl').iterdir())


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  viewers.refuse_missing(['tensorboard'])
  with pytest.raises(ValueError, match=r"needs trackio, .* 'k15\[trackio\]'"):
    viewers.refuse_missing(['tensorboard', 'trackio'])


def _resumed(workdir, name, wait_seconds=0.0):
  """A run that was killed behind step 3, and goes on from step 2."""
  _log(_logger(workdir, name), 'rl', 0, 4)
  time.sleep(wait_seconds)
  _log(_logger(workdir, name), 'rl', 2, 6)
  return viewers.remembered(workdir)[name]


def _needs(name):
  if importlib.util.find_spec(name) is None:
    pytest.skip(f'{name} is not installed: the extra {name}')


def test_wandb_offline(tmp_path, monkeypatch):
  _needs('wandb')
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_SILENT', 'true')
  name = _resumed(tmp_path, 'wandb', 1.1)  # Folders are named by the second.
  importlib.import_module('wandb').teardown()  # Its process writes all.
  places = sorted(tmp_path.glob(f'wandb/offline-run-*-{name}/*.wandb'))
  assert len(places) == 2  # One of each start, of one id.
  records = [r for path in places for r in _wandb_records(path)]
  assert _wandb_rewards(tmp_path) == [(i, i / 10) for i in range(6)]
  media = 'files/media/table/rl/*.json'
  tables = sorted(tmp_path.glob(f'wandb/offline-run-*/{media}'))
  found = [json.loads(path.read_text()) for path in tables]
  assert len(found) == 6
  assert found[0]['columns'] == ['prompt', 'response', 'reward', 'difficulty']
  runs = [r.run for r in records if r.HasField('run') and r.run.config.update]
  assert {(r.run_id, r.project, r.display_name) for r in runs} == {
    (name, 'trials', 'mine')
  }
  assert _items(runs[0].config, 'update')['loss'] == {'tau': 0.1}


def _wandb_rewards(workdir):
  history = [
    _items(record.history)
    for path in sorted(workdir.glob('wandb/offline-run-*/*.wandb'))
    for record in _wandb_records(path)
    if record.HasField('history')
  ]
  return [(h['rl/step'], h['rl/reward']) for h in history if 'rl/reward' in h]


def _items(message, field='item'):
  return {
    i.key or '.'.join(i.nested_key): json.loads(i.value_json)
    for i in getattr(message, field)
  }


def _wandb_records(path):
  """Records of a run's file: LevelDB's log, behind a header of 7 bytes."""
  messages = importlib.import_module('wandb.proto.wandb_internal_pb2')
  data, at, whole = path.read_bytes(), 7, b''
  while at + 7 <= len(data):
    left = 32768 - at % 32768
    if left < 7:  # No record begins so near a block's end.
      at += left
      continue
    size, kind = int.from_bytes(data[at + 4 : at + 6], 'little'), data[at + 6]
    whole += data[at + 7 : at + 7 + size]
    at += 7 + size
    if kind in (1, 4):  # Whole, or the last part.
      yield messages.Record.FromString(whole)
      whole = b''


def test_trackio_in_the_workdir(tmp_path, monkeypatch):
  _needs('trackio')
  monkeypatch.delenv('TRACKIO_DIR', raising=False)
  name = _resumed(tmp_path, 'trackio')
  assert name.startswith('mine-')
  found = _trackio_rows(tmp_path)
  with sqlite3.connect(tmp_path / 'trackio' / 'trials.db') as data:
    ((config,),) = data.execute('select config from configs')
  assert {n for n, _, _ in found} == {name}
  assert _trackio_rewards(tmp_path) == [(i, i / 10) for i in range(6)]
  tables = [m['rl/trajectories'] for _, _, m in found if 'rl/reward' not in m]
  assert [t['_value'][0]['response'] for t in tables] == [
    f'so {i}' for i in range(6)
  ]
  assert json.loads(config)['loss'] == {'tau': 0.1}


def _trackio_rows(workdir):
  with sqlite3.connect(workdir / 'trackio' / 'trials.db') as data:
    query = 'select run_name, step, metrics from metrics order by id'
    return [(n, s, json.loads(m)) for n, s, m in data.execute(query)]


def _trackio_rewards(workdir):
  rows = _trackio_rows(workdir)
  return [(s, m['rl/reward']) for _, s, m in rows if 'rl/reward' in m]


def test_mlflow_in_plain_files(tmp_path, monkeypatch):
  _needs('mlflow')
  monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
  monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
  name = _resumed(tmp_path, 'mlflow')
  client = _mlflow(tmp_path)
  experiment = client.get_experiment_by_name('trials')
  (run,) = client.search_runs([experiment.experiment_id])
  assert (run.info.run_id, run.info.run_name) == (name, 'mine')
  assert run.info.status == 'FINISHED'
  assert _mlflow_rewards(tmp_path) == [(i, i / 10) for i in range(6)]
  names = {'rl/reward', 'rl/reward.right', 'rl/sft.pass_8'}
  assert set(run.data.metrics) == names
  assert run.data.params['loss.tau'] == '0.1'
  tables = client.list_artifacts(name, 'trajectories/rl')
  assert len(tables) == 6
  place = tmp_path / 'mlruns' / experiment.experiment_id / name / 'artifacts'
  assert json.loads((place / 'config.json').read_text()) == CONFIG
  shown = json.loads(run.data.tags['mlflow.loggedArtifacts'])
  assert shown == [dict(path='trajectories/rl/000005.json', type='table')]


def _mlflow(workdir):
  mlflow = importlib.import_module('mlflow')
  return mlflow.MlflowClient((workdir / 'mlruns').as_uri())


def _mlflow_rewards(workdir):
  name = viewers.remembered(workdir)['mlflow']
  history = _mlflow(workdir).get_metric_history(name, 'rl/reward')
  return sorted((m.step, m.value) for m in history)


# A process each, as trackio reads once where it is to write.
_LOGS = """
import pathlib, sys, time
from k15.training import logs
workdir, name, first, end = sys.argv[1:]
logger = logs.Logger(pathlib.Path(workdir), True, (name,), 'trials', 'mine', {})
logger.truncate('rl', int(first))
for step in range(int(first), int(end)):
  logger.scalars('rl', step, {'rl/reward': step / 10})
  print(step, flush=True)
  time.sleep(0.2)
logger.close()
"""


@pytest.mark.parametrize(
  'name, rewards',
  [
    ('wandb', _wandb_rewards),
    ('trackio', _trackio_rewards),
    ('mlflow', _mlflow_rewards),
  ],
)
def test_a_run_that_is_killed_while_it_logs(
  tmp_path, monkeypatch, name, rewards
):
  """By SIGKILL, twice: no viewer has anything twice.

  What the libraries had not written may be missing: here all that wandb was
  told, and what trackio was in the last second.
  """
  _needs(name)
  variables = dict(
    WANDB_MODE='offline', WANDB_SILENT='true', MLFLOW_ALLOW_FILE_STORE='true'
  )
  for key, value in variables.items():
    monkeypatch.setenv(key, value)
  for key in ('TRACKIO_DIR', 'MLFLOW_TRACKING_URI'):
    monkeypatch.delenv(key, raising=False)
  place = str(pathlib.Path(logs.__file__).parents[2])

  def begin(first, end):
    return subprocess.Popen(
      [sys.executable, '-c', _LOGS, str(tmp_path), name, str(first), str(end)],
      env=os.environ | dict(PYTHONPATH=place), stdout=subprocess.PIPE,
      text=True,
    )  # fmt: skip

  last = 0
  for _ in range(2):
    # A checkpoint that lies a few steps back.
    process = begin(max(0, last - 3), 10**9)
    for line in process.stdout:
      # trackio says where it is first.
      if line.strip().isdecimal() and int(line) >= last + 25:
        last = int(line)
        break
    process.kill()
    process.communicate()
  process = begin(last - 2, last + 4)
  process.communicate()
  assert process.returncode == 0
  found = rewards(tmp_path)
  steps = [step for step, _ in found]
  assert len(steps) >= (3 if name == 'wandb' else 24)
  assert steps == sorted(set(steps)) and steps[-1] == last + 3
  assert found == [(step, step / 10) for step in steps]
