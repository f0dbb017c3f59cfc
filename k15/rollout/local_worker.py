"""A worker of a `RemoteRollout` in this process: a driver, and no copies."""

import collections
import contextlib
import threading
from typing import Any

from k15.rollout import backend
from k15.rollout import client
from k15.rollout import driver as driver_lib
from k15.rollout.dispatch import Run
from k15.rollout.dispatch import Share
from k15.rollout.engine import PolicyEngine
from k15.rollout.slots import SlotDecoder
from k15.rollout.weights import Snapshot


class LocalWorker:
  """A `RolloutDriver` in this process; attributes as of `RemoteWorker`."""

  def __init__(self, driver: Any, slots: SlotDecoder):
    """Takes a driver that nobody else uses, and what decodes in it."""
    self.name, self.slots, self._slots = 'local', slots.num_slots, slots
    self._driver, self._swap = driver, None
    self._runs, self._seen = {}, collections.Counter()

  @property
  def state(self) -> str:
    if not self._driver.is_alive:
      return f'broken: {self._driver.error!r}'
    return 'ready' if self.is_ready else 'waiting for weights'

  @property
  def is_ready(self) -> bool:
    return bool(self._swap and self._swap.done() and self._driver.is_alive)

  @property
  def is_settled(self) -> bool:
    return self.is_ready or not self._driver.is_alive

  def set_weights(self, snapshot: Snapshot, params: Any) -> None:
    """Uses the very arrays of the trainer, without a copy."""
    header, is_first = snapshot.header, self._swap is None

    def swap(scheduler):
      if is_first:
        warm_up(self._slots, params)
      scheduler.set_params(params, header.version, header.live_requests)

    with contextlib.suppress(RuntimeError):  # Over: `state` says so.
      self._swap = self._driver.command(swap)

  def serve(self, run: Run, share: Share | None) -> None:
    """Works on a run in the background."""
    if share is None:
      (share,) = run.join([self.slots])
    self._runs[run] = share, []
    threading.Thread(
      target=self._serve, args=(run, share), name='local', daemon=True
    ).start()

  def leave(self, run: Run) -> None:
    """The run is over; samples that nobody waits for are cancelled."""
    _, submitted = self._runs.pop(run)
    with contextlib.suppress(RuntimeError):
      self._driver.command(lambda scheduler: scheduler.cancel(submitted))

  def close(self) -> None:
    """Stops the driver."""
    self._driver.stop()

  def pop_stats(self) -> dict[str, float]:
    """Counts since the last call."""
    try:
      stats = self._driver.command(lambda scheduler: scheduler.stats())
      values = stats.result()
    except RuntimeError:
      return {}
    new = {name: values[name] - self._seen[name] for name in client.COUNTS}
    self._seen.update(new)
    return new

  def _serve(self, run, share):
    _, submitted = self._runs[run]
    while works := run.take(share):
      for context in works:
        by_request = {work.rest(): work for work in context}
        submitted += by_request

        def deliver(chunk, by_request=by_request):
          run.accept(share, by_request[chunk.request], chunk)

        try:
          self._driver.submit_all(list(by_request), deliver)
        except ValueError as error:
          run.fail(error)
          return
        except RuntimeError:  # The driver is over.
          run.leave(share)
          return


def make_driver(
  engine: PolicyEngine, max_requests: int = 1 << 20, record: Any = None
) -> driver_lib.RolloutDriver:
  """A driver that waits for weights; `record` as of `Scheduler`."""
  return driver_lib.RolloutDriver(
    prefill_engines=[engine],
    generate_engines=[engine],
    prefill_params=[None],
    generate_params=[None],
    interleaved_mode=True,
    max_requests=max_requests,
    record=record,
  )


def make(engine: PolicyEngine, record: Any = None) -> LocalWorker:
  """A worker in this process; `record` as of `Scheduler`."""
  return LocalWorker(make_driver(engine, record=record), engine.slots)


def warm_up(slots: SlotDecoder, params: Any) -> None:
  """Compiles every shape; on the driver's thread, which knows the mesh."""
  own = backend.SlotBackend(slots)
  own.set_params(params)
  own.warm_up()
