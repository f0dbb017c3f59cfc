"""The parent's end of a benchmark worker.  Standard library only.

A worker reads one JSON command per line and answers one line of JSON behind
the prefix `BENCH `; every other line is the libraries' own chatter.
"""

import collections
import contextlib
import json
import os
import pathlib
import queue
import subprocess
import threading
import time
import types

PREFIX = 'BENCH '
HERE = pathlib.Path(__file__).resolve().parent


def start_worker(command, timeout=300, env=None, cwd=None):
  """Start a worker and wait for it to be ready.

  Returns a namespace whose `ready` holds what the worker said of itself.
  """
  process = subprocess.Popen(
    [str(word) for word in command],
    cwd=cwd,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    encoding='utf-8',
    errors='replace',
    env={**os.environ, **(env or {})},
  )
  worker = types.SimpleNamespace(
    process=process,
    # Read by threads all the time: a worker whose pipe is full would stand
    # still, in the middle of what is timed.
    answers=queue.Queue(),
    chatter=collections.deque(maxlen=60),
    readers=[],
  )
  for target in (_read_answers, _read_chatter):
    reader = threading.Thread(target=target, args=(worker,), daemon=True)
    reader.start()
    worker.readers.append(reader)
  worker.ready = _next_answer(worker, timeout, 'start')
  return worker


def start_peer(root, peer, **options):
  """Start the worker of `peer`, 'trl' or 'tunix', from the venvs at root."""
  python = pathlib.Path(root).absolute() / peer / 'bin' / 'python'
  if not python.exists():
    raise FileNotFoundError(f'{python}: run setup_peers.py first')
  return start_worker([python, '-u', HERE / f'{peer}_worker.py'], **options)


def ask(worker, command, timeout):
  """Send one command and return its answer.

  Kills the worker when it takes longer than `timeout` seconds.  Raises
  RuntimeError, with the end of the worker's stderr, when it fails.
  """
  try:
    worker.process.stdin.write(json.dumps(command) + '\n')
    worker.process.stdin.flush()
  except OSError:
    raise _failure(worker, f'is gone, asked for {command}') from None
  reply = _next_answer(worker, timeout, json.dumps(command))
  if 'error' in reply:
    raise _failure(worker, f'{command}: {reply["error"]}')
  return reply


def stop(worker, grace=10):
  """Let the worker end by itself, then end it."""
  with contextlib.suppress(OSError):
    worker.process.stdin.close()
  try:
    worker.process.wait(grace)
  except subprocess.TimeoutExpired:
    _kill(worker)


def _kill(worker):
  worker.process.kill()
  worker.process.wait()


def _read_answers(worker):
  for line in worker.process.stdout:
    if line.startswith(PREFIX):
      worker.answers.put(json.loads(line[len(PREFIX) :]))
  # Its standard output is closed: whoever waits learns of the end at once, and
  # not when time is over.
  worker.answers.put(None)


def _read_chatter(worker):
  for line in worker.process.stderr:
    worker.chatter.append(line)


def _next_answer(worker, timeout, what):
  try:
    reply = worker.answers.get(timeout=timeout)
  except queue.Empty:
    _kill(worker)
    raise _failure(worker, f'took over {timeout} s: {what}') from None
  if reply is None:
    worker.process.wait()
    raise _failure(
      worker, f'ended with status {worker.process.returncode}: {what}'
    )
  return reply


def _failure(worker, what):
  if worker.process.poll() is not None:
    worker.readers[1].join(2)
  else:
    # The traceback of an answered error is still on its way.
    time.sleep(0.2)
  tail = ''.join(list(worker.chatter)[-40:])
  return RuntimeError(f'benchmark worker {what}\n{tail}')
