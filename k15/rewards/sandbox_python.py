"""Runs Python in the fork that it is judged in, without a new interpreter.

Needs nothing but the standard library.  The walls stand when this page is
reached; whatever happens here is the program's own doing.
"""

import functools
import io
import json
import os
import socket
import struct
import sys
import traceback
import types

from k15.rewards import values

OUT_OF_MEMORY = 212  # exit code


def run(job: dict, files: list[int]) -> int:
  """Runs a job's source in this process; returns the exit code.

  Args:
    job: see `sandbox_program`; its stage is python, call or judge.
    files: descriptors of the result and, for a judge, its channel.
  """
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
  write_all(result, text.encode())
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
