"""One unit as a process: exit codes, cores, signals."""

import signal
import subprocess
import sys

import fake_units
import pytest


def _start(tmp_path, *more):
  env = fake_units.make(tmp_path)
  command = [
    sys.executable, '-m', 'launch.work_unit', '--config=config.py',
    '--workdir=r/seed=1', '--config.seed=1', *more,
  ]  # fmt: skip
  return subprocess.Popen(
    command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
  )


@pytest.mark.parametrize(
  'steps, code, outcome',
  [
    ('0', 0, ('done', 0, 1)),
    ('3', 3, ('failed', 3, 1)),
    ('75 75 0', 0, ('done', 0, 3)),  # It saved and was wanted away: again.
  ],
)
def test_exit_codes(tmp_path, steps, code, outcome):
  fake_units.plan(tmp_path, 'seed=1', steps)
  process = _start(tmp_path, '--cores=0')
  assert process.wait(fake_units.PATIENCE) == code
  assert fake_units.outcomes(tmp_path) == {'seed=1': outcome}
  log = (tmp_path / 'r' / 'seed=1' / 'log.txt').read_text()
  assert f'seed 1 does {steps.split()[0]}' in log


def test_sigterm_lets_it_save(tmp_path):
  fake_units.plan(tmp_path, 'seed=1', 'wait')
  process = _start(tmp_path)
  fake_units.wait_for(tmp_path / 'r' / 'seed=1' / 'waits')
  process.send_signal(signal.SIGTERM)
  assert process.wait(fake_units.PATIENCE) == 75
  assert fake_units.outcomes(tmp_path) == {'seed=1': ('stopped', 75, 1)}


def test_a_second_sigterm_ends_it(tmp_path):
  fake_units.plan(tmp_path, 'seed=1', 'linger')
  process = _start(tmp_path)
  fake_units.wait_for(tmp_path / 'r' / 'seed=1' / 'waits')
  process.send_signal(signal.SIGTERM)
  # Two at once are one.
  fake_units.wait_for(tmp_path / 'r' / 'seed=1' / 'saves')
  process.send_signal(signal.SIGTERM)
  assert process.wait(fake_units.PATIENCE) == 75
  assert not (tmp_path / 'r' / 'seed=1' / 'saved').exists()
