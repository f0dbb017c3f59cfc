"""Units in processes of their own: states, repeats, stops, refusals."""

import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import fake_ablation
import fake_units
import pytest

from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib

# Stands for k15.main.  A file `plan` in the workdir says what each attempt
# does; without one it succeeds.
_RUN = """
import json, os, pathlib, signal, sys, time
workdir = pathlib.Path(sys.argv[2].partition('=')[2])
plan = workdir / 'plan'
steps = plan.read_text().split() if plan.exists() else ['done']
plan.write_text(' '.join(steps[1:] or ['done']))
cores = getattr(os, 'sched_getaffinity', lambda _: ())(0)
print('runs', steps[0], 'on', *cores)
def leave(*_):
  (workdir / 'saved').touch()
  sys.exit(75)
signal.signal(signal.SIGTERM, leave)
if steps[0] == 'wait':
  (workdir / 'waits').touch()
  # A signal just before one long sleep would be seen after it.
  for _ in range(6000):
    time.sleep(0.1)
if steps[0] == 'fail':
  print('it broke\\n')
  sys.exit(3)
if steps[0] == 'preempt':
  sys.exit(75)
summary = dict(accuracy_after_rl=0.5, mean_tokens_after_rl=20.25)
(workdir / 'summary.json').write_text(json.dumps(summary))
"""
# A launcher in a process of its own, for signals.
_LAUNCH = """
import sys
from launch import local
from launch.units import unit
unit.command = lambda config, u, w: [
  sys.executable, {run!r}, '', f'--workdir={{w}}', u.name]
sys.exit(local.main({argv!r}))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
  (tmp_path / 'config.py').write_text(fake_units.CONFIG)
  (tmp_path / 'run.py').write_text(_RUN)

  def command(config, unit, workdir):
    path = str(tmp_path / 'run.py')
    return [sys.executable, path, '', f'--workdir={workdir}', unit.name]

  monkeypatch.setattr(unit_lib, 'command', command)
  return lambda *more: local.main(_argv(tmp_path, *more))


def _argv(path, *more):
  return [f'--config={path}/config.py', '--sweep', f'--root={path}/r', *more]


def _plan(tmp_path, **steps):
  for name, text in steps.items():
    folder = tmp_path / 'r' / name.replace('_', '=')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'plan').write_text(text)


def _records(tmp_path):
  paths = sorted((tmp_path / 'r').glob('*/unit.json'))
  return {path.parent.name: json.loads(path.read_text()) for path in paths}


def _outcomes(tmp_path):
  return {
    name: (record['state'], record['exit_code'], record['attempts'])
    for name, record in _records(tmp_path).items()
  }


def test_a_failed_unit_is_reported_and_only_it_runs_again(
  run, tmp_path, capsys
):
  _plan(tmp_path, seed_1='fail')
  assert run('--parallel=2') == 1
  assert _outcomes(tmp_path) == {
    'seed=0': ('done', 0, 1), 'seed=1': ('failed', 3, 1),
    'seed=2': ('done', 0, 1),
  }  # fmt: skip
  lines = capsys.readouterr().out.splitlines()
  assert any(
    line.startswith('failed   seed=1 (exit code 3): it broke') for line in lines
  )
  rows = [line.split() for line in lines[-3:]]
  assert rows[1][:3] == ['seed=1', 'failed', '3']
  assert rows[2] == ['seed=2', 'done', '0', '0.0', '0.500', '20.2']
  record = _records(tmp_path)['seed=1']
  assert record['overrides'] == {'seed': 1}
  assert record['command'][-1] == 'seed=1'
  assert record['commits'] == [unit_lib.commit()]
  assert run() == 0
  assert _outcomes(tmp_path) == {
    'seed=0': ('done', 0, 1), 'seed=1': ('done', 0, 2),
    'seed=2': ('done', 0, 1),
  }  # fmt: skip
  assert (tmp_path / 'r/seed=1/log.txt').read_text().count('-- attempt') == 2


def test_a_preempted_unit_starts_again_at_once(run, tmp_path):
  _plan(tmp_path, seed_0='preempt preempt done')
  assert run() == 0
  assert _outcomes(tmp_path)['seed=0'] == ('done', 0, 3)


@pytest.mark.skipif(
  not hasattr(os, 'sched_getaffinity') or len(os.sched_getaffinity(0)) < 2,
  reason='needs two cores that processes can be bound to',
)
def test_units_that_run_at_once_share_the_cores(run, tmp_path):
  assert run('--parallel=2') == 0
  logs = [path.read_text() for path in tmp_path.glob('r/*/log.txt')]
  shares = {tuple(log.splitlines()[1].split()[3:]) for log in logs}
  cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
  assert shares <= {tuple(cores[0::2]), tuple(cores[1::2])}


def test_shares_of_cores(monkeypatch):
  cores = set(range(5))
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: cores, raising=False)

  def shares(parallel):
    found = local.shares_of_cores(parallel)
    return [found.get() for _ in range(parallel)]

  assert shares(2) == [[0, 2, 4], [1, 3]]
  assert shares(7) == [[0], [1], [2], [3], [4], [0], [1]]
  monkeypatch.delattr(os, 'sched_getaffinity')
  assert shares(2) == [None, None]


def _launch(tmp_path, *more):
  code = _LAUNCH.format(
    run=str(tmp_path / 'run.py'), argv=_argv(tmp_path, *more)
  )
  root = str(pathlib.Path(local.__file__).resolve().parents[2])
  return subprocess.Popen(
    [sys.executable, '-c', code],
    env=dict(os.environ, PYTHONPATH=root),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_units_save_first(run, tmp_path, number):
  _plan(tmp_path, seed_0='wait done')
  launcher = _launch(tmp_path)
  fake_units.wait_for(tmp_path / 'r/seed=0/waits')
  launcher.send_signal(number)
  printed, _ = launcher.communicate(timeout=fake_units.PATIENCE)
  assert launcher.returncode == 75
  assert 'stopping: units save first' in printed
  assert (tmp_path / 'r/seed=0/saved').exists()
  assert _outcomes(tmp_path) == {'seed=0': ('stopped', 75, 1)}
  assert run() == 0
  assert _outcomes(tmp_path)['seed=0'] == ('done', 0, 2)


def test_a_killed_launcher_leaves_a_unit_that_the_next_one_takes_over(
  run, tmp_path
):
  _plan(tmp_path, seed_0='wait done')
  launcher = _launch(tmp_path)
  fake_units.wait_for(tmp_path / 'r/seed=0/waits')
  while _records(tmp_path)['seed=0']['state'] != 'running':
    time.sleep(0.02)
  launcher.kill()
  launcher.communicate(timeout=fake_units.PATIENCE)
  assert not (tmp_path / 'r/seed=0/saved').exists()
  assert run() == 0
  assert (tmp_path / 'r/seed=0/saved').exists()
  assert _outcomes(tmp_path)['seed=0'] == ('done', 0, 2)


def test_one_launcher_at_a_time(run, tmp_path, capsys):
  (tmp_path / 'r').mkdir()
  with open(tmp_path / 'r/launch.lock', 'w') as file:
    assert unit_lib.try_lock(file)
    assert run() == 2
  assert 'another launcher works there' in capsys.readouterr().err


def test_a_folder_of_other_overrides_is_refused(run, tmp_path, capsys):
  assert run('--config.loss.tau=0.4') == 0
  assert _records(tmp_path)['seed=2']['overrides'] == {
    'loss.tau': 0.4, 'seed': 2,
  }  # fmt: skip
  assert run() == 2
  sentence = capsys.readouterr().err
  assert 'its overrides changed' in sentence
  assert '(loss.tau: 0.4 -> (none))' in sentence


def test_a_unit_that_is_done_keeps_its_config(run, tmp_path, capsys):
  assert run() == 0
  text = fake_units.CONFIG.replace(
    'return base.get_config()', 'c = base.get_config(); c.loss.tau = 0.4\n  '
    'return c',
  )  # fmt: skip
  (tmp_path / 'config.py').write_text(text)
  assert run() == 2
  assert '(loss.tau: 0.1 -> 0.4)' in capsys.readouterr().err
  path = tmp_path / 'r/seed=0/unit.json'
  for seed in range(3):  # What did not exist then may be there now.
    path = tmp_path / f'r/seed={seed}/unit.json'
    record = json.loads(path.read_text())
    del record['settings']['loss.tau']
    path.write_text(json.dumps(record))
  assert run() == 0


def test_mistakes_are_one_sentence(run, tmp_path, capsys):
  for argument, sentence in (
    ('--parallel=0', 'launch: --parallel=0: at least 1 is needed'),
    ('--config.seed=1', 'launch: --config.seed is set by the sweep, too'),
    ('--paralel=2', "'--paralel=2' is no flag; write --config.key=value"),
  ):
    assert run(argument) == 2
    assert sentence in capsys.readouterr().err
  assert not list(tmp_path.glob('r/*/unit.json'))


def test_names_of_roots():
  assert str(local.default_root('experiments/a/b.py:cpu')) == 'runs/b_cpu'
  assert str(local.default_root('experiments/b.py')) == 'runs/b'


def test_what_runs_a_unit():
  unit = sweep.Unit('seed=3', {'seed': 3})
  argv = unit_lib.command('f.py:cpu', unit, pathlib.Path('runs/f/seed=3'))
  assert argv[1:] == [
    '-m', 'k15.main', '--config=f.py:cpu', '--workdir=runs/f/seed=3',
    '--config.seed=3',
  ]  # fmt: skip


def test_units_share_a_cache_of_compilations(monkeypatch):
  key = 'JAX_COMPILATION_CACHE_DIR'
  for name in (key, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):
    monkeypatch.delenv(name, raising=False)
  found = unit_lib.environment()
  assert found[key].endswith('.cache/xla')
  assert found['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] == '0.2'
  monkeypatch.setenv(key, '/mine')
  assert unit_lib.environment()[key] == '/mine'


def test_the_process_of_a_unit_gets_it(monkeypatch, tmp_path):
  key = 'JAX_COMPILATION_CACHE_DIR'
  monkeypatch.setenv(key, str(tmp_path / 'cache'))
  says = f"import os; print(os.environ['{key}'])"
  command = [sys.executable, '-c', says]
  monkeypatch.setattr(unit_lib, 'command', lambda *_: command)
  config = fake_ablation.write_file(tmp_path / 'a.py', {'all': {}}, seeds=1)
  (unit,) = sweep.units(config)
  unit_lib.run_unit(config, unit, tmp_path / 'unit', unit_lib.Stop())
  assert str(tmp_path / 'cache') in (tmp_path / 'unit/log.txt').read_text()


def test_progress_in_a_terminal_has_the_time_that_is_left():
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  progress = local.Progress(terminal, total=5, parallel=2)
  progress.skip()
  progress._seconds = [100.0, 140.0]
  progress.show()
  # Two units of 120 s are left, two at a time.
  assert terminal.getvalue() == '\r\x1b[K3/5 ended, eta 0:02:00'
