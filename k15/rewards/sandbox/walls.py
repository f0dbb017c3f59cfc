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

The canary runs in a worker before anything else does.  It looks for folders it
can write to, a planted secret (a file that all may read, an environment
variable of the trusted side, process 1's included), a port on this machine,
ptrace; it leaves a process behind, takes more memory than its control group
has, and does not end.
"""

import contextlib
import functools
import glob
import importlib.util
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

from k15.rewards.sandbox import cgroups
from k15.rewards.sandbox import worker as worker_lib

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
    launcher, config: of the worker, see `worker.Worker`.

  Raises:
    worker.WorkerLost: it did not start or the canary did not come back.
  """
  with _bait() as bait:  # Laid first: what starts now could inherit it.
    worker = worker_lib.Worker(launcher, config)
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


LADDER = ('namespaces', 'bwrap', 'seccomp', 'rlimits')
# What a run sees of the system, besides the interpreter.
_VISIBLE = (
  '/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32',
  '/etc/alternatives', '/etc/ld.so.cache',
)  # fmt: skip
_JAVA_SETTINGS = '/etc/java-*-openjdk'  # Java does not start without them.
_UNSHARE = (
  'unshare', '--user', '--map-root-user', '--mount', '--pid', '--net', '--ipc',
  '--uts', '--fork', '--kill-child',
)  # fmt: skip


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


@functools.cache
def find_libraries(interpreter: str) -> dict[str, str]:
  """Folders of numpy by name, {} where an ordinary user cannot import it.

  Checkers use it, and so do programs.  It is this process's own numpy, read by
  another Python, so it has to be tried.
  """
  spec = importlib.util.find_spec('numpy')
  if spec is None or not spec.origin:
    return {}
  site = pathlib.Path(spec.origin).parents[1]
  as_nobody = dict(user=65534, group=65534, extra_groups=[])
  attempt = f'import sys; sys.path.append({str(site)!r}); import numpy'
  try:
    subprocess.run(
      [interpreter, '-I', '-S', '-B', '-c', attempt],
      capture_output=True, env={'OPENBLAS_NUM_THREADS': '1'}, cwd='/',
      timeout=60, check=True, **(as_nobody if os.geteuid() == 0 else {}),
    )  # fmt: skip
  except (OSError, subprocess.SubprocessError):
    return {}
  folders = [site / name for name in ('numpy', 'numpy.libs')]
  return {f.name: str(f.resolve()) for f in folders if f.is_dir()}


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
  visible += glob.glob(_JAVA_SETTINGS)
  if not any(f'{prefix}/'.startswith(f'{path}/') for path in visible):
    visible.append(prefix)
  config = {
    'rung': rung,
    'python': worker_lib.boot_command(interpreter),
    'visible': visible,
    'packages': packages,
    'libraries': find_libraries(interpreter),
    'imports': list(imports),
  }
  if rung == 'namespaces':
    return (_find('unshare', 'util-linux'), *_UNSHARE[1:]), config
  if rung == 'bwrap':
    config['bwrap'] = bwrap_command(
      _find('bwrap', 'bubblewrap'), visible, config['libraries']
    )
  if rung == 'seccomp':
    visible += config['libraries'].values()
  return (), config


def _find(tool, package):
  path = shutil.which(tool, path=os.environ.get('PATH', '') + ':/usr/bin:/bin')
  if path is None:
    raise SandboxError(f'no {tool} (package {package})')
  return path


def bwrap_command(
  bwrap: str, visible: list[str], libraries: dict[str, str]
) -> list[str]:
  """Bubblewrap with the same view as the rung 'namespaces'."""
  command = [bwrap, '--unshare-all', '--die-with-parent', '--clearenv']
  command += ['--cap-drop', 'ALL', '--new-session']
  for path in visible:
    if os.path.islink(path):
      command += ['--symlink', os.readlink(path), path]
    else:
      command += ['--ro-bind', path, path]
  for name, path in libraries.items():
    command += ['--ro-bind', path, f'/packages/{name}']
  command += ['--dev', '/dev', '--tmpfs', '/tmp', '--remount-ro', '/dev']
  return [*command, '--remount-ro', '/', '--chdir', '/tmp']


def climb(
  lowest: str,
  packages: dict[str, str],
  imports: tuple[str, ...],
  highest: str = 'namespaces',
  with_cgroups: bool = False,
) -> tuple[tuple[str, ...], dict[str, Any], dict[str, str]]:
  """The best rung that holds.

  Args:
    lowest: name of the last rung that is good enough.
    packages, imports, highest, with_cgroups: see `pool.Pool`.

  Returns:
    Its launcher, its configuration, and why each better rung was passed over;
    where 'rlimits' is taken, its own holes too.

  Raises:
    SandboxError: none holds; says what is missing for each.
  """
  missing = {}
  grouped = with_cgroups and _may_group(missing)
  has_groups = (True, False) if grouped else (False,)
  for rung in LADDER[LADDER.index(highest) : LADDER.index(lowest) + 1]:
    for has_group in has_groups:
      name = f'{rung}+cgroup' if has_group else rung
      try:
        launcher, config = make_config(rung, packages, imports)
        config.update(name=name, cgroup=has_group)
        holes = prove(launcher, config)
      except (SandboxError, worker_lib.WorkerLost, OSError) as error:
        missing[name] = str(error)
        continue
      if not holes or (rung == 'rlimits' and 'start' not in holes):
        return (
          launcher,
          config,
          missing | ({name: _tell(holes)} if holes else {}),
        )
      missing[name] = _tell(holes)
  raise SandboxError(
    'no sandbox on this machine; '
    + '; '.join(f'{rung}: {why}' for rung, why in missing.items())
    + f". Rungs below '{lowest}' need lowest= to be asked for."
  )


def _may_group(missing):
  cgroups.remove_orphans()
  group = cgroups.make()
  if group is None:
    missing['cgroup'] = 'no writable control group with memory and pids'
    return False
  group.close()
  return True


def _tell(holes):
  return 'open: ' + ', '.join(f'{k} ({v})' for k, v in holes.items())
