"""Units as processes of this machine, started by XManager."""

import json
import pathlib
import signal
import sqlite3
import subprocess
import sys

import fake_units
import pytest

pytest.importorskip('xmanager', reason="XManager comes with the extra 'launch'")

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _start(tmp_path, *more, env=None):
  command = [
    sys.executable, 'launch/xm.py', '--config=config.py', '--sweep',
    '--executor=local', '--root=r', *more,
  ]  # fmt: skip
  return subprocess.Popen(
    command, cwd=tmp_path, env=env or fake_units.make(tmp_path),
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def test_a_failed_unit_is_reported_and_only_it_runs_again(tmp_path):
  env = fake_units.make(tmp_path) | {'HOME': str(tmp_path / 'home')}
  fake_units.plan(tmp_path, 'seed=1', '3')
  fake_units.plan(tmp_path, 'seed=2', '75 0')
  process = _start(tmp_path, '--parallel=2', env=env)
  out, _ = process.communicate(timeout=fake_units.PATIENCE)
  assert process.returncode == 1
  assert fake_units.outcomes(tmp_path) == {
    'seed=0': ('done', 0, 1), 'seed=1': ('failed', 3, 1),
    'seed=2': ('done', 0, 2),
  }  # fmt: skip
  rows = [line.split() for line in out.splitlines()[-3:]]
  assert [row[:3] for row in rows] == [
    ['seed=0', 'done', '0'], ['seed=1', 'failed', '3'],
    ['seed=2', 'done', '0'],
  ]  # fmt: skip
  process = _start(tmp_path, '--parallel=2', env=env)
  out, _ = process.communicate(timeout=fake_units.PATIENCE)
  assert process.returncode == 0
  assert fake_units.outcomes(tmp_path)['seed=1'] == ('done', 0, 2)
  assert fake_units.outcomes(tmp_path)['seed=0'] == ('done', 0, 1)
  assert 'started  seed=0' not in out and 'started  seed=1' in out
  assert not (tmp_path / 'home').exists()  # Nothing is written at home.


def test_values_go_through_the_shell_as_they_are(tmp_path):
  """XManager starts a shell, of which units see nothing."""
  text = '\n$$\\boxed{x}$$ $HOME ${HOME} $(date) `date` "a" \'b\' ! * ~ # ; & |'
  process = _start(tmp_path, f'--config.task.system_prompt={text}')
  process.communicate(timeout=fake_units.PATIENCE)
  assert process.returncode == 0
  flags = json.loads((tmp_path / 'r/seed=1/flags.json').read_text())
  assert flags['--config.task.system_prompt'] == text


def test_sigterm_lets_units_save_and_no_others_begin(tmp_path):
  fake_units.plan(tmp_path, 'seed=0', 'wait')
  process = _start(tmp_path)
  fake_units.wait_for(tmp_path / 'r' / 'seed=0' / 'waits')
  process.send_signal(signal.SIGTERM)
  out, _ = process.communicate(timeout=fake_units.PATIENCE)
  assert process.returncode == 75, out
  assert fake_units.outcomes(tmp_path) == {'seed=0': ('stopped', 75, 1)}
  assert (tmp_path / 'r' / 'seed=0' / 'saved').exists()


def test_xmanager_keeps_its_experiments_in_the_project():
  """What the tests above have started is among them."""
  path = ROOT / '.cache' / 'xmanager' / 'experiments.sqlite3'
  with sqlite3.connect(path) as database:
    [[count]] = database.execute(
      "SELECT COUNT(*) FROM experiment WHERE experiment_title = 'r'"
    )
  assert count > 0
