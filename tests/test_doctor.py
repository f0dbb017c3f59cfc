"""The doctor: what it finds wrong is a line with what to do, never an error."""

import pathlib
import subprocess
import sys
import types

import pytest

from k15 import doctor
from k15.config import extras
from k15.rewards.sandbox import walls
from k15.rewards.sandbox import worker

OK, LACKS, STOPS = doctor.State.OK, doctor.State.LACKS, doctor.State.STOPS


def _says(code):
  """A process in the place of the one that asks jax."""
  return subprocess.Popen(
    [sys.executable, '-I', '-S', '-c', code],
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def test_devices_of_a_cpu_and_of_gpus():
  line = doctor.devices(_says('print(\'["1.2", "cpu", "cpu", 8, 0]\')'), ())
  assert line == (OK, 'devices', '8 x cpu, by jax 1.2', '')
  text = 'print("warning"); print(\'["1.2", "gpu", "H200", 2, 1073741824]\')'
  line = doctor.devices(_says(text), ('gpu',))
  assert line.found == '2 x gpu (H200) of 1.0 GiB, by jax 1.2'
  assert line.state is OK


def test_a_gpu_that_jax_does_not_see(monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  asked = _says('print(\'["1.2", "cpu", "cpu", 1, 0]\')')
  line = doctor.devices(asked, ('gpu',))
  assert line.state is LACKS and "pip install 'k15[gpu]'" in line.todo
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  asked = _says('print(\'["1.2", "cpu", "cpu", 1, 0]\')')
  assert 'JAX_PLATFORMS=cpu' in doctor.devices(asked, ('gpu',)).todo


def test_a_trainer_that_breaks_or_hangs_stops_every_run():
  line = doctor.devices(_says('raise ImportError("no jaxlib")'), ())
  assert line.state is STOPS and line.found == 'ImportError: no jaxlib'
  line = doctor.devices(_says('import time; time.sleep(999)'), (), 0.01)
  assert (
    line.state is STOPS and line.found == 'no answer of jax in 0.01 seconds'
  )


@pytest.mark.parametrize(
  'version, state', [((3, 10), STOPS), ((3, 11), OK), ((3, 14), STOPS)]
)
def test_versions_of_python(monkeypatch, version, state):
  monkeypatch.setattr(doctor.sys, 'version_info', (*version, 0))
  assert doctor.python().state is state


def test_room_on_disk(monkeypatch, tmp_path):
  usage = types.SimpleNamespace(free=0)
  monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda folder: usage)
  later = tmp_path / 'not' / 'made'
  for free, state in ((1 << 20, STOPS), (1 << 30, LACKS), (9 << 30, OK)):
    usage.free = free
    line = doctor.disk(later)
    assert line.state is state and str(tmp_path) in line.found
  assert not later.exists() and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
  def refuse(dir):
    raise PermissionError(13, 'Permission denied', str(dir))

  monkeypatch.setattr(doctor.tempfile, 'TemporaryFile', refuse)
  line = doctor.disk(tmp_path)
  assert line.state is STOPS and line.found.endswith('Permission denied')


def test_shared_memory(monkeypatch, tmp_path):
  assert doctor.shared_memory(tmp_path / 'none').state is OK
  usage = types.SimpleNamespace(free=64 << 20)
  monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda folder: usage)
  line = doctor.shared_memory(tmp_path)
  assert line.state is LACKS and '--shm-size' in line.todo

  def refuse(dir):
    raise PermissionError(13, 'Permission denied', str(dir))

  monkeypatch.setattr(doctor.tempfile, 'TemporaryFile', refuse)
  line = doctor.shared_memory(tmp_path)
  assert line.state is STOPS and line.found.endswith('Permission denied')


def test_memory_is_that_of_the_control_group(monkeypatch):
  monkeypatch.setattr(doctor, '_group_bytes', lambda: [1 << 30])
  assert doctor.memory() == (
    LACKS, 'memory', '1.0 GiB', 'the smallest run takes about 2.0 GiB',
  )  # fmt: skip
  monkeypatch.setattr(doctor, '_group_bytes', lambda: [])
  assert doctor.memory().state is OK


def test_a_rung_that_does_not_hold_is_told_with_its_reason(monkeypatch):
  def lost(launcher, config):
    raise worker.WorkerLost('unshare: Operation not permitted')

  monkeypatch.setattr(walls, 'prove', lost)
  monkeypatch.setattr(walls, 'find_libraries', lambda interpreter: {})
  line = doctor.sandbox('seccomp')
  assert line.state is LACKS and line.thing == 'sandbox: seccomp'
  assert line.found == 'unshare: Operation not permitted'
  # What nobody asked for is never tried: it has no walls.
  assert set(doctor._WALLS) == set(walls.LADDER) - {'rlimits'}


def test_languages_and_what_they_lack():
  line = doctor.programs()
  assert 'python' in line.found
  assert (line.state is LACKS) == bool(line.todo)


def test_an_extra_that_is_missing():
  extra = extras.Extra('y', 'something', {'not_there': 'not-there'})
  assert doctor.installed(extra) == (
    LACKS, 'k15[y]', 'something: no not-there', "pip install 'k15[y]'",
  )  # fmt: skip


@pytest.mark.parametrize('state, code', [(OK, 0), (LACKS, 0), (STOPS, 1)])
def test_the_exit_code(monkeypatch, capsys, state, code):
  lines = [doctor.Line(OK, 'a', 'b'), doctor.Line(state, 'c', 'd', 'do it')]
  monkeypatch.setattr(doctor, 'examine', lambda workdir: lines)
  assert doctor.main([]) == code
  out = capsys.readouterr().out.splitlines()
  assert out[1].split() == [state.value, 'c', 'd'] and out[2].strip() == 'do it'
  assert ('keep every run' in out[-1]) == bool(code)


def test_accelerators_by_their_files(monkeypatch, tmp_path):
  def path(name):
    return tmp_path / pathlib.PurePosixPath(name).relative_to('/')

  monkeypatch.setattr(doctor.pathlib, 'Path', path)
  (tmp_path / 'dev/vfio').mkdir(parents=True)
  assert doctor.accelerators() == ()
  (tmp_path / 'dev/vfio/vfio').touch()  # There without any device.
  assert doctor.accelerators() == ()
  (tmp_path / 'dev/vfio/0').touch()
  (tmp_path / 'dev/nvidia0').touch()
  assert doctor.accelerators() == ('gpu', 'tpu')
