"""A canary for the walls of a rung: a program that tries every hole.

Run in a worker before anything else is.  It looks for folders it can write
to, a planted secret (a file that all may read, an environment variable of the
trusted side, process 1's included), a port on this machine, ptrace; it leaves
a process behind, takes more memory than its control group has, and does not
end.
"""

import contextlib
import json
import os
import pathlib
import secrets
import socket
import tempfile
from typing import Any

from k15.rewards import sandbox_worker

_SECRET_NAME = 'K15_CANARY'
_LIMITS = dict(
  seconds=10.0,
  memory_bytes=512 << 20,
  output_bytes=1 << 20,
  processes=16,
  tmp_bytes=16 << 20,
)
_CANARY = """
import ctypes, json, os, socket, time
holes = {}
paths = ['/', '/usr', '/usr/bin', '/etc', '/bin', '/dev', '/sys', '/proc/sys',
  '/proc/sys/kernel/core_pattern', '/proc/sys/vm', '/home', '/root', '/var',
  '/var/tmp', '/run', '/dev/shm', os.path.dirname(SECRET)]
def writable(path):
  try:
    if path.startswith(('/proc', '/sys')): return os.access(path, os.W_OK)
    if os.path.samefile(path, os.getcwd()): return False
    # access() knows nothing of Landlock.
    os.close(os.open(path + '/k15_canary', os.O_CREAT | os.O_WRONLY))
    os.unlink(path + '/k15_canary')
    return True
  except OSError: return False
holes['write'] = [p for p in paths if writable(p)]
def read(path):
  try:
    with open(path) as file: return file.read()
  except OSError: return ''
holes['secret'] = bool(read(SECRET)) or 'K15_CANARY' in os.environ
holes['environ'] = 'K15_CANARY' in read('/proc/1/environ') + read(
  '/proc/%d/environ' % os.getppid())
def reach(family, address):
  try:
    with socket.socket(family) as s:
      s.settimeout(1)
      s.connect(address)
      return True
  except OSError: return False
holes['network'] = reach(socket.AF_INET, ('127.0.0.1', PORT))
try:
  child = os.fork()
  if child == 0:
    os.setsid()
    if os.fork() == 0:
      time.sleep(30)
    os._exit(0)
  os.waitpid(child, 0)  # What it leaves has a session of its own by now.
except OSError: pass
# Last: where this is allowed, the next signal stops us.
holes['ptrace'] = ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0
print(json.dumps(holes), flush=True)
"""
_ENDLESS = 'import time\nwhile True: time.sleep(9)'
_GREEDY = 'x = b"x" * (48 << 20)'  # 32 MiB, and what cgroups adds, are less
_NO_CALL = dict(setup='', expression='', function='', arguments='')


@contextlib.contextmanager
def _bait():
  """A secret in a file that all may read and in our environment; a port."""
  token = secrets.token_hex(8)
  with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
    os.chmod(folder, 0o755)
    path = pathlib.Path(folder, 'secret')
    path.write_text(token)
    path.chmod(0o644)
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    os.environ[_SECRET_NAME] = token
    try:
      yield f'SECRET = {str(path)!r}\nPORT = {listener.getsockname()[1]}\n'
    finally:
      del os.environ[_SECRET_NAME]


def prove(launcher: tuple[str, ...], config: dict[str, Any]) -> dict[str, Any]:
  """What a canary finds open: {} when everything is shut.

  Args:
    launcher, config: of the worker, see `sandbox_worker.Worker`.

  Raises:
    sandbox_worker.WorkerLost: it did not start or the canary did not come back.
  """
  with _bait() as bait:  # Laid first: what starts now could inherit it.
    worker = sandbox_worker.Worker(launcher, config)
    try:
      worker.wait_ready()
      holes = _look(worker, bait)
      if 'start' not in holes:
        late = _run(worker, _ENDLESS, seconds=0.1)
        holes['endless'] = late['reason'] != 'timeout'
        if config['cgroup']:
          greedy = _run(worker, _GREEDY, group_bytes=16 << 20)
          holes['group'] = greedy['reason'] != 'memory'
    finally:
      worker.close()
  return {name: found for name, found in holes.items() if found}


def _look(worker, bait):
  report = _run(worker, bait + _CANARY)
  if report['exit_code'] != 0:
    said = report['stderr'].decode(errors='replace').strip().split('\n')[-1]
    return {'start': said or report['reason'] or report['exit_code']}
  return {**json.loads(report['stdout']), 'leftover': report['leftover']}


def _run(worker, source, **limits):
  job = dict(stage='judge', source=source, ask=[], **_NO_CALL)
  return worker.run(
    job, {}, b'', {**_LIMITS, **limits}, lambda *question: ('refused', '')
  )
