"""Worker processes for answers that cost an unknown time; killed at a limit.

A question is a (gold, answer) pair of markup; fallback_process.py answers it.
The workers start with the first questions, stay for the next ones, ignore
Ctrl-C, and end with their pool or this process.
"""

import contextlib
import functools
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

LIMIT_SECONDS = 0.7  # of processor time, for one answer in its worker
PATIENCE_SECONDS = 20.0  # until a worker that does not answer is killed
START_SECONDS = 120.0  # sympy is imported, perhaps by many at once
END_SECONDS = 0.5  # until one that does not end is killed with its child
MEMORY_MB = 1024  # of address space, sympy itself included
NUM_WORKERS = max(1, min(4, (os.cpu_count() or 2) // 2))
_ROOT = pathlib.Path(__file__).resolve().parents[3]


class Worker:
  """One process; a question at a time.

  Attributes:
    is_busy: whether an answer is still to come.
  """

  def __init__(self, seconds: float = LIMIT_SECONDS):
    self.connection, theirs = socket.socketpair()
    command = [
      '-m',
      'k15.rewards.answers.fallback_process',
      str(theirs.fileno()),
    ]
    self.process = subprocess.Popen(
      [sys.executable, *command, str(seconds), str(MEMORY_MB)],
      pass_fds=[theirs.fileno()],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,
      cwd=_ROOT,
      env=_environment(),
      # Ctrl-C in the terminal goes to a whole group: this one is not in it, and
      # can be killed with its child by its own.
      start_new_session=True,
    )
    # With a copy of its end open here, a worker that died would never be read
    # as closed.
    theirs.close()
    self.is_busy = False
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

  def judge(self, gold: str, answer: str) -> tuple[str, float]:
    """(outcome, seconds); still busy where it did not answer in time."""
    self._number += 1
    self.is_busy, start = True, time.perf_counter()
    message = json.dumps([self._number, gold, answer]).encode() + b'\n'
    self.connection.settimeout(PATIENCE_SECONDS)
    try:
      self.connection.sendall(message)
      outcome = None
      while outcome is None:
        left = start + PATIENCE_SECONDS - time.perf_counter()
        self.connection.settimeout(max(left, 1e-3))
        outcome = self._receive()
    except TimeoutError:
      outcome = 'error: timeout'
    except OSError:
      outcome = 'error: crash: the worker ended'
    return outcome, time.perf_counter() - start

  def _receive(self):
    """The outcome, None when what came belongs to an earlier question."""
    received = self.connection.recv(65536)
    if not received:
      raise ConnectionError
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
  """Workers that answer the questions of several threads side by side.

  A worker starts when a question finds none idle, up to `size` of them, and
  all of them end with the pool.
  """

  def __init__(self, size: int = NUM_WORKERS, seconds: float = LIMIT_SECONDS):
    self._size, self._seconds = size, seconds
    self._workers: list[Worker] = []
    self._lock = threading.Lock()  # of the list
    self._make_places()
    weakref.finalize(self, _close_all, self._workers, self._owner)

  def _make_places(self):
    """As many places as workers may be; those who wait, wait for a place."""
    self._owner = os.getpid()
    # The place that was left last has a worker, and others may have none: few
    # questions start few workers.
    self._places = queue.LifoQueue()
    for _ in range(self._size):
      self._places.put(None)

  def judge(self, gold: str, answer: str) -> tuple[str, float]:
    """(outcome, seconds) of a question, whatever it does to its worker."""
    if os.getpid() != self._owner:  # A fork does not inherit workers.
      self._workers.clear()
      self._make_places()
    places = self._places
    worker, ready = places.get(), None
    try:
      ready = self._ready(worker)
      return ready.judge(gold, answer)
    finally:
      places.put(ready)

  def _ready(self, worker):
    """The worker, or a fresh one for a place without one that can answer."""
    if worker and not (worker.has_ended or worker.is_busy):
      return worker
    fresh = Worker(self._seconds)
    with self._lock:
      if worker in self._workers:
        self._workers.remove(worker)
      self._workers.append(fresh)
    if worker:
      worker.close()
    fresh.wait_until_ready()
    return fresh

  def warm_up(self) -> None:
    """Starts all workers ahead of the first question."""
    threads = [
      threading.Thread(target=self.judge, args=('1', '1'))
      for _ in range(self._size)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  def close(self) -> None:
    """Ends the workers; the next question starts others."""
    with self._lock:
      ended = [*self._workers]
      self._workers.clear()
    for worker in ended:
      worker.close()

  @property
  def pids(self) -> list[int]:
    """Process ids of the workers."""
    return [worker.process.pid for worker in self._workers]


@functools.cache
def shared() -> Pool:
  """The pool of whoever has none of its own in this process."""
  return Pool()


def _close_all(workers, owner):
  """At the end of a pool, or of the process; not of one forked off."""
  for worker in workers if os.getpid() == owner else ():
    worker.close()


def _environment():
  """Of a worker: nothing but what Python needs to find its modules."""
  kept = ('PATH', 'PYTHONPATH', 'LD_LIBRARY_PATH', 'TMPDIR', 'LANG')
  kept = {name: os.environ[name] for name in kept if name in os.environ}
  return kept | {'PYTHONDONTWRITEBYTECODE': '1'}
