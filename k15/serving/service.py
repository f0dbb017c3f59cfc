"""The rollout service: streams of samples over one driver.

Handlers run on the server's event loop and never wait for a device there; all
that touches the scheduler is a command that the driver runs between two calls
of its decode loop.
"""

import asyncio
import dataclasses
import functools

import grpc

from k15.rollout import requests as requests_lib
from k15.rollout.driver import RolloutDriver
from k15.rollout.slots import SlotDecoder
from k15.serving import rollout_pb2 as pb
from k15.serving import streams
from k15.serving import wire
from k15.serving.keeper import WeightsKeeper
from k15.serving.sent_pictures import SentPictures
from k15.serving.streams import Limits
from k15.serving.streams import Load
from k15.serving.streams import Stream
from k15.serving.wire import Refused
from k15.vision.sight import Sight


@dataclasses.dataclass(frozen=True)
class Shape:
  """What requests have to fit; `settings` as of `wire.settings_of`.

  `sight` is of a policy that sees.
  """

  slots: int
  columns: int
  vocab_size: int
  settings: str
  sight: Sight | None = None


def shape_of(slots: SlotDecoder) -> Shape:
  """What a decoder can decode."""
  return Shape(
    slots.num_slots,
    slots.columns,
    slots.config.vocab_size,
    wire.settings_of(slots),
    slots.sight,
  )


def at_least(limits: Limits, shape: Shape) -> Limits:
  """Raises limits so far that one client with all slots is never refused."""
  return dataclasses.replace(
    limits,
    requests=max(limits.requests, 4 * shape.slots),
    tokens=max(limits.tokens, 4 * shape.slots * shape.columns),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
  """What all share who answer for one worker.

  `load` counts what is queued or live, of all of them.
  """

  driver: RolloutDriver
  keeper: WeightsKeeper
  shape: Shape
  limits: Limits
  load: Load
  pictures: SentPictures | None


class RolloutService:
  """Answers the calls of `rollout.proto`."""

  def __init__(self, served: Served):
    """Serves what a driver decodes with the weights of a keeper."""
    self._driver, self._keeper = served.driver, served.keeper
    self._shape, self._limits = served.shape, served.limits
    self._pictures, self._load = served.pictures, served.load
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
    stream = Stream(asyncio.get_running_loop(), self._load)
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

  async def PutImages(self, messages, context):
    """Takes in pictures, each checked against its digest."""
    if self._pictures is None:
      raise Refused(
        grpc.StatusCode.INVALID_ARGUMENT, 'the policy of this worker sees none'
      )
    await self._pictures.receive(messages, self._load.digests)
    return pb.Nothing()

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
    # Clients ask for this to see whether a worker lives; one that compiles for
    # a minute does, and has to answer meanwhile.
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
        # The client's number is not trusted: its stream could wait here for
        # ever.
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
        refs = self._pictures.refs if self._pictures else None
        requests = wire.requests_of(group, refs)
        shape = self._shape
        for request in requests:
          requests_lib.check(
            request, shape.columns, shape.vocab_size, shape.sight
          )
        # The budget was cut to what is left up to `max_length`; if that
        # decided, the end of the budget is the end of the response.
        longest = len(requests[0].response) + requests[0].budget
        parsed += [(r, longest == group.max_length) for r in requests]
      return parsed
    except ValueError as error:
      raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

  def _submit(self, parsed, stream):
    requests = [request for request, _ in parsed]
    # Again: while weights were waited for, others may have taken their room.
    # From here on they are in use.
    for digest in {i.digest for r in requests for i in r.images}:
      if digest not in self._pictures.refs:
        raise Refused(
          grpc.StatusCode.FAILED_PRECONDITION, f'the picture {digest} is gone'
        )
    deliver = stream.add(parsed)
    streams.submit(self._driver, self._load, requests, deliver)

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
    streams.cancel(self._driver, self._load, stream.unfinished())

  async def _command(self, function):
    try:
      return await asyncio.wrap_future(self._driver.command(function))
    except ValueError as error:
      raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    except RuntimeError as error:
      raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None


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
