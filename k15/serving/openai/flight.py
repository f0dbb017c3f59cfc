"""The requests of one call on their way through the driver.

The driver delivers on its own thread; whoever answers the call waits on the
event loop, and gets all chunks that have come since it last looked.
"""

import asyncio
import threading
from collections.abc import Sequence

import grpc
import numpy as np

from k15.rollout.requests import Chunk, Request, Stop
from k15.rollout.scoring import Scores
from k15.serving import streams
from k15.serving.service import Served
from k15.serving.wire import Refused


class Flight:
  """Requests that live as long as a call; made on the event loop."""

  def __init__(self, served: Served):
    self._served, self._loop = served, asyncio.get_running_loop()
    self._live = set()
    self._chunks, self._woken, self._event = [], False, asyncio.Event()
    self._lock = threading.Lock()
    self._refused = None

  def submit(self, requests: Sequence[Request]) -> None:
    """Queues requests, all or none; Refused says why not."""
    requests, served = list(requests), self._served
    with self._lock:
      self._live.update(requests)
    try:
      streams.submit(served.driver, served.load, requests, self._deliver)
    except Refused:
      with self._lock:
        self._live.clear()
      raise

  async def chunks(self) -> list[Chunk]:
    """Waits for chunks; raises Refused if none will come any more."""
    await self._event.wait()
    self._event.clear()
    with self._lock:
      chunks, self._chunks, self._woken = self._chunks, [], False
    if self._refused:
      raise self._refused
    return chunks

  def cancel(self, requests: Sequence[Request] | None = None) -> None:
    """Lets go of requests, of all that are left if None."""
    with self._lock:
      asked = self._live if requests is None else requests
      rest = [request for request in asked if request in self._live]
    streams.cancel(self._served.driver, self._served.load, rest)

  def refuse(self, refused: Refused) -> None:
    """Ends the call with a sentence; on the event loop."""
    self._refused = self._refused or refused
    self._event.set()

  def _deliver(self, chunk):
    with self._lock:
      self._chunks.append(chunk)
      if chunk.stop is not Stop.RUNNING:
        self._live.discard(chunk.request)
        self._served.load.remove([chunk.request])
      # One wake-up for all chunks until somebody looks: each is a system call.
      wake, self._woken = not self._woken, True
    if wake:
      self._loop.call_soon_threadsafe(self._event.set)


class Scorer:
  """Reads rows that are given, one between two calls of the decode loop.

  More would keep those waiting that decode.
  """

  def __init__(self, served: Served):
    self._served, self._turn = served, asyncio.Semaphore(1)

  async def score(self, tokens: np.ndarray, temperature: float) -> Scores:
    """As `SlotBackend.score`; Refused if it cannot be."""
    async with self._turn:
      try:
        return await asyncio.wrap_future(
          self._served.driver.command(
            lambda scheduler: scheduler.backend.score(tokens, temperature)
          )
        )
      except ValueError as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
      except RuntimeError as error:
        raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None
