"""`RolloutServer`: a driver behind gRPC, for trainers and their workers.

`python -m k15.serve` makes one of a config; it is in the hands of whoever has
its port, see `access`.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import grpc
import jax
import numpy as np

from k15.checkpoints import models
from k15.data_types import Segment
from k15.rollout import backend
from k15.rollout.driver import RolloutDriver
from k15.rollout.slots import SlotDecoder
from k15.serving import access as access_lib
from k15.serving import keeper
from k15.serving import service
from k15.serving import weights
from k15.serving.access import Access
from k15.serving.sent_pictures import SentPictures
from k15.serving.streams import Limits
from k15.serving.streams import Load

AddCalls = Callable[[grpc.aio.Server, Callable[[], bool]], None]
_STOP_SECONDS = 1.0  # for streams to see that the worker goes
_SCRAPE_SECONDS = 5.0  # for numbers, which wait for the present decode call


class Front(Protocol):
  """Another way in to the same driver, on the same event loop."""

  def open(self) -> None:
    """Takes connections, which wait for `run`."""

  async def run(self) -> None:
    """Answers until it is closed."""

  def close(self) -> None:
    """Ends what it answers; `run` returns soon."""


class RolloutServer:
  """One port, one driver, the rollout service and perhaps others beside it.

  Attributes:
    driver: decodes; it ends with the server.
    keeper: of the weights.
    port: that it listens on.
    served: what a `Front` needs of it.
  """

  def __init__(
    self,
    driver: RolloutDriver,
    slots: SlotDecoder,
    layout: Any,
    host: str = '127.0.0.1',
    port: int = 0,
    access: Access = Access(),  # noqa: B008  (it is frozen)
    limits: Limits = Limits(),  # noqa: B008
    add_calls: AddCalls | None = None,
    pictures: SentPictures | None = None,
  ):
    """Listens once it is started.

    Args:
      driver: without weights; `slots` decode in it.
      slots: what they can decode is what it takes.
      layout: pytree of `jax.ShapeDtypeStruct` with shardings: parameters.
      host, port: to listen on; port 0 is any that is free.
      add_calls: given the gRPC server and whether there are weights; what it
        adds there is answered, too.
      pictures: where the driver looks for them; None: its policy sees none.

    Raises:
      ValueError: others could reach it, and need no token and no certificate.
      OSError: it cannot listen there.
    """
    self.driver, self._slots, self._layout = driver, slots, layout
    self.keeper = keeper.WeightsKeeper(driver, slots.config, layout)
    shape = service.shape_of(slots)
    limits = service.at_least(limits, shape)
    # The driver counts requests of JetStream's calls too, which know no
    # `Limits`.
    driver.max_requests = limits.requests
    self._pictures = pictures
    self.served = service.Served(
      driver, self.keeper, shape, limits, Load(limits), pictures
    )
    self._service = service.RolloutService(self.served)
    self._front = self._front_task = None
    # The handlers' loop has a thread: this one may wait for a signal.
    self._executor = concurrent.futures.ThreadPoolExecutor(8)
    self._loop = asyncio.new_event_loop()
    self._loop.set_default_executor(self._executor)
    self._loop_thread = threading.Thread(
      target=self._loop.run_forever, name='rollout server', daemon=True
    )
    self._loop_thread.start()
    try:
      access_lib.check_host(host, access)
      self.port = self._call(
        self._listen(host, port, access, limits, add_calls)
      )
    except (ValueError, OSError):
      self.driver.stop()
      self._end_loop()
      raise

  def add_front(self, front: Front) -> None:
    """Lets a front answer beside gRPC; before `prepare`."""
    self._front = front

  def prepare(self, checkpoint: str = '') -> int:
    """Compiles every shape, so that nothing compiles later; before `start`.

    Args:
      checkpoint: what it serves until a trainer sends weights, as of
        `models.load`; empty: nothing.

    Returns:
      The version of these weights; -1: there are none.

    Raises:
      ValueError, OSError: as `models.load`.
    """
    slots, version = self._slots, -1
    if checkpoint:
      params, version = models.load(checkpoint, slots.config, self._layout)
    else:
      # Programs depend on shapes and layouts only: zeros stand for the weights
      # that a trainer will send.
      zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self._layout)
      params = weights.place(zeros, self._layout)
    pictures = self._pictures
    self.driver.command(
      lambda _: backend.warm_up(
        slots,
        params,
        pictures=pictures,
        is_for_anyone=self._front is not None,
      )
    ).result()
    if checkpoint:
      self.keeper.begin_with(params, version)
    return version

  def start(self) -> None:
    """Answers from now on."""
    self._call(self._grpc_server.start())
    if self._front:
      self._front.open()
      self._front_task = asyncio.run_coroutine_threadsafe(
        self._front.run(), self._loop
      )

  def numbers(self) -> dict[str, float]:
    """Counts, times and staleness, as `prometheus.Exporter` reads them."""

    def read(scheduler):
      partials = scheduler.partials().values()
      return scheduler.stats() | staleness(partials, scheduler.version)

    values = self.driver.command(read).result(_SCRAPE_SECONDS)
    return values | self.keeper.values

  def stop(self) -> None:
    """Ends streams with UNAVAILABLE, then the driver."""
    self._call(self._shut_down())
    self.driver.stop()
    self._end_loop()

  async def _listen(self, host, port, access, limits, add_calls):
    check = [access_lib.TokenCheck(access.token)] if access.token else []
    self._grpc_server = grpc.aio.server(
      self._executor,
      interceptors=check,
      options=[
        # Larger messages are read, to be refused with a sentence.
        ('grpc.max_receive_message_length', 16 * limits.message_bytes),
        ('grpc.max_send_message_length', 16 * limits.message_bytes),
        # By default two gRPC servers may share a port: a worker started twice
        # would take some of the first one's connections, unnoticed.
        ('grpc.so_reuseport', 0),
        # Finds clients whose host is gone; their samples are cancelled.
        ('grpc.keepalive_time_ms', 60_000),
        ('grpc.keepalive_timeout_ms', 60_000),
      ],
    )
    self._grpc_server.add_generic_rpc_handlers((self._service.handlers(),))
    if add_calls:
      add_calls(self._grpc_server, lambda: self.keeper.has_weights)
    address = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    return access_lib.add_port(self._grpc_server, address, access)

  async def _shut_down(self):
    # Streams first, each with a sentence: the server alone would break them off
    # without one.
    self._service.close()
    if self._front:
      self._front.close()
    await self._grpc_server.stop(grace=_STOP_SECONDS)
    if self._front_task:
      await asyncio.wrap_future(self._front_task)

  def _call(self, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

  def _end_loop(self):
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._loop_thread.join()
    self._loop.close()
    self._executor.shutdown(wait=False)


def staleness(
  responses: Iterable[Sequence[Segment]], version: int
) -> dict[str, float]:
  """How far the segments of live responses are behind, in versions.

  Args:
    responses: the segments of each.
    version: of the present weights.

  Returns:
    `staleness_mean`, weighted by tokens, and `staleness_max`.
  """
  segments = [segment for segments in responses for segment in segments]
  ages = [version - segment.policy_version for segment in segments]
  counts = [len(segment.tokens) for segment in segments]
  weighted = sum(age * n for age, n in zip(ages, counts, strict=True))
  return dict(
    staleness_mean=weighted / max(sum(counts), 1),
    staleness_max=max(ages, default=0),
  )
