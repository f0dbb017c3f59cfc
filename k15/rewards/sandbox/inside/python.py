"""Runs Python in the fork that it is judged in, without a new interpreter.

Needs nothing but the standard library.  The walls stand when this page is
reached; whatever happens here is the program's own doing.

A program ends as on a command line: threads are waited for, exit handlers run,
what it leaves is finalized and all output written.  The interpreter itself is
shared with the fork server and does not end, which would take longer than most
programs.
"""

import _io  # io.IOBase itself asks abc about every object.
import atexit
import builtins
import contextlib
import functools
import gc
import io
import json
import os
import socket
import struct
import sys
import traceback
import types

from k15.rewards.sandbox.inside import kernel
from k15.rewards.sandbox.inside import values

OUT_OF_MEMORY = 212  # exit code


def run(job: dict, files: list[int]) -> int:
  """Runs a job's source in this process; returns the exit code.

  Args:
    job: see `program`; its stage is python, call or judge.
    files: descriptors of the result and, for a judge, its channel.
  """
  result, channel = files[0], files[1:]
  _open_standard_streams()
  name = 'solution' if job['stage'] == 'call' else '__main__'
  module = sys.modules[name] = types.ModuleType(name)
  module.__file__ = 'main.py'
  sys.argv = ['main.py']
  if channel:
    pipe = socket.socket(fileno=channel[0])
    for name in job['ask']:
      setattr(module, name, functools.partial(_ask, pipe, name))
  code, text = _execute(job, module.__dict__)
  code = _wait_for_threads() or code
  if job['stage'] == 'python':
    del module
    _finalize(name)
  code = _flush(sys.stdout, sys.stderr) or code
  write_all(result, text.encode())
  return code


def _execute(job, scope):
  """The exit code, and the text of what a call returned or a judge says."""
  try:
    exec(compile(job['source'], 'main.py', 'exec'), scope)
    if job['stage'] == 'call':
      return 0, values.encode(_call(job, scope))
    return 0, 'passed' if job['stage'] == 'judge' else ''
  except AssertionError:
    traceback.print_exc()
    return 1, 'failed' if job['stage'] == 'judge' else ''
  except SystemExit as error:
    return _exit_code(error.code), ''
  except MemoryError:
    return OUT_OF_MEMORY, ''
  except BaseException:
    traceback.print_exc()
    return 1, ''


def _call(job, scope):
  if job['setup']:
    exec(compile(job['setup'], 'setup.py', 'exec'), scope)
  if job['expression']:
    return eval(compile(job['expression'], 'call.py', 'eval'), scope)
  args, keywords = values.decode(job['arguments'])
  return scope[job['function']](*args, **keywords)


def _wait_for_threads():
  """Returns the exit code: 1 where that fails."""
  try:
    if 'threading' in sys.modules:
      sys.modules['threading']._shutdown()
  except BaseException:
    return 1
  return 0


def _finalize(name):
  """Runs exit handlers, then the finalizers of what the module leaves."""
  with contextlib.suppress(BaseException):
    atexit._run_exitfuncs()
  _flush(sys.stdout, sys.stderr)
  sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
  # Kept open, as finalizers may write to them.  What was there before the fork
  # is frozen: this looks at the program's own objects.
  files = []
  with contextlib.suppress(BaseException):  # Memory may be short.
    files += (o for o in gc.get_objects() if issubclass(type(o), _io._IOBase))
  with contextlib.suppress(BaseException):
    sys.modules.pop(name, None)
    gc.collect()
  _flush(*files)  # Of texts, into buffers.
  _flush(*files)
  with contextlib.suppress(OSError):
    kernel.call('fflush', None)  # What C libraries have printed.


def _flush(*streams):
  """Writes what is still buffered; returns the exit code, 1 if it cannot."""
  code = 0
  for stream in streams:
    try:
      stream.flush()
    except (AttributeError, ValueError):  # None, closed or detached.
      pass
    except BaseException:
      code = 1
  return code


def write_all(file: int, data: bytes):
  """Writes all of it, in as many pieces as it takes."""
  while data:
    data = data[os.write(file, data) :]


def _exit_code(code):
  if code is None or isinstance(code, int):
    return (code or 0) & 0xFF
  print(code, file=sys.stderr)
  return 1


def _open_standard_streams():
  def stream(file, mode, name):
    raw = io.FileIO(file, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == 'r' else io.BufferedWriter(raw)
    text = io.TextIOWrapper(buffer, encoding='utf-8', newline=None)
    text.mode = mode  # As the interpreter has it: programs look it up.
    return text

  sys.stdin = sys.__stdin__ = stream(0, 'r', '<stdin>')
  sys.stdout = sys.__stdout__ = stream(1, 'w', '<stdout>')
  sys.stderr = sys.__stderr__ = stream(2, 'w', '<stderr>')
  sys.stderr.reconfigure(errors='backslashreplace', line_buffering=True)


def _ask(pipe, name, *args, **keywords):
  """A call of the program under judgement, through the trusted side."""
  question = json.dumps([name, values.encode([args, keywords])]).encode()
  pipe.sendall(struct.pack('=I', len(question)) + question)
  reply = _take(pipe, struct.unpack('=I', _take(pipe, 4))[0])
  failure, text = json.loads(reply)
  if failure:
    raise _as_raised(failure)
  return values.decode(text)


def _as_raised(failure):
  """What a program raised, as far as it is an exception of Python's own."""
  _, _, said = failure.partition('crash: ')
  name, _, message = said.partition(':')
  kind = getattr(builtins, name, None)
  if isinstance(kind, type) and issubclass(kind, Exception):
    with contextlib.suppress(Exception):  # Some want other arguments.
      return kind(message.strip())
  return RuntimeError(f'the program failed: {failure}')


def _take(pipe, size):
  data = b''
  while len(data) < size:
    part = pipe.recv(size - len(data))
    if not part:
      raise EOFError('the trusted side is gone')
    data += part
  return data
