"""The ladder: each rung by itself, and what a refusal says.

The canary sings where something is open, and where nothing is, does not.
"""

import os
import subprocess
import sys

import pytest

from k15.rewards.sandbox import cgroups
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls
from k15.rewards.sandbox import worker as worker_lib

PROBE = """
import os
print(os.environ.copy(), os.path.exists('/etc/shadow'), os.getcwd() != '/')
"""


@pytest.mark.parametrize('rung', walls.LADDER[:-1])
def test_every_rung_that_holds_runs_and_is_named(rung):
  try:
    pool = pool_lib.Pool(1, lowest=rung, highest=rung)
  except walls.SandboxError as error:
    pytest.skip(str(error))
  with pool:
    outcome = pool.run(pool_lib.Job('python', PROBE))
    assert outcome.rung == pool.rung
    assert pool.rung in (rung, f'{rung}+cgroup')
    seen = outcome.stdout.split()
    assert (seen[0], seen[-1]) == ('{}', 'True')
    assert rung == 'seccomp' or seen[1] == 'False'


def test_the_canary_finds_what_is_open():
  """The lowest rung has no walls: the canary has to see that."""
  launcher, config = walls.make_config('rlimits', {}, ())
  holes = walls.prove(launcher, {**config, 'cgroup': False})
  assert 'secret' in holes
  if sys.platform == 'linux':
    assert {'network', 'leftover'} <= set(holes)


def test_the_lowest_rung_has_to_be_asked_for(monkeypatch):
  def nothing(rung, packages, imports):
    raise walls.SandboxError(f'{rung} is not here')

  monkeypatch.setattr(walls, 'make_config', nothing)
  monkeypatch.setattr(cgroups, 'make', lambda: None)
  with pytest.raises(walls.SandboxError) as refusal:
    pool_lib.Pool(1, with_cgroups=True)
  said = str(refusal.value)
  for rung in walls.LADDER[:-1]:
    assert f'{rung}: {rung} is not here' in said
  assert 'no writable control group' in said and 'lowest=' in said


def test_a_rung_with_a_hole_is_passed_over(monkeypatch):
  tried = []

  def prove(launcher, config):
    tried.append(config['name'])
    return {'network': True} if config['rung'] == 'namespaces' else {}

  monkeypatch.setattr(
    walls, 'make_config', lambda rung, *a: ((), {'rung': rung})
  )
  monkeypatch.setattr(walls, 'prove', prove)
  _, config, missing = walls.climb('seccomp', {}, ())
  assert tried == ['namespaces', 'bwrap'] and config['name'] == 'bwrap'
  assert missing['namespaces'] == 'open: network (True)'


def test_a_missing_tool_is_named(monkeypatch):
  monkeypatch.setattr(walls.shutil, 'which', lambda *a, **k: None)
  with pytest.raises(walls.SandboxError, match='bubblewrap'):
    walls.make_config('bwrap', {}, ())


def test_no_linux_has_the_lowest_rung_alone(monkeypatch):
  monkeypatch.setattr(sys, 'platform', 'darwin')
  for rung in walls.LADDER[:-1]:
    with pytest.raises(walls.SandboxError, match='needs Linux'):
      walls.make_config(rung, {}, ())
  assert walls.make_config('rlimits', {}, ())[0] == ()


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='no /proc')
def test_nothing_of_it_runs_as_the_hosts_root():
  try:
    launcher, config = walls.make_config('namespaces', {}, ())
    worker = worker_lib.Worker(launcher, {**config, 'cgroup': False})
    worker.wait_ready()
  except (walls.SandboxError, worker_lib.WorkerLost) as error:
    pytest.skip(str(error))
  try:
    pids = cgroups.descendants(worker.pid)
    assert len(pids) >= 2
    for pid in pids:
      done = subprocess.run(
        ['cat', f'/proc/{pid}/status'], capture_output=True, text=True
      )
      uids = [s for s in done.stdout.split('\n') if s.startswith('Uid')][0]
      assert '0' not in uids.split()[1:]
  finally:
    worker.close()


def prove(rung):
  try:
    launcher, config = walls.make_config(rung, {}, ())
    return walls.prove(launcher, {**config, 'cgroup': False})
  except (walls.SandboxError, worker_lib.WorkerLost) as error:
    pytest.skip(str(error))


@pytest.fixture
def leaky(monkeypatch):
  """Workers that inherit our environment."""
  popen = worker_lib.subprocess.Popen

  def start(command, **options):
    return popen(command, **{**options, 'env': dict(os.environ)})

  monkeypatch.setattr(worker_lib.subprocess, 'Popen', start)


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_without_walls_everything_but_the_environment_is_open():
  holes = prove('rlimits')
  assert {'secret', 'network', 'ptrace', 'leftover'} <= set(holes)
  assert 'environ' not in holes and 'endless' not in holes


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_an_inherited_environment_is_found(leaky):
  assert prove('rlimits')['environ'] is True


def test_walls_hide_even_an_inherited_environment(leaky):
  holes = prove('namespaces')
  assert 'environ' not in holes and 'secret' not in holes


def test_our_own_environment_is_left_as_it_was():
  before = dict(os.environ)
  prove('rlimits')
  assert dict(os.environ) == before
