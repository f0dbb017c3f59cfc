"""The ladder: each rung by itself, and what a refusal says."""

import os
import subprocess
import sys

import pytest

from k15.rewards import cgroups
from k15.rewards import sandbox
from k15.rewards import sandbox_canary
from k15.rewards import sandbox_rungs
from k15.rewards import sandbox_worker

PROBE = """
import os
print(os.environ.copy(), os.path.exists('/etc/shadow'), os.getcwd() != '/')
"""


@pytest.mark.parametrize('rung', sandbox_rungs.LADDER[:-1])
def test_every_rung_that_holds_runs_and_is_named(rung):
  try:
    pool = sandbox.Pool(1, lowest=rung, highest=rung)
  except sandbox_rungs.SandboxError as error:
    pytest.skip(str(error))
  with pool:
    outcome = pool.run(sandbox.Job('python', PROBE))
    assert outcome.rung == pool.rung
    assert pool.rung in (rung, f'{rung}+cgroup')
    seen = outcome.stdout.split()
    assert (seen[0], seen[-1]) == ('{}', 'True')
    assert rung == 'seccomp' or seen[1] == 'False'


def test_the_canary_finds_what_is_open():
  """The lowest rung has no walls: the canary has to see that."""
  launcher, config = sandbox_rungs.make_config('rlimits', {}, ())
  holes = sandbox_canary.prove(launcher, {**config, 'cgroup': False})
  assert 'secret' in holes
  if sys.platform == 'linux':
    assert {'network', 'leftover'} <= set(holes)


def test_the_lowest_rung_has_to_be_asked_for(monkeypatch):
  def nothing(rung, packages, imports):
    raise sandbox_rungs.SandboxError(f'{rung} is not here')

  monkeypatch.setattr(sandbox_rungs, 'make_config', nothing)
  monkeypatch.setattr(cgroups, 'make', lambda: None)
  with pytest.raises(sandbox_rungs.SandboxError) as refusal:
    sandbox.Pool(1, with_cgroups=True)
  said = str(refusal.value)
  for rung in sandbox_rungs.LADDER[:-1]:
    assert f'{rung}: {rung} is not here' in said
  assert 'no writable control group' in said and 'lowest=' in said


def test_a_rung_with_a_hole_is_passed_over(monkeypatch):
  tried = []

  def prove(launcher, config):
    tried.append(config['name'])
    return {'network': True} if config['rung'] == 'namespaces' else {}

  monkeypatch.setattr(
    sandbox_rungs, 'make_config', lambda rung, *a: ((), {'rung': rung})
  )
  monkeypatch.setattr(sandbox_canary, 'prove', prove)
  _, config, missing = sandbox_rungs.climb('seccomp', {}, ())
  assert tried == ['namespaces', 'bwrap'] and config['name'] == 'bwrap'
  assert missing['namespaces'] == 'open: network (True)'


def test_a_missing_tool_is_named(monkeypatch):
  monkeypatch.setattr(sandbox_rungs.shutil, 'which', lambda *a, **k: None)
  with pytest.raises(sandbox_rungs.SandboxError, match='bubblewrap'):
    sandbox_rungs.make_config('bwrap', {}, ())


def test_no_linux_has_the_lowest_rung_alone(monkeypatch):
  monkeypatch.setattr(sys, 'platform', 'darwin')
  for rung in sandbox_rungs.LADDER[:-1]:
    with pytest.raises(sandbox_rungs.SandboxError, match='needs Linux'):
      sandbox_rungs.make_config(rung, {}, ())
  assert sandbox_rungs.make_config('rlimits', {}, ())[0] == ()


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='no /proc')
def test_nothing_of_it_runs_as_the_hosts_root():
  try:
    launcher, config = sandbox_rungs.make_config('namespaces', {}, ())
    worker = sandbox_worker.Worker(launcher, {**config, 'cgroup': False})
    worker.wait_ready()
  except (sandbox_rungs.SandboxError, sandbox_worker.WorkerLost) as error:
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
