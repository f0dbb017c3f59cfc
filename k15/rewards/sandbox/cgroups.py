"""A control group for each worker, where this process may make one.

Limits of single processes add up: sixteen of them may each hold what one is
allowed.  A group counts everything in it, files in memory included, and gives
each worker the same share of the processors however many processes it has.

Works with version 1 (a folder per controller) and version 2 (one folder).
Groups are made below the group of this process, so that its own limits hold,
and named after it: those of a process that is gone are removed by the next.
"""

import contextlib
import itertools
import os
import pathlib
import signal
import time

ROOT = pathlib.Path('/sys/fs/cgroup')
_OWN = pathlib.Path('/proc/self/cgroup')
_PREFIX = 'k15_'
_NEEDED = ('memory', 'pids')
# Beyond a job's limits: the server, its launcher, and what they allocate.
_MORE_BYTES = 16 << 20
_MORE_PROCESSES = 6
_numbers = itertools.count()


class Group:
  """One group: a folder for each controller, or one for all.

  Attributes:
    folders: by controller: 'memory', 'pids', perhaps 'cpu'.
    is_v2: which version it is.
  """

  def __init__(self, parents: dict[str, pathlib.Path], is_v2: bool):
    """Makes the folders.

    Raises:
      OSError: this process may not.
    """
    name = f'{_PREFIX}{os.getpid()}_{next(_numbers)}'
    self.is_v2, self._limits, self.folders = is_v2, (), {}
    for controller, parent in parents.items():
      try:
        (parent / name).mkdir(exist_ok=True)
        self.folders[controller] = parent / name
      except OSError:
        if controller in _NEEDED:
          self.close()
          raise
    # None of it may move to the disk, where no limit counts it.
    with contextlib.suppress(OSError):
      swap = 'memory.swap.max' if is_v2 else 'memory.swappiness'
      self._write('memory', swap, 0)

  def _write(self, controller, name, value):
    (self.folders[controller] / name).write_text(str(value))

  def add(self, pids: list[int]):
    """Takes processes in, and all that they start from now on."""
    for folder in set(self.folders.values()):
      for pid in pids:
        (folder / 'cgroup.procs').write_text(str(pid))

  def processes(self) -> list[int]:
    """What is in it."""
    with contextlib.suppress(OSError):
      text = (self.folders['pids'] / 'cgroup.procs').read_text()
      return [int(pid) for pid in text.split()]
    return []

  def limit(self, memory_bytes: int, processes: int):
    """Sets what all of it together may use."""
    if self._limits == (memory_bytes, processes):
      return
    self._limits = (memory_bytes, processes)
    name = 'memory.max' if self.is_v2 else 'memory.limit_in_bytes'
    self._write('memory', name, memory_bytes + _MORE_BYTES)
    self._write('pids', 'pids.max', processes + _MORE_PROCESSES)

  def memory_kills(self) -> int:
    """Processes that were killed so far because it had too little memory."""
    name = 'memory.events' if self.is_v2 else 'memory.oom_control'
    with contextlib.suppress(OSError):
      for line in (self.folders['memory'] / name).read_text().splitlines():
        if line.startswith('oom_kill '):
          return int(line.split()[1])
    return 0

  def close(self):
    """Kills what is in it and removes it."""
    for _ in range(100):
      for pid in self.processes() if self.folders else ():
        with contextlib.suppress(OSError):
          os.kill(pid, signal.SIGKILL)
      for controller, folder in list(self.folders.items()):
        with contextlib.suppress(OSError):
          if folder.exists():
            folder.rmdir()
          del self.folders[controller]
      if not self.folders:
        return
      time.sleep(0.01)  # The dead leave a group a little later.


def find_parents(
  root: pathlib.Path = ROOT, own: pathlib.Path = _OWN
) -> tuple[dict[str, pathlib.Path], bool] | None:
  """Where groups may be made: a folder per controller, and whether it is v2.

  Returns:
    None where this process may make none.
  """
  try:
    lines = [line.split(':', 2) for line in own.read_text().splitlines()]
  except OSError:
    return None
  paths = {
    controller: path.strip('/')
    for _, controllers, path in lines
    for controller in controllers.split(',')
  }
  parents = {}
  for controller in (*_NEEDED, 'cpu'):
    for path in (paths.get(controller, ''), ''):
      folder = root / controller / path
      if (folder / 'cgroup.procs').exists() and os.access(folder, os.W_OK):
        parents.setdefault(controller, folder)
  if all(controller in parents for controller in _NEEDED):
    return parents, False
  # Version 2: only a group that hands its controllers down can have any.
  here = root / paths.get('', '')
  for folder in (here, *here.parents):
    handed_down = folder / 'cgroup.subtree_control'
    if handed_down.is_file() and os.access(folder, os.W_OK):
      controllers = handed_down.read_text().split()
      if all(controller in controllers for controller in _NEEDED):
        return dict.fromkeys(_NEEDED, folder), True
  return None


def make() -> Group | None:
  """A new group; None where this process may not make one."""
  found = find_parents()
  if found is None:
    return None
  with contextlib.suppress(OSError):
    return Group(*found)
  return None


def remove_orphans():
  """Removes groups whose maker is gone."""
  found = find_parents()
  for parent in set(found[0].values()) if found else ():
    for folder in parent.glob(f'{_PREFIX}*_*'):
      maker = folder.name[len(_PREFIX) :].partition('_')[0]
      if maker.isdecimal() and not os.path.exists(f'/proc/{maker}'):
        with contextlib.suppress(OSError):
          folder.rmdir()


def descendants(pid: int) -> list[int]:
  """A process and all that it has started."""
  parents = {}
  for name in os.listdir('/proc'):
    if name.isdecimal():
      with contextlib.suppress(OSError):
        text = pathlib.Path('/proc', name, 'stat').read_text()
        # The name, in brackets, may hold anything; then state, parent.
        parents[int(name)] = int(text.rpartition(')')[2].split()[1])
  found = [pid]
  for above in found:
    found += [child for child, parent in parents.items() if parent == above]
  return found
