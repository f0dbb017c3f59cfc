"""What one fork of the sandbox does: limits first, then the program.

Needs nothing but the standard library; `server` forks, this page
becomes the program.  A job is a file: a line of JSON, then its files' bytes.

Stages of a job:

  compile  writes the source, runs the compiler, hands its artifact out
  exec     writes the artifact or source, becomes the language's command
  python   runs the source as __main__, here
  call     runs the source, calls a function, hands its value out as text
  judge    as python, but names in it are functions that the trusted side
           answers; hands out 'passed', or 'failed' after an AssertionError
"""

import builtins
import functools
import importlib.util
import json
import os
import resource
import subprocess
import sys

from k15.rewards.sandbox.inside import kernel
from k15.rewards.sandbox.inside import python
from k15.rewards.sandbox.inside import seccomp

STARTED = b'!'  # Put over the first byte of a job once its walls stand.
_OPEN_FILES = 64
_STACK_BYTES = 64 << 20  # for programs that recurse deeply
_COMPILER_PATH = {'PATH': '/usr/local/bin:/usr/bin:/bin', 'TMPDIR': '.'}
_IN_PLACE = ('python', 'call', 'judge')


def prepare(config: dict):
  """What forks then inherit: the search path, what `site` adds to builtins."""
  if config['rung'] in ('namespaces', 'bwrap'):
    _filter(False, 0)  # Cached for the forks.
  sys.dont_write_bytecode = True
  sys.path[:] = [path for path in sys.path if path]
  if os.path.isdir('/packages'):
    sys.path.append('/packages')
  elif 'numpy' in config['libraries']:
    sys.path.append(os.path.dirname(config['libraries']['numpy']))
    importlib.util.find_spec('numpy')  # Lists the folder while it may.
  builtins.exit = builtins.quit = sys.exit
  if hasattr(sys, 'set_int_max_str_digits'):  # Older ones have no limit.
    sys.set_int_max_str_digits(0)  # Contests print numbers of any length.
  os.environ.clear()  # Python itself has put a locale there.
  os.putenv('OPENBLAS_NUM_THREADS', '1')  # numpy's; seen by C alone.


def write_files(folder: str, files: dict[str, str | bytes]):
  """Writes files by relative path."""
  for path, content in files.items():
    target = os.path.join(folder, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    with open(target, 'wb') as file:
      file.write(content)


def main(config: dict, limits: dict, files: list[int]) -> int:
  """Runs a job in the current folder; returns the exit code.

  Args:
    files: descriptors of job, result and, for a judge, its channel.
  """
  job, blobs = _read_job(files[0])
  folder = os.getcwd()
  if config['rung'] != 'namespaces' and config['packages']:
    write_files(folder, config['packages'])
  if job['stage'] in _IN_PLACE:
    sys.path.insert(0, folder)
  write_files(folder, blobs)
  if job['stage'] == 'exec' and job['artifact']:
    os.chmod(job['artifact'], 0o755)
  _confine(config, limits, job['stage'], folder)
  if job['stage'] == 'compile':
    code = _compile(job, files[1])
    _started(files[0])
    return code
  if job['stage'] == 'exec':
    _require(job['command'][0])
    _started(files[0])
    os.execve(job['command'][0], job['command'], {})
  _started(files[0])
  return python.run(job, files[1:])


def _read_job(file):
  """The job's line and the files behind it."""
  size = os.fstat(file).st_size
  data = os.pread(file, size, 0)
  line, _, rest = data.partition(b'\n')
  job, blobs, start = json.loads(line), {}, 0
  for name, length in job['files']:
    blobs[name] = rest[start : start + length]
    start += length
  return job, blobs


def _require(command):
  if not os.access(command, os.X_OK):
    raise FileNotFoundError(f'no program {command}')


def _started(file):
  """Whatever happens from here on is the program's own doing."""
  os.pwrite(file, STARTED, 0)
  os.close(file)


def _confine(config, limits, stage, folder):
  """Limits, then capabilities, then system calls; none can be raised again."""
  resource_limits = {
    'CORE': 0,
    'AS': limits['memory_bytes'] + limits.get('reserved_bytes', 0),
    'CPU': int(limits['seconds']) + 2,
    'FSIZE': limits['output_bytes'],
    'NOFILE': _OPEN_FILES,
    'STACK': _STACK_BYTES,
    'MEMLOCK': 0,
    'MSGQUEUE': 0,
  }
  if config['rung'] in ('namespaces', 'bwrap'):
    # Counted in the user namespace: its server and launcher are two more.
    resource_limits['NPROC'] = limits['processes'] + 2
  for name, value in resource_limits.items():
    kind = getattr(resource, f'RLIMIT_{name}', None)
    if kind is None:
      continue
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
      resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
      if config['rung'] != 'rlimits':  # macOS refuses some.
        raise
  if config['rung'] == 'rlimits':
    return
  if config['rung'] == 'namespaces':
    kernel.drop_capabilities()
  alone = config['rung'] == 'seccomp' and stage != 'compile'
  if config['rung'] == 'seccomp':
    kernel.landlock([*config['visible'], '/dev'], [folder, '/dev/null'])
  seccomp.install(_filter(alone, os.getpid() if alone else 0))


@functools.cache
def _filter(alone, pid):
  return seccomp.make_filter(alone, pid)


def _compile(job, result):
  """Runs the compiler; its messages go to stderr, its artifact out."""
  _require(job['command'][0])
  done = subprocess.run(
    job['command'],
    stdin=subprocess.DEVNULL,
    stdout=2,
    env=_COMPILER_PATH,
    check=False,
  )
  if done.returncode == 0:
    with open(job['artifact'], 'rb') as file:
      python.write_all(result, file.read())
  return done.returncode
