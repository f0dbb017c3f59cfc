"""`RolloutDriver`: JetStream's Driver around our scheduler, on one thread.

It takes the place of `orchestrator.Driver`: same constructor, same methods, so
that JetStream's servers run on it unchanged.  Of the stock threads one works:
commands, one step of the scheduler, delivery, and again.  Nothing that goes
wrong on it ends the process.
"""

import contextlib
import functools
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, TypeVar

from k15 import sharding
from k15.rollout import backend as backend_lib
from k15.rollout import engine as engine_lib
from k15.rollout import jetstream_adapter
from k15.rollout import requests as requests_lib
from k15.rollout import scheduler as scheduler_lib
from k15.rollout import stock_backend
from k15.rollout import stock_calls
from k15.rollout.requests import Chunk, Request, SlotEvent, Stop

T = TypeVar('T')
Deliver = Callable[[Chunk], None]
_STOPPED = 'the driver was stopped'


class RolloutDriver(jetstream_adapter.Driver):
  """Serves requests from any thread.

  Attributes:
    error: what ended it, or None.
    max_requests: submitted and not finished, at most.
  """

  def __init__(
    self,
    prefill_engines: list[jetstream_adapter.Engine] | None = None,
    generate_engines: list[jetstream_adapter.Engine] | None = None,
    prefill_params: list[Any] | None = None,
    generate_params: list[Any] | None = None,
    interleaved_mode: bool = False,
    jax_padding: bool = True,
    metrics_collector: Any = None,
    is_ray_backend: bool = False,
    *,
    version: int = 0,
    max_requests: int = 16384,
    record: Callable[[SlotEvent], None] | None = None,
  ):
    """Takes what the stock driver takes; one engine of each kind.

    The weights are of `version`; with `generate_params=[None]` nothing starts
    before weights are set.  `record`, if given, is told what slots do.

    Raises:
      ValueError: another number of engines, or Ray.
    """
    numbers = [len(e or ()) for e in (prefill_engines, generate_engines)]
    if numbers != [1, 1] or is_ray_backend:
      raise ValueError(
        'one prefill engine and one generate engine without Ray, not'
        f' {numbers[0]} and {numbers[1]}, is_ray_backend={is_ray_backend}'
      )
    engines = prefill_engines[0], generate_engines[0]
    backend = make_backend(*engines, transfer=not interleaved_mode)
    params = generate_params[0]
    if not isinstance(engines[1], engine_lib.PolicyEngine) or (
      engines[0] is not engines[1]
    ):
      params = (prefill_params[0], params)
    self._scheduler = scheduler_lib.Scheduler(backend, record)
    if generate_params[0] is not None:
      self._scheduler.set_params(params, version)
    self.error = None
    self.max_requests = max_requests
    self._wake = threading.Condition()
    self._stopping = False
    self._inbox = []  # (what to call, its future or None)
    self._readers = {}  # request -> deliver, of all that are not finished
    metadata = engines[0].get_tokenizer()
    self._tokenizer = engines[0].build_tokenizer(metadata)
    self._stock_ids = itertools.count()
    super().__init__(
      prefill_engines,
      generate_engines,
      prefill_params,
      generate_params,
      interleaved_mode,
      jax_padding,
      metrics_collector,
      is_ray_backend,
    )
    if metrics_collector:
      self._report_to(metrics_collector)

  @property
  def is_alive(self) -> bool:
    """Whether requests are served."""
    return self.live

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

  def command(
    self, fn: Callable[[scheduler_lib.Scheduler], T]
  ) -> futures.Future[T]:
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
    for thread in self._all_threads:
      if thread is not threading.current_thread():
        thread.join()

  def place_request_on_prefill_queue(
    self, request: jetstream_adapter.ActiveRequest
  ) -> None:
    """Serves a request of JetStream's Decode; raises queue.Full."""
    channel = request.return_channel
    if request.max_tokens < 1:
      channel.close()
      return
    engine, tokenizer = self._prefill_engines[0], self._tokenizer
    number = next(self._stock_ids) % 2**31
    try:
      ours = stock_calls.request_of(request, engine, tokenizer, number)
      self.submit(ours, stock_calls.Reader(request, tokenizer))
    except (ValueError, RuntimeError) as error:
      channel.set_exception(error)

  # The stock threads: this one does the work, the others have none.

  def _generate_thread(self, idx: int) -> None:
    error = None
    try:
      with self._mesh_of(self._generate_engines[idx]):
        self._serve()
    except Exception as caught:
      logging.getLogger(__name__).exception('the rollout driver ends')
      error = caught
    self._end(error)

  def _prefill_thread(self, idx: int) -> None:
    del idx

  def _transfer_thread(self, idx: int) -> None:
    del idx

  def _detokenize_thread(self, idx: int) -> None:
    del idx

  def _serve(self):
    """The loop: commands, a step, delivery."""
    while True:
      with self._wake:
        self._wake.wait_for(
          lambda: self._stopping or self._inbox or self._scheduler.has_work
        )
        if self._stopping:
          return
        inbox, self._inbox = self._inbox, []
      for call, _ in inbox:
        call()
      for chunk in self._scheduler.step():
        self._deliver(chunk)

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
      self.error, self.live = error, False
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
    if self._stopping or not self.live:
      raise RuntimeError(_STOPPED)

  def _mesh_of(self, engine):
    if isinstance(engine, engine_lib.PolicyEngine):
      return sharding.use_mesh(engine.mesh, engine.rules)
    return contextlib.nullcontext()

  def _report_to(self, collector):
    """Gives the two stock gauges our numbers."""
    stats = self._scheduler.stats
    collector.get_prefill_backlog_metric().set_function(
      lambda: float(stats()['queued'])
    )
    collector.get_slots_available_percentage_metric(0).set_function(
      lambda: 1 - stats()['live'] / stats()['slots']
    )


def make_backend(
  prefill_engine: jetstream_adapter.Engine,
  generate_engine: jetstream_adapter.Engine,
  transfer: bool,
) -> backend_lib.Backend:
  """What the scheduler runs: our engine's slots, or any other engine."""
  is_ours = isinstance(generate_engine, engine_lib.PolicyEngine)
  if is_ours and prefill_engine is generate_engine:
    return backend_lib.SlotBackend(generate_engine.slots)
  return stock_backend.StockBackend(prefill_engine, generate_engine, transfer)
