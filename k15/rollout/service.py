"""The rollout service: streams of samples over one driver.

Handlers run on the server's event loop and never wait for a device there; all
that touches the scheduler is a command that the driver runs between two calls
of its decode loop.
"""

import asyncio
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import grpc

from k15.rollout import requests as requests_lib
from k15.rollout import rollout_pb2 as pb
from k15.rollout import wire
from k15.rollout.receiving import WeightsKeeper
from k15.rollout.requests import Chunk, Request, Stop
from k15.rollout.slots import SlotDecoder
from k15.rollout.wire import Refused

_REPLY_BYTES = 1 << 20


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
  tokens: int = 1 << 26
  message_bytes: int = 4 << 20
  wait_seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class Shape:
  """What requests have to fit; `settings` as `wire.digest` names them."""

  slots: int
  columns: int
  vocab_size: int
  settings: str


def shape_of(slots: SlotDecoder) -> Shape:
  """What a decoder can decode, and the name of what decides about tokens."""
  config = dataclasses.replace(slots.config, remat='none', logprob_chunk=1)
  settings = wire.digest(
    config,
    slots.eos_id,
    slots.repetition_count,
    slots.repetition_max_period,
    slots.repetition_min_tokens,
  )
  return Shape(slots.num_slots, slots.columns, config.vocab_size, settings)


class RolloutService:
  """Answers the calls of `rollout.proto`."""

  def __init__(
    self, driver: Any, keeper: WeightsKeeper, shape: Shape, limits: Limits
  ):
    """Serves what a `RolloutDriver` decodes with the weights of a keeper."""
    # One client with all slots, and what it keeps at hand, is never refused.
    limits = dataclasses.replace(
      limits,
      requests=max(limits.requests, 4 * shape.slots),
      tokens=max(limits.tokens, 4 * shape.slots * shape.columns),
    )
    self._driver, self._keeper = driver, keeper
    self._shape, self._limits = shape, limits
    self._load = _Load(limits)
    self._streams = set()
    self._values = {}

  def handlers(self) -> grpc.GenericRpcHandler:
    """For `add_generic_rpc_handlers` of a server."""
    return wire.handlers(self, self._limits.message_bytes, _guarded)

  def close(self) -> None:
    """Ends all streams; call it on the event loop."""
    for stream in self._streams:
      stream.refuse(
        Refused(grpc.StatusCode.UNAVAILABLE, 'the worker is shutting down')
      )

  async def Submit(self, messages, context):
    """Writes chunks as they come, and a heartbeat when none do."""
    stream = _Stream(asyncio.get_running_loop(), self._load)
    self._streams.add(stream)
    reader = asyncio.create_task(self._read(messages, stream))
    try:
      while not stream.is_over:
        for reply in await stream.replies():
          await context.write(reply)
    finally:
      self._streams.discard(stream)
      reader.cancel()
      self._cancel_rest(stream)

  async def Interrupt(self, request, context):
    """Ends samples with INTERRUPTED."""
    return await self._end(request, lambda s, chosen: s.interrupt(chosen))

  async def Cancel(self, request, context):
    """Ends samples with CANCELLED."""
    return await self._end(request, lambda s, chosen: s.cancel(chosen))

  async def Pause(self, request, context):
    """Stops the decode loop."""
    await self._command(lambda scheduler: scheduler.pause())
    return pb.Nothing()

  async def Unpause(self, request, context):
    """Lets the decode loop go on."""
    await self._command(lambda scheduler: scheduler.unpause())
    return pb.Nothing()

  async def UpdateWeights(self, messages, context):
    """Takes in new weights, whole."""
    return await self._keeper.update(messages)

  async def GetPartials(self, request, context):
    """Writes what each sample has got in this submission."""
    wanted = {(name.group_id, name.sample_index) for name in request.names}
    partials = await self._command(lambda scheduler: scheduler.partials())
    for sample, segments in partials.items():
      name = (sample.group_id, sample.sample_index)
      if not wanted or name in wanted:
        await context.write(
          pb.Partial(
            name=pb.Name(group_id=name[0], sample_index=name[1]),
            segments=[wire.segment_message(segment) for segment in segments],
          )
        )

  async def Stats(self, request, context):
    """Counts; those of the last time while the driver is in a long call."""
    values = asyncio.ensure_future(
      self._command(lambda scheduler: scheduler.stats())
    )
    done, _ = await asyncio.wait([values], timeout=0.5)
    if done:
      self._values = dict(values.result())
    return pb.StatsReply(
      has_weights=self._keeper.has_weights,
      trainer=self._keeper.order[0],
      version=self._keeper.order[1],
      settings=self._shape.settings,
      slots=self._shape.slots,
      columns=self._shape.columns,
      vocab_size=self._shape.vocab_size,
      max_requests=self._limits.requests,
      max_tokens=self._limits.tokens,
      message_bytes=self._limits.message_bytes,
      requests=self._load.requests,
      tokens=self._load.tokens,
      values=self._values | self._keeper.values,
    )

  async def _read(self, messages, stream):
    """Takes requests in; what is wrong with one ends its stream."""
    try:
      async for message in messages:
        if isinstance(message, Refused):
          raise message
        stream.beat(message.heartbeat_seconds)
        groups = self._parse(message)
        wait = min(message.wait_seconds, self._limits.wait_seconds)
        promise = (message.trainer, message.min_version)
        await self._keeper.wait_for(promise, wait)
        self._submit(groups, stream)
      stream.close()
    except Refused as refused:
      stream.refuse(refused)
    except Exception as error:
      stream.refuse(_internal(error))

  def _parse(self, message):
    """Requests of a message, [(request, at_maximum)]; all of them are right."""
    try:
      parsed = []
      for group in message.groups:
        requests = wire.requests_of(group)
        for request in requests:
          requests_lib.check(
            request, self._shape.columns, self._shape.vocab_size
          )
        longest = len(requests[0].response) + requests[0].budget
        parsed += [(r, longest == group.max_length) for r in requests]
      return parsed
    except ValueError as error:
      raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

  def _submit(self, parsed, stream):
    self._load.add([request for request, _ in parsed])
    for request, at_maximum in parsed:
      deliver = stream.add(request, at_maximum)
      try:
        self._driver.submit(request, deliver)
      except ValueError as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
      except RuntimeError as error:
        raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None

  async def _end(self, names, end):
    wanted = {(name.group_id, name.sample_index) for name in names.names}
    chosen = None
    if wanted:
      chosen = [
        request
        for stream in self._streams
        for request in stream.unfinished()
        if (request.group_id, request.sample_index) in wanted
      ]
    chunks = await self._command(lambda scheduler: end(scheduler, chosen))
    return pb.Ended(count=len(chunks))

  def _cancel_rest(self, stream):
    """Whoever broke off a stream wants its samples no more."""
    rest = stream.unfinished()
    if not rest:
      return

    def cancel(scheduler):
      scheduler.cancel(rest)
      self._load.remove(rest)

    try:
      self._driver.command(cancel)
    except RuntimeError:  # The driver is gone, and all samples with it.
      self._load.remove(rest)

  async def _command(self, function):
    try:
      return await asyncio.wrap_future(self._driver.command(function))
    except ValueError as error:
      raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    except RuntimeError as error:
      raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None


class _Load:
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

  def remove(self, requests: list[Request]) -> None:
    """Counts them no more; for the second time, nothing happens."""
    with self._lock:
      for request in requests:
        size = self._sizes.pop(request, None)
        if size is not None:
          self.requests -= 1
          self.tokens -= size


class _Stream:
  """Between the driver's thread and the writer of one Submit call."""

  def __init__(self, loop, load):
    self._loop, self._load = loop, load
    self._live, self._count = {}, 0  # request -> at_maximum
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

  def add(self, request: Request, at_maximum: bool) -> Callable[[Chunk], None]:
    """Counts a sample in; where the driver delivers its chunks."""
    sample, self._count = self._count, self._count + 1
    with self._lock:
      self._live[request] = at_maximum
    return functools.partial(self._deliver, sample, at_maximum)

  def _deliver(self, sample, at_maximum, chunk):
    message = wire.message_of(sample, chunk, at_maximum)
    with self._lock:
      self._chunks.append(message)
      if chunk.stop != Stop.RUNNING:
        self._live.pop(chunk.request, None)
      wake, self._woken = not self._woken, True
    if chunk.stop != Stop.RUNNING:
      self._load.remove([chunk.request])
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


def _guarded(method):
  """Turns `Refused` into the status of the call."""

  @functools.wraps(method)
  async def guarded(request, context):
    try:
      if isinstance(request, Refused):
        raise request
      return await method(request, context)
    except Refused as refused:
      code, sentence = refused.code, refused.sentence
    except Exception as error:
      refused = _internal(error)
      code, sentence = refused.code, refused.sentence
    return await context.abort(code, sentence)

  return guarded


def _internal(error):
  sentence = f'the worker failed: {type(error).__name__}: {error}'
  return Refused(grpc.StatusCode.INTERNAL, sentence)
