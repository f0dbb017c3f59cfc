"""The canary sings where something is open, and where nothing is, does not."""

import os
import sys

import pytest

from k15.rewards import sandbox_canary
from k15.rewards import sandbox_rungs
from k15.rewards import sandbox_worker


def prove(rung):
  try:
    launcher, config = sandbox_rungs.make_config(rung, {}, ())
    return sandbox_canary.prove(launcher, {**config, 'cgroup': False})
  except (sandbox_rungs.SandboxError, sandbox_worker.WorkerLost) as error:
    pytest.skip(str(error))


@pytest.fixture
def leaky(monkeypatch):
  """Workers that inherit our environment."""
  popen = sandbox_worker.subprocess.Popen

  def start(command, **options):
    return popen(command, **{**options, 'env': dict(os.environ)})

  monkeypatch.setattr(sandbox_worker.subprocess, 'Popen', start)


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
