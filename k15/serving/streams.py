"""What a worker takes on, and the way of chunks from driver to client.

A driver delivers on its own thread; the writer of a stream runs on the event
loop, and gets all chunks that have come since it last wrote in one message.
"""

import asyncio
import dataclasses
import queue
import threading
from collections.abc import Callable

import grpc

from k15.rollout.driver import RolloutDriver
from k15.rollout.requests import Chunk, Request, Stop
from k15.serving import rollout_pb2 as pb
from k15.serving import wire
from k15.serving.wire import Refused

_REPLY_BYTES = 1 << 20  # well below the least rollout.max_message_bytes


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one worker takes on.

  Attributes:
    requests: queued or live, of all clients; at least 4 for each slot.
    tokens: of their contexts and budgets together; likewise.
    message_bytes: of one message.
    wait_seconds: longest wait for promised weights.
  """

  requests: int = 4096
  # At 4 bytes a token and 4 a log-probability, half a gigabyte of the host.
  tokens: int = 1 << 26
  message_bytes: int = 4 << 20
  wait_seconds: float = 60.0


class Load:
  """How much is queued or live; counted on any thread."""

  def __init__(self, limits):
    self._limits, self._lock, self._sizes = limits, threading.Lock(), {}
    self.requests = self.tokens = 0

  def add(self, requests: list[Request]) -> None:
    """Counts them all, or refuses them all with RESOURCE_EXHAUSTED."""
    sizes = {r: len(r.prompt) + len(r.response) + r.budget for r in requests}
    tokens, limits = sum(sizes.values()), self._limits
    with self._lock:
      if (
        self.requests + len(requests) > limits.requests
        or self.tokens + tokens > limits.tokens
      ):
        raise Refused(
          grpc.StatusCode.RESOURCE_EXHAUSTED,
          f'{len(requests)} requests of {tokens} tokens beside'
          f' {self.requests} of {self.tokens} that wait or are live; this'
          f' worker takes {limits.requests} of {limits.tokens}',
        )
      self._sizes |= sizes
      self.requests += len(requests)
      self.tokens += tokens

  def digests(self) -> set[str]:
    """Of the pictures that any of them shows."""
    with self._lock:
      return {image.digest for r in self._sizes for image in r.images}

  def remove(self, requests: list[Request]) -> None:
    """Counts them no more; for the second time, nothing happens."""
    with self._lock:
      for request in requests:
        size = self._sizes.pop(request, None)
        if size is not None:
          self.requests -= 1
          self.tokens -= size


def submit(
  driver: RolloutDriver,
  load: Load,
  requests: list[Request],
  deliver: Callable[[Chunk], None],
) -> None:
  """Counts requests and queues them, all or none.

  Raises:
    Refused: says why not.
  """
  load.add(requests)
  try:
    driver.submit_all(requests, deliver)
    return
  except ValueError as error:
    refused = Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error))
  except queue.Full as error:
    refused = Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
  except RuntimeError as error:
    refused = Refused(grpc.StatusCode.UNAVAILABLE, str(error))
  load.remove(requests)
  raise refused


def cancel(driver: RolloutDriver, load: Load, requests: list[Request]) -> None:
  """Lets go of requests that nobody waits for any more."""
  if not requests:
    return

  # The load is counted down on the driver's thread, with the cancelling:
  # earlier, others would be let in while these still hold their slots.
  def end(scheduler):
    scheduler.cancel(requests)
    load.remove(requests)

  try:
    driver.command(end)
  except RuntimeError:  # The driver is gone, and all samples with it.
    load.remove(requests)


class Stream:
  """Between the driver's thread and the writer of one Submit call."""

  def __init__(self, loop, load):
    self._loop, self._load = loop, load
    self._live, self._count = {}, 0  # request -> (sample, at_maximum)
    self._chunks, self._woken, self._event = [], False, asyncio.Event()
    self._lock = threading.Lock()
    self._heartbeat, self._refused, self._is_closed = None, None, False

  @property
  def is_over(self) -> bool:
    """Whether nothing more will come."""
    return self._is_closed and not self._live and not self._chunks

  def unfinished(self) -> list[Request]:
    with self._lock:
      return list(self._live)

  def beat(self, seconds: float) -> None:
    """Sets how long the stream may be silent; the first time only."""
    if self._heartbeat is None and seconds > 0:
      # The client's number is not trusted: it could keep the event loop busy
      # with empty replies.
      self._heartbeat = min(max(seconds, 0.05), 60.0)
      self._event.set()

  def close(self) -> None:
    """No more samples will be added."""
    self._is_closed = True
    self._event.set()

  def refuse(self, refused: Refused) -> None:
    """Ends the stream with a status."""
    self._refused = self._refused or refused
    self._event.set()

  def add(self, parsed: list[tuple[Request, bool]]) -> Callable[[Chunk], None]:
    """Counts samples in; where the driver delivers their chunks."""
    with self._lock:
      for request, at_maximum in parsed:
        self._live[request] = self._count, at_maximum
        self._count += 1
    return self._deliver

  def _deliver(self, chunk):
    with self._lock:
      message = wire.message_of(chunk, *self._live[chunk.request])
      self._chunks.append(message)
      if chunk.stop is not Stop.RUNNING:
        del self._live[chunk.request]
        self._load.remove([chunk.request])
      # One wake-up for all chunks until the writer comes: each is a system
      # call, and there is a chunk for every slot and call.
      wake, self._woken = not self._woken, True
    if wake:
      self._loop.call_soon_threadsafe(self._event.set)

  async def replies(self) -> list[pb.SubmitReply]:
    """Waits for chunks; an empty reply if they take too long."""
    timed_out = False
    try:
      await asyncio.wait_for(self._event.wait(), self._heartbeat)
    except TimeoutError:
      timed_out = True
    self._event.clear()
    with self._lock:
      chunks, self._chunks, self._woken = self._chunks, [], False
    if self._refused:
      raise self._refused
    if timed_out and not chunks:
      return [pb.SubmitReply()]
    return _bundled(chunks)


def _bundled(chunks):
  """Chunks in replies of about `_REPLY_BYTES`."""
  replies, size = [], _REPLY_BYTES
  for chunk in chunks:
    if size >= _REPLY_BYTES:
      replies.append(pb.SubmitReply())
      size = 0
    replies[-1].chunks.append(chunk)
    size += len(chunk.tokens) + len(chunk.logprobs)
  return replies
