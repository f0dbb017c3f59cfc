"""The ladder: which walls this machine can build, proven by a canary.

  namespaces  fork server in user, mount, pid, net, ipc and uts namespaces: a
              read-only root that shows system programs alone, a new /tmp and
              pid namespace for each run, seccomp, rlimits
  bwrap       the same program in a bubblewrap started for each run
  seccomp     an ordinary process that cannot fork, signal others, open
              sockets, or open files beyond its folder (Landlock): slower to
              clean, but needs no namespaces (containers)
  rlimits     limits alone, no walls (macOS): only where it is asked for

All but the last start as nobody when the trusted side is root.  A rung holds
when its canary finds every hole shut; the first that holds is taken.  What
stops the better ones is kept, and is the message of the refusal.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import Any

from k15.rewards import sandbox_worker

LADDER = ('namespaces', 'bwrap', 'seccomp', 'rlimits')
SECRET_NAME = 'K15_CANARY'
# What a run sees of the system, besides the interpreter.
_VISIBLE = (
  '/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32',
  '/etc/alternatives', '/etc/ld.so.cache',
)  # fmt: skip
_UNSHARE = (
  'unshare', '--user', '--map-root-user', '--mount', '--pid', '--net', '--ipc',
  '--uts', '--fork', '--kill-child',
)  # fmt: skip
_CANARY_LIMITS = dict(
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
  '/var/tmp', '/run', os.path.dirname(SECRET)]
holes['write'] = [p for p in paths if os.access(p, os.W_OK) and not
  os.path.samefile(p, os.getcwd())]
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
holes['ptrace'] = ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0
print(json.dumps(holes), flush=True)
try:
  if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
      time.sleep(30)
    os._exit(0)
except OSError: pass
"""


class SandboxError(Exception):
  """No rung that is good enough holds on this machine."""


def find_interpreter() -> tuple[str, str]:
  """A Python that an ordinary user can start, and the folder it lives in.

  Raises:
    SandboxError: there is none.
  """
  drop = os.geteuid() == 0
  as_nobody = dict(user=65534, group=65534, extra_groups=[])
  tried = []
  question = 'import sys; print(sys.version_info >= (3, 10), sys.base_prefix)'
  own = os.path.realpath(sys.executable)
  for path in (own, '/usr/local/bin/python3', '/usr/bin/python3'):
    try:
      done = subprocess.run(
        [path, '-I', '-S', '-c', question],
        capture_output=True, text=True, env={}, cwd='/', timeout=60,
        **(as_nobody if drop else {}),
      )  # fmt: skip
    except OSError as error:
      tried.append(f'{path}: {error.strerror}')
      continue
    is_new, _, prefix = done.stdout.strip().partition(' ')
    if done.returncode == 0 and is_new == 'True':
      return os.path.realpath(path), prefix
    tried.append(f'{path}: not Python 3.10 or newer')
  raise SandboxError(
    'no Python that an ordinary user can start: ' + '; '.join(tried)
  )


def make_config(
  rung: str, packages: dict[str, str], imports: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, Any]]:
  """The launcher and the configuration of a rung's workers.

  Raises:
    SandboxError: this machine lacks something it needs.
  """
  if rung != 'rlimits' and sys.platform != 'linux':
    raise SandboxError(f'needs Linux, this is {sys.platform}')
  interpreter, prefix = find_interpreter()
  visible = [path for path in _VISIBLE if os.path.exists(path)]
  if not any(f'{prefix}/'.startswith(f'{path}/') for path in visible):
    visible.append(prefix)
  config = {
    'rung': rung,
    'python': sandbox_worker.boot_command(interpreter),
    'visible': visible,
    'packages': packages,
    'imports': list(imports),
  }
  if rung == 'namespaces':
    return (_find('unshare', 'util-linux'), *_UNSHARE[1:]), config
  if rung == 'bwrap':
    config['bwrap'] = bwrap_command(_find('bwrap', 'bubblewrap'), visible)
  return (), config


def _find(tool, package):
  path = shutil.which(tool, path=os.environ.get('PATH', '') + ':/usr/bin:/bin')
  if path is None:
    raise SandboxError(f'no {tool} (package {package})')
  return path


def bwrap_command(bwrap: str, visible: list[str]) -> list[str]:
  """Bubblewrap with the same view as the rung 'namespaces'."""
  command = [bwrap, '--unshare-all', '--die-with-parent', '--clearenv']
  command += ['--cap-drop', 'ALL', '--new-session']
  for path in visible:
    if os.path.islink(path):
      command += ['--symlink', os.readlink(path), path]
    else:
      command += ['--ro-bind', path, path]
  command += ['--dev', '/dev', '--tmpfs', '/tmp', '--remount-ro', '/dev']
  return [*command, '--remount-ro', '/', '--chdir', '/tmp']


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
    os.environ[SECRET_NAME] = token
    try:
      yield f'SECRET = {str(path)!r}\nPORT = {listener.getsockname()[1]}\n'
    finally:
      del os.environ[SECRET_NAME]


def prove(worker: sandbox_worker.Worker) -> dict[str, Any]:
  """What a canary finds open in a worker: {} when everything is shut.

  Raises:
    sandbox_worker.WorkerLost: the canary did not come back.
  """
  with _bait() as bait:
    job = dict(
      stage='judge', source=bait + _CANARY, ask=[],
      setup='', expression='', function='', arguments='',
    )  # fmt: skip
    report = worker.run(
      job, {}, b'', _CANARY_LIMITS, lambda name, arguments: ('refused', '')
    )
  if report['exit_code'] != 0:
    said = report['stderr'].decode(errors='replace').strip().split('\n')[-1]
    return {'start': said or report['reason'] or report['exit_code']}
  holes = json.loads(report['stdout'])
  holes['leftover'] = report['leftover']
  endless = {**job, 'source': 'import time\nwhile True: time.sleep(9)'}
  late = worker.run(endless, {}, b'', {**_CANARY_LIMITS, 'seconds': 0.1})
  holes['endless'] = late['reason'] != 'timeout'
  return {name: found for name, found in holes.items() if found}


def climb(
  lowest: str, packages: dict[str, str], imports: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, Any], dict[str, str]]:
  """The best rung that holds.

  Args:
    lowest: name of the last rung that is good enough.
    packages, imports: see `sandbox.Pool`.

  Returns:
    Its launcher, its configuration, and why each better rung was passed over;
    where 'rlimits' is taken, its own holes too.

  Raises:
    SandboxError: none holds; says what is missing for each.
  """
  missing = {}
  for rung in LADDER[: LADDER.index(lowest) + 1]:
    try:
      launcher, config = make_config(rung, packages, imports)
      worker = sandbox_worker.Worker(launcher, config)
      try:
        worker.wait_ready()
        holes = prove(worker)
      finally:
        worker.close()
    except (SandboxError, sandbox_worker.WorkerLost, OSError) as error:
      missing[rung] = str(error)
      continue
    if holes:
      missing[rung] = 'open: ' + ', '.join(
        f'{k} ({v})' for k, v in holes.items()
      )
    if not holes or (rung == 'rlimits' and 'start' not in holes):
      return launcher, config, missing
  raise SandboxError(
    'no sandbox on this machine; '
    + '; '.join(f'{rung}: {why}' for rung, why in missing.items())
    + f". Rungs below '{lowest}' need lowest= to be asked for."
  )
