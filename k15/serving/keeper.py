"""Which weights a worker has, and how it comes by newer ones.

Weights are ordered by (trainer, version).  An update is received beside the
weights that serve, and swapped in by one command between two calls of the
decode loop: a chunk is wholly of one set of weights, and an update that is
torn, late or sent twice changes nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from k15.checkpoints import models
from k15.config import keys
from k15.model import policy
from k15.rollout.driver import RolloutDriver
from k15.serving import rollout_pb2 as pb
from k15.serving import weights
from k15.serving.wire import Refused

_NO_WEIGHTS = (0, -1)  # older than those of any (trainer, version)


class WeightsKeeper:
  """Receives weights for one driver."""

  def __init__(
    self, driver: RolloutDriver, shape: policy.PolicyConfig, layout: Any
  ):
    """Starts without weights.

    Args:
      driver: its scheduler decodes with them.
      layout: pytree of `jax.ShapeDtypeStruct` with shardings: parameters.
    """
    self._driver, self._shape, self._layout = driver, shape, layout
    self._order, self._sha256, self._loaded = _NO_WEIGHTS, b'', False
    self._incoming = _NO_WEIGHTS
    self._receiving = None
    self._swapping, self._changed = asyncio.Lock(), asyncio.Event()
    self.values = dict(updates=0.0, update_bytes=0.0, update_seconds=0.0)

  @property
  def has_weights(self) -> bool:
    return self._loaded

  @property
  def order(self) -> tuple[int, int]:
    """(trainer, version) of the weights that serve."""
    return self._order

  async def wait_for(self, promise: tuple[int, int], seconds: float) -> None:
    """Returns once the promised weights serve.

    Args:
      promise: trainer, 0 for any, and lowest version.

    Raises:
      Refused: they did not come, or never will.
    """
    with contextlib.suppress(TimeoutError):
      async with asyncio.timeout(max(seconds, 0.0)):
        while not self._keeps(promise):
          self._changed.clear()
          await self._changed.wait()
    if not self._keeps(promise):
      trainer, version = promise
      has = f'{self._order[1]} of trainer {self._order[0]}'
      raise Refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        f'version {version} of trainer {trainer} was promised, and after'
        f' {seconds:.1f} s this worker has'
        f' {has if self._loaded else "no weights"}',
      )

  def begin_with(self, params: Any, version: int) -> None:
    """Serves weights of no trainer; before the server starts."""
    self._driver.command(_swap_in(params, version)).result()
    self._order, self._loaded = (0, version), True

  async def update(
    self, messages: AsyncIterator[pb.WeightsRequest]
  ) -> pb.WeightsReply:
    """Receives one update and lets it serve.

    Raises:
      Refused: late (FAILED_PRECONDITION), damaged (DATA_LOSS), overtaken by
        another (ABORTED), or not of this policy (INVALID_ARGUMENT).
    """
    start = time.monotonic()
    header = await _header(messages)
    order = (header.trainer, header.version)
    if not self._is_new(header, order):
      return pb.WeightsReply(trainer=order[0], version=order[1])
    _refuse(
      order < self._incoming,
      grpc.StatusCode.ABORTED,
      f'version {order[1]} of trainer {order[0]}, while version'
      f' {self._incoming[1]} of trainer {self._incoming[0]} is coming in',
    )
    # Whoever begins to receive takes the place of who did before; the earlier
    # one sees it at its next shard, and gives up.
    me = self._receiving = object()
    self._incoming = order
    try:
      params = await self._receive(header, messages, me)
      received = time.monotonic()
      # A swap that was begun is finished, even if its client is gone.
      swap = asyncio.create_task(self._swap(header, order, params))
      await asyncio.shield(swap)
    except weights.Damaged as error:
      raise Refused(grpc.StatusCode.DATA_LOSS, str(error)) from None
    except (ValueError, OSError) as error:
      raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    finally:
      if self._receiving is me:
        self._receiving, self._incoming = None, _NO_WEIGHTS
    done = time.monotonic()
    size = sum(x.nbytes for x in weights.named(params).values())
    self.values['updates'] += 1
    self.values['update_bytes'] += size
    self.values['update_seconds'] += done - start
    return pb.WeightsReply(
      trainer=order[0],
      version=order[1],
      is_new=True,
      bytes=size,
      receive_seconds=received - start,
      apply_seconds=done - received,
    )

  def _keeps(self, promise):
    trainer, version = promise
    return self._loaded and (
      version <= self._order[1] and trainer in (0, self._order[0])
    )

  def _is_new(self, header, order):
    """Whether to go on; False if just these weights serve already."""
    live = header.live_requests
    _refuse(
      live and live not in keys.LIVE_REQUESTS,
      grpc.StatusCode.INVALID_ARGUMENT,
      f'live_requests is {live!r}, and has to be one of {keys.LIVE_REQUESTS}',
    )
    is_known = self._loaded and order == self._order
    _refuse(
      (self._loaded and order < self._order)
      or (is_known and header.sha256 != self._sha256),
      grpc.StatusCode.FAILED_PRECONDITION,
      f'version {order[1]} of trainer {order[0]} comes too late: version'
      f' {self._order[1]} of trainer {self._order[0]} serves',
    )
    return not is_known

  async def _receive(self, header, messages, me):
    """The parameters where they belong on the devices, not serving yet."""
    loop = asyncio.get_running_loop()
    if header.path:
      params, _ = await loop.run_in_executor(
        None, models.load, header.path, self._shape, self._layout
      )
      return params
    receiver = weights.Receiver(header, self._layout)
    async for message in messages:
      if isinstance(message, Refused):
        raise message
      _refuse(
        self._receiving is not me,
        grpc.StatusCode.ABORTED,
        f'version {header.version} was overtaken while it came in',
      )
      receiver.add(message.shard)
    # Off the event loop, on which the heartbeats of all streams are written: a
    # worker that is silent meanwhile would be taken for dead.
    tree = await loop.run_in_executor(None, receiver.finish)
    return await loop.run_in_executor(None, weights.place, tree, self._layout)

  async def _swap(self, header, order, params):
    async with self._swapping:
      self._is_new(header, order)  # Another may have been quicker.
      is_other = self._loaded and order[0] != self._order[0]
      # While weights of another trainer come into force nothing is promised:
      # the versions of the two are not comparable.
      loaded, self._loaded = self._loaded, self._loaded and not is_other
      swap_in = _swap_in(params, order[1], header.live_requests, is_other)
      try:
        await asyncio.wrap_future(self._driver.command(swap_in))
        while header.live_requests == 'drain' and not await self._serves(order):
          # Draining lasts as long as the longest live response, and the
          # scheduler tells nobody when it has swapped: it is asked.
          await asyncio.sleep(0.05)
      except BaseException:
        self._loaded = loaded
        raise
      self._order, self._sha256 = order, header.sha256
      self._loaded = True
      self._changed.set()

  async def _serves(self, order):
    version = self._driver.command(lambda scheduler: scheduler.version)
    return await asyncio.wrap_future(version) >= order[1]


def _swap_in(params, version, live='', is_other=False):
  """The command that lets parameters serve."""

  def swap_in(scheduler):
    if is_other:  # Nobody waits for the samples of the earlier trainer.
      scheduler.forget()
    scheduler.set_params(params, version, live or 'interrupt')

  return swap_in


async def _header(messages):
  async for message in messages:
    if isinstance(message, Refused):
      raise message
    if message.WhichOneof('part') == 'header':
      return message.header
    break
  raise Refused(
    grpc.StatusCode.INVALID_ARGUMENT, 'an update begins with its header'
  )


def _refuse(condition, code, sentence):
  if condition:
    raise Refused(code, sentence)
