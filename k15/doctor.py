"""What of this machine works: `k15 doctor`, or `python -m k15.doctor`.

A line for each thing that a run may need, with what was found; where something
is missing, the next line says what to do.  The exit code is 1 if a run of
`k15.main` could not begin, and 0 however much of the rest is missing.

Each check is a function that returns its `Line`.  None of them raises, none
needs an extra, and jax is asked in a process of its own, so that a device that
hangs or a broken installation is a line as well.
"""

import argparse
import enum
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from k15.config import extras
from k15.rewards.sandbox import cgroups
from k15.rewards.sandbox import languages
from k15.rewards.sandbox import walls

# What a smoke run leaves, with its report, is 10 MB; the compiled programs of a
# larger one, and two checkpoints of its weights and moments, are far more.
_LEAST_FREE_BYTES = 100 << 20
_COMFORTABLE_BYTES = 5 << 30
# What the smallest run takes: jax, its programs, and the report's pictures.
_LEAST_MEMORY_BYTES = 2 << 30
# XLA and NCCL pass data between processes of a host by way of it.
_LEAST_SHARED_BYTES = 1 << 30
_PYTHONS = ((3, 11), (3, 13))
# Seconds until devices have answered: a TPU of which another process has hold
# never does.
_PATIENCE = 120
# The whole of what a run imports, then the devices it would find.
_TRAINER = """
import json
from k15 import main
import jax
found = jax.devices()
memory = (found[0].memory_stats() or {}).get('bytes_limit', 0)
print(json.dumps([jax.__version__, found[0].platform, found[0].device_kind,
  len(found), memory]))
"""


class State(enum.Enum):
  """What a check found, as its line begins."""

  OK = 'ok'
  LACKS = '--'  # Some use of k15 is not possible here.
  STOPS = 'NO'  # No run is.


class Line(NamedTuple):
  """What one check found.

  Attributes:
    state: of the thing.
    thing: that was looked at, a few words.
    found: what there is.
    todo: what to do, '' if nothing.
  """

  state: State
  thing: str
  found: str
  todo: str = ''


def main(argv: Sequence[str]) -> int:
  """Prints the lines as they are found; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='k15 doctor', description=__doc__.partition('\n')[0]
  )
  parser.add_argument(
    '--workdir', default='.', help='where runs will go (default: here)'
  )
  workdir = parser.parse_args(argv).workdir
  stops = 0
  for line in examine(pathlib.Path(workdir)):
    print(f'{line.state.value}  {line.thing:<20} {line.found}', flush=True)
    if line.todo:
      print(f'{"":<25}{line.todo}', flush=True)
    stops += line.state is State.STOPS
  print(
    f'k15: {stops} of these keep every run from starting'
    if stops
    else 'k15: runs start here'
  )
  return min(stops, 1)


def examine(workdir: pathlib.Path) -> Iterator[Line]:
  """All lines, the quick ones while jax is asked for its devices."""
  asked = start_trainer()
  yield python()
  yield memory()
  yield shared_memory()
  yield disk(workdir)
  yield disk(pathlib.Path(tempfile.gettempdir()), 'temporary files')
  yield devices(asked, accelerators())
  yield control_groups()
  for rung in walls.LADDER[:-1]:  # The last has no walls: nothing to prove.
    yield sandbox(rung)
  yield programs()
  for extra in extras.EXTRAS:
    yield installed(extra)


def python() -> Line:
  """The interpreter and the kind of machine."""
  version = sys.version_info[:2]
  machine = f'{platform.system()} {platform.machine()}'
  found = f'{platform.python_version()}, {machine}, {os.cpu_count()} cores'
  if _PYTHONS[0] <= version <= _PYTHONS[1]:
    return Line(State.OK, 'python', found)
  return Line(State.STOPS, 'python', found, 'k15 needs Python 3.11 to 3.13')


def memory() -> Line:
  """Of the machine, or of the control group that this process is in."""
  limits = [_physical_bytes(), *_group_bytes()]
  known = [limit for limit in limits if limit]
  if not known:
    return Line(State.OK, 'memory', 'this system does not say')
  found = _bytes(min(known))
  if min(known) >= _LEAST_MEMORY_BYTES:
    return Line(State.OK, 'memory', found)
  todo = f'the smallest run takes about {_bytes(_LEAST_MEMORY_BYTES)}'
  return Line(State.LACKS, 'memory', found, todo)


def shared_memory(folder: pathlib.Path = pathlib.Path('/dev/shm')) -> Line:
  """What processes of one host, such as several GPUs', hand data over in.

  Python keeps semaphores of its pools there, so a run needs to write to it.
  """
  if not folder.is_dir():
    return Line(State.OK, 'shared memory', 'none of this system, none needed')
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    found = f'{folder}: {error.strerror}'
    todo = f'mount -t tmpfs -o mode=1777 tmpfs {folder}'
    return Line(State.STOPS, 'shared memory', found, todo)
  free = shutil.disk_usage(folder).free
  if free >= _LEAST_SHARED_BYTES:
    return Line(State.OK, 'shared memory', f'{_bytes(free)} free in {folder}')
  return Line(
    State.LACKS,
    'shared memory',
    f'{_bytes(free)} free in {folder}',
    'several GPUs may need more: docker run --shm-size=8g',
  )


def disk(folder: pathlib.Path, thing: str = 'disk') -> Line:
  """Whether files can be made in a folder, or where it will be."""
  folder = folder.absolute()
  there = next(f for f in (folder, *folder.parents) if f.exists())
  try:
    with tempfile.TemporaryFile(dir=there) as file:
      file.write(b'k15')
  except OSError as error:
    todo = 'runs need a folder they can write to: --workdir'
    found = f'{there}: {error.strerror}'
    return Line(State.STOPS, thing, found, todo)
  free = shutil.disk_usage(there).free
  found = f'{_bytes(free)} free in {there}'
  if free < _LEAST_FREE_BYTES:
    return Line(State.STOPS, thing, found, 'make room')
  if free < _COMFORTABLE_BYTES:
    todo = f'checkpoints of a large model take more: {_bytes(free)} is little'
    return Line(State.LACKS, thing, found, todo)
  return Line(State.OK, thing, found)


def accelerators() -> tuple[str, ...]:
  """Extras whose hardware is here, by the files of its drivers."""
  found = []
  if pathlib.Path('/dev/nvidia0').exists():
    found.append('gpu')
  dev = pathlib.Path('/dev')
  # TPUs of v4 and before, then of v5 and after.
  if any(dev.glob('accel[0-9]*')) or any(dev.glob('vfio/[0-9]*')):
    found.append('tpu')
  return tuple(found)


def start_trainer() -> subprocess.Popen[str]:
  """A process that imports what a run imports, and looks for devices."""
  return subprocess.Popen(
    [sys.executable, '-c', _TRAINER],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def devices(
  asked: subprocess.Popen[str],
  here: Sequence[str],
  patience: float = _PATIENCE,
) -> Line:
  """What `start_trainer` found.

  Args:
    asked: by that.
    here: extras whose hardware is here.
    patience: seconds.
  """
  try:
    out, err = asked.communicate(timeout=patience)
  except subprocess.TimeoutExpired:
    asked.kill()
    asked.communicate()
    found = f'no answer of jax in {patience:g} seconds'
    todo = 'does another process hold the device?  JAX_PLATFORMS=cpu does not'
    return Line(State.STOPS, 'devices', found, f'{todo} wait for it')
  if asked.returncode:
    said = (err.strip() or f'exit code {asked.returncode}').split('\n')[-1]
    todo = (
      'JAX_PLATFORMS=cpu, where the library of another device fails; or install'
      ' k15 again, into an environment of its own'
    )
    return Line(State.STOPS, 'devices', said, todo)
  version, kind, name, number, size = json.loads(out.strip().split('\n')[-1])
  each = f' of {_bytes(size)}' if size else ''
  label = kind if kind == name.lower() else f'{kind} ({name})'
  found = f'{number} x {label}{each}, by jax {version}'
  if kind != 'cpu' or not here:
    return Line(State.OK, 'devices', found)
  todo = f"there is one of another kind: pip install 'k15[{here[0]}]'"
  if os.environ.get('JAX_PLATFORMS') == 'cpu':
    todo = 'JAX_PLATFORMS=cpu keeps jax from looking for another'
  return Line(State.LACKS, 'devices', found, todo)


def control_groups() -> Line:
  """Whether a worker of the sandbox gets a share of memory as a whole."""
  found = cgroups.find_parents()
  if found:
    version = 2 if found[1] else 1
    return Line(State.OK, 'control groups', f'version {version}, may be made')
  return Line(
    State.LACKS,
    'control groups',
    'none may be made; limits hold for each process alone',
    'systemd-run --user --scope --property=Delegate=yes k15 ...',
  )


def sandbox(rung: str) -> Line:
  """Whether walls of a kind hold, by their canary; it runs as nobody."""
  thing = f'sandbox: {rung}'
  try:
    _, config, _ = walls.climb(rung, {}, (), highest=rung, with_cgroups=True)
  except (walls.SandboxError, OSError) as error:
    # With a control group and without: what is said of the last is enough.
    said = str(error).partition('. Rungs below')[0].rpartition('; ')[2]
    said = said.removeprefix(f'{rung}: ')
    return Line(State.LACKS, thing, said, _WALLS[rung])
  return Line(State.OK, thing, f'holds, as {config["name"]}')


# What to do for a rung.  One that holds is enough, the first is the fastest.
_WALLS = {
  'namespaces': (
    'user namespaces: sysctl kernel.unprivileged_userns_clone=1, or'
    ' kernel.apparmor_restrict_unprivileged_userns=0; in Docker the rung'
    ' seccomp is what there is'
  ),
  'bwrap': 'not needed where another holds; apt-get install bubblewrap',
  'seccomp': 'Linux 5.13 or newer, with Landlock',
}


def programs() -> Line:
  """Languages of programs that could be judged here."""
  rows = languages.LANGUAGES.items()
  lack = {name: languages.missing(language) for name, language in rows}
  found = ', '.join(name for name, missing in lack.items() if not missing)
  wanted = dict.fromkeys(word for words in lack.values() for word in words)
  todo = f'for others there is no {", ".join(wanted)}' if wanted else ''
  return Line(
    State.LACKS if wanted else State.OK, 'languages judged', found, todo
  )


def installed(extra: extras.Extra) -> Line:
  """Whether what an extra brings is there."""
  absent = extras.absent(extra)
  if not absent:
    return Line(State.OK, f'k15[{extra.name}]', extra.use)
  found = f'{extra.use}: no {", ".join(absent)}'
  todo = f"pip install 'k15[{extra.name}]'"
  return Line(State.LACKS, f'k15[{extra.name}]', found, todo)


def _physical_bytes():
  try:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  except (ValueError, OSError, AttributeError):
    return 0


def _group_bytes():
  """Limits of this process's control group, of both versions."""
  for name in ('memory.max', 'memory/memory.limit_in_bytes'):
    try:
      text = pathlib.Path('/sys/fs/cgroup', name).read_text().strip()
    except OSError:
      continue
    if text.isdecimal():
      yield int(text)


def _bytes(number):
  return f'{number / 2**30:.1f} GiB'


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
