"""What one fork of the sandbox does: limits first, then the program.

Needs nothing but the standard library; `sandbox_child` forks, this page
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
import io
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import traceback
import types

from k15.rewards import kernel
from k15.rewards import values

SETUP_FAILED, OUT_OF_MEMORY = 213, 212  # exit codes
_OPEN_FILES = 64
_STACK_BYTES = 64 << 20
_COMPILER_PATH = {'PATH': '/usr/local/bin:/usr/bin:/bin', 'TMPDIR': '.'}
_IN_PLACE = ('python', 'call', 'judge')


def prepare(config: dict):
  """What forks then inherit: the search path, what `site` adds to builtins."""
  sys.dont_write_bytecode = True
  sys.path[:] = [path for path in sys.path if path]
  if os.path.isdir('/packages'):
    sys.path.append('/packages')
  builtins.exit = builtins.quit = sys.exit
  os.environ.clear()  # Python itself has put a locale there.


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
    config: of the worker.
    limits: of the job.
    files: descriptors of job, result and, for a judge, its channel.
  """
  job, blobs = _read_job(files[0])
  folder = os.getcwd()
  if config['rung'] != 'namespaces' and config['packages']:
    write_files(folder, config['packages'])
  if job['stage'] in _IN_PLACE:
    sys.path.insert(0, folder)
  write_files(folder, blobs)
  _confine(config, limits, job['stage'], folder)
  if job['stage'] == 'compile':
    return _compile(job, files[1])
  if job['stage'] == 'exec':
    if job['artifact']:
      os.chmod(job['artifact'], 0o755)
    os.execve(job['command'][0], job['command'], {})
  return _run_python(job, files[1:])


def _read_job(file):
  """The job's line and the files behind it."""
  size = os.fstat(file).st_size
  data = os.pread(file, size, 0)
  os.close(file)
  line, _, rest = data.partition(b'\n')
  job, blobs, start = json.loads(line), {}, 0
  for name, length in job['files']:
    blobs[name] = rest[start : start + length]
    start += length
  return job, blobs


def _confine(config, limits, stage, folder):
  """Limits, then capabilities, then system calls; none can be raised again."""
  resource_limits = {
    'CORE': 0,
    'AS': limits['memory_bytes'],
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
  kernel.install_seccomp(_filter(alone, os.getpid() if alone else 0))


@functools.cache
def _filter(alone, pid):
  return kernel.seccomp_filter(alone, pid)


def _compile(job, result):
  """Runs the compiler; its messages go to stderr, its artifact out."""
  done = subprocess.run(
    job['command'],
    stdin=subprocess.DEVNULL,
    stdout=2,
    env=_COMPILER_PATH,
    check=False,
  )
  if done.returncode == 0:
    with open(job['artifact'], 'rb') as file:
      _write_all(result, file.read())
  return done.returncode


def _run_python(job, files):
  """Runs the source in this process."""
  result, channel = files[0], files[1:]
  _open_standard_streams()
  is_call = job['stage'] == 'call'
  module = types.ModuleType('solution' if is_call else '__main__')
  module.__file__ = 'main.py'
  sys.modules[module.__name__] = module
  sys.argv = ['main.py']
  if channel:
    pipe = socket.socket(fileno=channel[0])
    for name in job['ask']:
      setattr(module, name, functools.partial(_ask, pipe, name))
  code, text = 0, ''
  try:
    exec(compile(job['source'], 'main.py', 'exec'), module.__dict__)
    if is_call:
      text = values.encode(_call(job, module.__dict__))
    text = 'passed' if job['stage'] == 'judge' else text
  except AssertionError:
    code, text = 1, 'failed' if job['stage'] == 'judge' else ''
    traceback.print_exc()
  except SystemExit as error:
    code = _exit_code(error.code)
  except MemoryError:
    code = OUT_OF_MEMORY
  except BaseException:
    code = 1
    traceback.print_exc()
  return _finish(result, text, code)


def _call(job, scope):
  if job['setup']:
    exec(compile(job['setup'], 'setup.py', 'exec'), scope)
  if job['expression']:
    return eval(compile(job['expression'], 'call.py', 'eval'), scope)
  args, keywords = values.decode(job['arguments'])
  return scope[job['function']](*args, **keywords)


def _finish(result, text, code):
  """Waits for threads, flushes; skips the rest of the interpreter's end."""
  try:
    if 'threading' in sys.modules:
      sys.modules['threading']._shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
  except BaseException:
    code = code or 1
  _write_all(result, text.encode())
  return code


def _write_all(file, data):
  while data:
    data = data[os.write(file, data) :]


def _exit_code(code):
  if code is None or isinstance(code, int):
    return (code or 0) & 0xFF
  print(code, file=sys.stderr)
  return 1


def _open_standard_streams():
  def stream(file, mode):
    raw = io.FileIO(file, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == 'r' else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding='utf-8', newline=None)

  sys.stdin = sys.__stdin__ = stream(0, 'r')
  sys.stdout = sys.__stdout__ = stream(1, 'w')
  sys.stderr = sys.__stderr__ = stream(2, 'w')
  sys.stderr.reconfigure(errors='backslashreplace', line_buffering=True)


def _ask(pipe, name, *args, **keywords):
  """A call of the program under judgement, through the trusted side."""
  question = json.dumps([name, values.encode([args, keywords])]).encode()
  pipe.sendall(struct.pack('=I', len(question)) + question)
  reply = _take(pipe, struct.unpack('=I', _take(pipe, 4))[0])
  failure, text = json.loads(reply)
  if failure:
    raise RuntimeError(f'the program failed: {failure}')
  return values.decode(text)


def _take(pipe, size):
  data = b''
  while len(data) < size:
    part = pipe.recv(size - len(data))
    if not part:
      raise EOFError('the trusted side is gone')
    data += part
  return data
