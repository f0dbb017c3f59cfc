"""Worker processes for answers that cost an unknown time; killed at a limit.

A question is a (gold, answer) pair of markup; answer_judge.py answers it.  The
workers start with the first question, stay for the next ones, ignore Ctrl-C,
and end with this process.
"""

import atexit
import contextlib
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

LIMIT_SECONDS = 0.7  # of one answer in its worker; the rest of a second is ours
GRACE_SECONDS = 0.1  # until a worker that did not end is killed from outside
START_SECONDS = 120.0
END_SECONDS = 0.5  # until one that does not end is killed with its child
MEMORY_MB = 1024
NUM_WORKERS = max(1, min(4, (os.cpu_count() or 2) // 2))
_ROOT = pathlib.Path(__file__).resolve().parents[2]


class Worker:
  """One process; a question at a time.

  Attributes:
    started: when the last question was sent.
    is_busy: whether its answer is still to come.
  """

  def __init__(self, seconds: float = LIMIT_SECONDS):
    self.connection, theirs = socket.socketpair()
    command = ['-m', 'k15.rewards.answer_judge', str(theirs.fileno())]
    self.process = subprocess.Popen(
      [sys.executable, *command, str(seconds), str(MEMORY_MB)],
      pass_fds=[theirs.fileno()],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,
      cwd=_ROOT,
      env=_environment(),
      start_new_session=True,
    )
    theirs.close()
    self.limit = seconds + GRACE_SECONDS
    self.started, self.is_busy = 0.0, False
    self._number = 0
    self._unread = b''

  def wait_until_ready(self) -> None:
    """Returns when its imports are done.

    Raises:
      RuntimeError: it ended, or took too long.
    """
    self.connection.settimeout(START_SECONDS)
    try:
      while b'\n' not in self._unread:
        received = self.connection.recv(4096)
        if not received:
          raise RuntimeError('a worker for answers ended while starting')
        self._unread += received
    except TimeoutError:
      raise RuntimeError(f'no worker after {START_SECONDS} s') from None
    self._unread = b''

  def send(self, gold: str, answer: str) -> None:
    self._number += 1
    self.started, self.is_busy = time.perf_counter(), True
    message = json.dumps([self._number, gold, answer]).encode() + b'\n'
    self.connection.settimeout(GRACE_SECONDS)
    with contextlib.suppress(OSError):
      self.connection.sendall(message)

  def receive(self) -> str | None:
    """The outcome, None when what came belongs to an earlier question."""
    try:
      received = self.connection.recv(65536)
    except OSError:
      received = b''
    if not received:
      return 'error: crash: the worker ended'
    *lines, self._unread = (self._unread + received).split(b'\n')
    for line in lines:
      number, outcome = json.loads(line)
      if number in (None, self._number):
        self.is_busy = False
        return outcome
    return None

  @property
  def has_ended(self) -> bool:
    return self.process.poll() is not None

  def close(self) -> None:
    """Kills it with its child."""
    self.connection.close()
    self.process.terminate()
    try:
      self.process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
      with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(self.process.pid, signal.SIGKILL)
      self.process.wait()


class Pool:
  """Some workers that share the questions of a batch.

  Usable from several threads, one batch at a time.
  """

  def __init__(self, size: int = NUM_WORKERS, seconds: float = LIMIT_SECONDS):
    self._size, self._seconds = size, seconds
    self._workers: list[Worker] = []
    self._lock = threading.Lock()
    self.owner = os.getpid()

  def judge(self, questions: Sequence[tuple[str, str]]) -> list[tuple]:
    """(outcome, seconds) of every question, whatever each of them does."""
    with self._lock:
      self._start(min(self._size, len(questions)))
      return self._run(questions)

  def _start(self, count):
    """Has that many workers ready; one still busy is of a batch given up."""
    for worker in [w for w in self._workers if w.has_ended or w.is_busy]:
      self._workers.remove(worker)
      worker.close()
    fresh = [Worker(self._seconds) for _ in range(count - len(self._workers))]
    self._workers += fresh
    for worker in fresh:
      worker.wait_until_ready()

  def _run(self, questions):
    outcomes, waiting = [None] * len(questions), list(enumerate(questions))
    waiting.reverse()
    running = {}
    with selectors.DefaultSelector() as selector:
      for worker in self._workers:
        selector.register(worker.connection, selectors.EVENT_READ, worker)
      while waiting or running:
        for worker in self._workers:
          if worker not in running and waiting:
            running[worker], question = waiting.pop()
            worker.send(*question)
        for worker, outcome in _outcomes(selector, running):
          index = running.pop(worker)
          seconds = time.perf_counter() - worker.started
          outcomes[index] = outcome, seconds
          if worker.is_busy:
            self._replace(worker, selector, more=bool(waiting))
    return outcomes

  def _replace(self, worker, selector, more):
    """Another worker for one that does not answer any more."""
    selector.unregister(worker.connection)
    self._workers.remove(worker)
    worker.close()
    if more or not self._workers:
      self._start(len(self._workers) + 1)
      fresh = self._workers[-1]
      selector.register(fresh.connection, selectors.EVENT_READ, fresh)

  def close(self) -> None:
    """Ends the workers; the next question starts others."""
    for worker in self._workers:
      if os.getpid() == self.owner:
        worker.close()
    self._workers.clear()

  @property
  def pids(self) -> list[int]:
    """Process ids of the workers."""
    return [worker.process.pid for worker in self._workers]


def _outcomes(selector, running):
  """(worker, outcome) of those that answered or passed their limit."""
  deadline = min(worker.started + worker.limit for worker in running)
  ready = selector.select(max(0.0, deadline - time.perf_counter()))
  found = []
  for key, _ in ready:
    worker = key.data
    outcome = worker.receive() if worker in running else None
    if outcome is not None:
      found.append((worker, outcome))
  now = time.perf_counter()
  answered = [worker for worker, _ in found]
  for worker in running:
    if worker not in answered and now > worker.started + worker.limit:
      found.append((worker, 'error: timeout'))
  return found


def _environment():
  """Of a worker: nothing but what Python needs to find its modules."""
  kept = ('PATH', 'PYTHONPATH', 'LD_LIBRARY_PATH', 'TMPDIR', 'LANG')
  kept = {name: os.environ[name] for name in kept if name in os.environ}
  return kept | {'PYTHONDONTWRITEBYTECODE': '1'}


_pool = Pool()


def judge(questions: Sequence[tuple[str, str]]) -> list[tuple]:
  """`Pool.judge` on workers shared by all of this process."""
  global _pool
  if _pool.owner != os.getpid():  # A fork does not inherit workers.
    _pool = Pool()
  return _pool.judge(questions)


def warm_up() -> None:
  """Starts the workers ahead of the first question."""
  judge([('1', '1')] * NUM_WORKERS)


def close() -> None:
  """Ends the shared workers; the next question starts others."""
  _pool.close()


atexit.register(close)
