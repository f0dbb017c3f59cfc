"""`RolloutDriver`: our scheduler on a thread, for callers on any other.

The thread does one thing after another: commands, one step of the scheduler,
delivery, and again.  Nothing that goes wrong on it ends the process.

Clients whose responses one step has ended ask again together, but not at once,
and a step that leaves with the first of them decodes for it alone.  So after a
step that ended most of what it decoded, the thread waits for as many to come,
while they do, at most half a step's time.
"""

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TypeVar

from k15.rollout import requests as requests_lib
from k15.rollout.requests import Chunk, Request, Stop
from k15.rollout.scheduler import Scheduler

T = TypeVar('T')
Deliver = Callable[[Chunk], None]
_STOPPED = 'the driver was stopped'
# For each who may come, and for all, as parts of the last step's time.  A lone
# client, whose next request is all that is expected, waits for nobody.
_GAP, _MOST = 0.2, 0.5
_LONGEST_STEP = 2.0  # seconds, that count: one that compiles takes minutes


class RolloutDriver:
  """Serves requests from any thread.

  Attributes:
    error: what ended it, or None.
    is_alive: requests are served.
    max_requests: submitted and not finished, at most.
  """

  def __init__(
    self,
    scheduler: Scheduler,
    within: Callable[[], contextlib.AbstractContextManager],
    max_requests: int = 1 << 20,
  ):
    """Starts; without weights, requests wait for a command that sets them.

    Args:
      scheduler: nobody else calls it from now on.
      within: made and entered on the thread, such as the mesh of devices.
      max_requests: see above.
    """
    self.error, self.is_alive = None, True
    self.max_requests = max_requests
    self._scheduler, self._within = scheduler, within
    self._wake = threading.Condition()
    self._stopping = False
    self._inbox = []  # (what to call, its future or None)
    self._readers = {}  # request -> deliver, of all that are not finished
    self._thread = threading.Thread(
      target=self._run, name='rollout driver', daemon=True
    )
    self._thread.start()

  def submit(self, request: Request, deliver: Deliver) -> None:
    """Queues a request; see `submit_all`."""
    self.submit_all([request], deliver)

  def submit_all(self, requests: Sequence[Request], deliver: Deliver) -> None:
    """Queues requests, from any thread, all or none.

    Args:
      requests: those of one prompt, given together, share one prefill.
      deliver: is called on the driver's thread with every chunk; the last of
        a request is not RUNNING.  If it raises, the request is dropped.

    Raises:
      ValueError: a request cannot be decoded or is here already.
      queue.Full: `max_requests` would be exceeded.
      RuntimeError: the driver serves no more.
    """
    for request in requests:
      self._scheduler.backend.check(request)
    with self._wake:
      self._refuse_if_over()
      known = [r for r in requests if r in self._readers]
      if known or len(set(requests)) < len(requests):
        name = requests_lib.name_of((known or requests)[0])
        raise ValueError(f'{name} is submitted already')
      waiting = len(self._readers)
      if waiting + len(requests) > self.max_requests:
        raise queue.Full(
          f'{len(requests)} requests on top of {waiting}; {self.max_requests}'
          ' are the most'
        )
      self._readers.update(dict.fromkeys(requests, deliver))
      self._send(functools.partial(self._start, requests))

  def command(self, fn: Callable[[Scheduler], T]) -> futures.Future[T]:
    """Calls fn(scheduler) between two calls of the decode loop.

    The chunks of requests it ends are delivered before the result is there.

    Raises:
      RuntimeError: the driver serves no more.
    """
    future = futures.Future()
    with self._wake:
      self._refuse_if_over()
      self._send(functools.partial(self._run_command, fn, future), future)
    return future

  def stop(self) -> None:
    """Ends the thread after its present call; what is left fails."""
    with self._wake:
      self._stopping = True
      self._wake.notify()
    if self._thread is not threading.current_thread():
      self._thread.join()

  def _run(self):
    """The thread."""
    error = None
    try:
      with self._within():
        self._serve()
    except Exception as caught:
      logging.getLogger(__name__).exception('the rollout driver ends')
      error = caught
    self._end(error)

  def _serve(self):
    """The loop: commands, a step, delivery."""
    took, expected = 0.0, 0
    while True:
      with self._wake:
        self._wake.wait_for(
          lambda: self._stopping or self._inbox or self._scheduler.has_work
        )
        self._gather(expected, took)
        if self._stopping:
          return
        inbox, self._inbox = self._inbox, []
      for call, _ in inbox:
        call()
      start = time.monotonic()
      chunks = self._scheduler.step()
      if chunks:  # None of a command alone.
        took = min(time.monotonic() - start, _LONGEST_STEP)
        over = sum(chunk.stop is not Stop.RUNNING for chunk in chunks)
        expected = len(chunks) if 2 * over > len(chunks) else 0
      for chunk in chunks:
        self._deliver(chunk)

  def _gather(self, expected, took):
    """Waits until so many requests are here, or no more come."""
    end = time.monotonic() + _MOST * took
    while len(self._readers) < expected:
      is_asked = any(future for _, future in self._inbox)
      left = min(_GAP * took, end - time.monotonic())
      if self._stopping or is_asked or left <= 0 or not self._wake.wait(left):
        return

  def _start(self, requests):
    for request in requests:
      self._scheduler.submit(request)

  def _run_command(self, fn, future):
    if not future.set_running_or_notify_cancel():
      return
    try:
      result = fn(self._scheduler)
    except Exception as error:
      self._deliver_ended()
      future.set_exception(error)
    else:
      self._deliver_ended()
      future.set_result(result)

  def _deliver_ended(self):
    for chunk in self._scheduler.pop_ended():
      self._deliver(chunk)

  def _deliver(self, chunk):
    """Hands over a chunk; a reader that fails is dropped, it alone."""
    deliver = self._readers.get(chunk.request)
    if deliver is None:
      return
    is_last = chunk.stop is not Stop.RUNNING
    if is_last:
      with self._wake:
        del self._readers[chunk.request]
    try:
      deliver(chunk)
    except Exception:
      name = requests_lib.name_of(chunk.request)
      logging.getLogger(__name__).info('%s lost its reader', name)
      if not is_last:
        with self._wake:
          del self._readers[chunk.request]
        self._scheduler.cancel([chunk.request])

  def _end(self, error):
    """Tells everybody that nothing more will come."""
    with self._wake:
      self.error, self.is_alive = error, False
      readers, self._readers = self._readers, {}
      inbox, self._inbox = self._inbox, []
    why = _STOPPED if error is None else f'{type(error).__name__}: {error}'
    for _, future in inbox:
      if future and future.set_running_or_notify_cancel():
        future.set_exception(RuntimeError(why))
    for request, deliver in readers.items():
      chunk = requests_lib.last_chunk(
        request, self._scheduler.version, Stop.FAILED, why
      )
      # Whoever does not listen any more needs not be told.
      with contextlib.suppress(Exception):
        deliver(chunk)

  def _send(self, call, future=None):
    self._inbox.append((call, future))
    self._wake.notify()

  def _refuse_if_over(self):
    if self.error is not None:
      raise RuntimeError(f'the driver ended: {self.error}')
    if self._stopping or not self.is_alive:
      raise RuntimeError(_STOPPED)
