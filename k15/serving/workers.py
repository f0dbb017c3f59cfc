"""The workers of a `RemoteRollout`: servers at addresses, and this process.

A `RemoteWorker` has a thread that keeps it: it connects, sends the newest
weights, and watches the stream of samples: a worker that gives no sign of life
is given up, whether it died, hangs or cannot be reached, and is tried again and
again in case it comes back.  A `LocalWorker` decodes beside them with the very
arrays of the trainer.

Of what a trainer runs, this page and what it imports alone need grpcio; a run
whose config names no workers never imports them.
"""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from k15.rollout import backend
from k15.rollout.driver import RolloutDriver
from k15.rollout.features import Pictures
from k15.rollout.requests import COUNTS, SlotEvent
from k15.rollout.scheduler import Scheduler
from k15.rollout.slots import SlotDecoder
from k15.serving import access as access_lib
from k15.serving import rollout_pb2 as pb
from k15.serving import wire
from k15.serving.access import Access
from k15.serving.remote import Run
from k15.serving.remote import Share
from k15.serving.remote import Worker
from k15.serving.weights import Snapshot

_TICK_SECONDS = 0.1  # between two looks at a worker
_RETRY_SECONDS = (0.2, 2.0)  # between attempts: first, longest
_FINAL = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def connect(
  names: Sequence[str],
  slots: SlotDecoder,
  within: Callable[[], contextlib.AbstractContextManager],
  access: Access,
  silence_seconds: float,
  record: Callable[[SlotEvent], None] | None,
  pictures: Pictures | None = None,
) -> list[Worker]:
  """The workers of these names: addresses 'host:port', and 'local'.

  Args:
    names: of workers; a server of other settings than `slots` is not used.
    slots: what decodes in this process, if it is among them.
    within: what is entered around it, such as the mesh of its devices.
    access, silence_seconds: see `RemoteWorker`.
    record: told what the slots of this process do.
    pictures: pixels of what requests show, if the policy sees.
  """
  settings = wire.settings_of(slots)
  return [
    LocalWorker(slots, within, record, pictures)
    if name == 'local'
    else RemoteWorker(name, settings, access, silence_seconds, pictures)
    for name in names
  ]


class RemoteWorker:
  """A rollout server; attributes and methods as of `remote.Worker`."""

  def __init__(
    self,
    address: str,
    settings: str,
    access: Access = Access(),  # noqa: B008  (it is frozen)
    silence_seconds: float = 20.0,
    pictures: Pictures | None = None,
  ):
    """Connects once it is given weights.

    Args:
      address: 'host:port'.
      settings: digest of everything but the weights that decides about
        tokens; a worker with another is not used.
      access: token or certificates.
      silence_seconds: how long a worker with samples may say nothing.
      pictures: pixels of what requests show, sent before they are.
    """
    self.name, self.state, self.slots = address, 'not tried yet', 1
    self.is_ready = self.is_settled = False
    self._settings, self._access = settings, access
    self._silence, self._pictures = silence_seconds, pictures
    self._sent = set()  # digests of pictures, over this connection
    self._channel = self._stub = self._snapshot = None
    self._calls = {}  # run -> its stream
    self._quiet = collections.Counter()  # run -> seconds since a reply
    # Until the worker has said how long its messages may be.
    self._message_bytes = 1 << 20
    self._seen, self._stats = {}, collections.Counter()
    self._retry, self._wait = 0.0, _RETRY_SECONDS[0]
    self._lock, self._wake = threading.RLock(), threading.Event()
    self._is_closed = False
    threading.Thread(
      target=self._keep, name=f'keep {address}', daemon=True
    ).start()

  def set_weights(self, snapshot: Snapshot, params: Any) -> None:
    """As in `Worker`."""
    del params
    with self._lock:
      self._snapshot, self._retry = snapshot, 0.0
      self.is_ready = self.is_settled = False
    self._wake.set()

  def serve(self, run: Run, share: Share | None) -> None:
    """As in `Worker`, again whenever it comes back."""
    threading.Thread(
      target=self._serve, args=(run, share), name=f'{self.name}', daemon=True
    ).start()

  def leave(self, run: Run) -> None:
    """As in `Worker`."""
    with self._lock:
      if run in self._calls:
        self._calls[run].cancel()

  def close(self) -> None:
    """As in `Worker`; the server lives on."""
    self._is_closed = True
    self._wake.set()

  def pop_stats(self) -> dict[str, float]:
    """As in `Worker`."""
    stub = self._stub
    if stub and self.is_ready:
      # A ValueError: the channel was closed just now.
      with contextlib.suppress(grpc.RpcError, ValueError):
        self._note_counts(self._get_stats(stub), is_new=False)
    with self._lock:
      stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def _keep(self):
    """The keeper's thread."""
    before = time.monotonic()
    while not self._is_closed:
      self._wake.wait(_TICK_SECONDS)
      self._wake.clear()
      now = time.monotonic()
      # If this process was frozen, its own silence is no fault of the worker.
      self._watch(min(now - before, 2 * _TICK_SECONDS))
      before = now
      if self._snapshot and not self.is_ready and now >= self._retry:
        self._connect()
        before = time.monotonic()
    with self._lock:
      if self._channel:
        self._channel.close()

  def _watch(self, seconds):
    with self._lock:
      for run, call in self._calls.items():
        self._quiet[run] += seconds
        if self._quiet[run] > self._silence:
          self._lose(f'no sign of life for {self._quiet[run]:.1f} s')
          call.cancel()

  def _lose(self, state):
    """Not ready; to be tried again, later each time, over a new connection."""
    with self._lock:
      self.is_ready, self.is_settled, self.state = False, True, state
      self._retry = time.monotonic() + self._wait
      self._wait = min(2 * self._wait, _RETRY_SECONDS[1])
      channel, self._channel, self._stub = self._channel, None, None
    if channel:
      channel.close()

  def _connect(self):
    """Makes the worker ready, or says in `state` why it is not."""
    snapshot = self._snapshot
    try:
      with self._lock:
        if self._stub is None:
          self._channel = access_lib.open_channel(self.name, self._access)
          self._stub, self._sent = wire.Stub(self._channel), set()
        stub = self._stub
      stats = self._get_stats(stub)
      if stats.settings != self._settings:
        self._lose(
          f'it runs settings {stats.settings}, this trainer {self._settings}:'
          ' start it with the same config'
        )
        return
      header = snapshot.header
      if (stats.trainer, stats.version) != (header.trainer, header.version):
        self.state = f'sending it version {header.version}'
        self._push(stub, snapshot)
    except grpc.RpcError as error:
      self._lose(_sentence(error))
      return
    except ValueError as error:  # The channel was closed just now.
      self._lose(str(error))
      return
    self._note_counts(stats, is_new=True)
    with self._lock:
      self.slots = max(1, min(stats.slots, stats.max_requests))
      self._message_bytes = stats.message_bytes
      if snapshot is self._snapshot:
        self.is_ready = self.is_settled = True
        self.state, self._wait = 'ready', _RETRY_SECONDS[0]

  def _push(self, stub, snapshot):
    """Sends weights; as long as the worker lives, it may take its time."""
    start = time.monotonic()
    sending = stub.UpdateWeights.future(
      snapshot.messages(), metadata=self._access.metadata
    )
    while True:
      try:
        reply = sending.result(timeout=self._silence)
        break
      except grpc.FutureTimeoutError:
        try:
          self._get_stats(stub)
        except grpc.RpcError:
          sending.cancel()
          raise
    with self._lock:
      self._stats.update(
        updates=1,
        update_bytes=reply.bytes,
        update_seconds=time.monotonic() - start,
      )

  def _get_stats(self, stub):
    return stub.Stats(
      pb.Nothing(), timeout=self._silence, metadata=self._access.metadata
    )

  def _note_counts(self, stats, is_new):
    """Adds what was counted since the last time; from 0 after a restart."""
    with self._lock:
      for name in COUNTS:
        value = int(stats.values.get(name, 0))
        # What a worker had counted before this trainer met it is not of this
        # run.
        seen = self._seen.get(name, value if is_new else 0)
        # A count below the one seen is of a process that began anew.
        self._stats[name] += value - (seen if seen <= value else 0)
        self._seen[name] = value

  def _serve(self, run, share):
    """The thread of one run."""
    while not (run.is_finished or self._is_closed):
      if share is None and self.is_ready:
        (share,) = run.join([self.slots])
      if share is None:
        time.sleep(_TICK_SECONDS / 2)
        continue
      state = 'the stream ended'
      try:
        self._stream(run, share)
      except grpc.RpcError as error:
        # The request itself is wrong: every other worker would refuse it too,
        # so the run ends instead of trying them one by one.
        if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
          run.fail(ValueError(error.details()))
          return
        state = _sentence(error)
      finally:
        run.leave(share)
      if self.is_ready and not run.is_finished:
        self._lose(state)
      share = None

  def _stream(self, run, share):
    """Sends the works of a share and takes in their chunks."""
    sent = []
    with self._lock:
      if self._stub is None:
        return
      call = self._stub.Submit(
        self._messages(self._stub, run, share, sent),
        metadata=self._access.metadata,
      )
      self._calls[run], self._quiet[run] = call, 0.0
    try:
      for reply in call:
        self._quiet[run] = 0.0
        for message in reply.chunks:
          work = sent[message.sample]
          chunk = wire.chunk_of(message, work.request)
          run.accept(share, work, chunk)
        run.sync()
    finally:
      with self._lock:
        del self._calls[run], self._quiet[run]

  def _messages(self, stub, run, share, sent) -> Iterator[pb.SubmitRequest]:
    """Requests as the run hands them out, until it is over."""
    header = self._snapshot.header
    promise = dict(
      trainer=header.trainer,
      min_version=header.version,
      # Three heartbeats may be late before the worker is given up.
      heartbeat_seconds=self._silence / 4,
    )
    while works := run.take(share):
      if not self._put_pictures(stub, run, works):
        return
      message = pb.SubmitRequest(**promise)
      size = 0
      for context in works:
        groups = wire.groups_of([work.rest() for work in context])
        added = sum(group.ByteSize() for group in groups)
        # Half, for a message is more than its groups.  A context that is too
        # long by itself is sent all the same, and refused with a sentence.
        if size and size + added > self._message_bytes // 2:
          yield message
          message, size = pb.SubmitRequest(**promise), 0
        message.groups.extend(groups)
        sent += context
        size += added
      yield message

  def _put_pictures(self, stub, run, works):
    """Sends what it was not sent yet; whether to go on."""
    images = (image for context in works for image in context[0].request.images)
    digests = {image.digest for image in images} - self._sent
    if digests:
      pixels = {digest: self._pictures[digest] for digest in digests}
      try:
        stub.PutImages(wire.images_of(pixels), metadata=self._access.metadata)
      except grpc.RpcError as error:
        # As with requests; nor will there be room for the same ones later.
        if error.code() not in _FINAL:
          raise
        run.fail(ValueError(f'{self.name}: {error.details()}'))
        return False
    self._sent |= digests
    return True


class LocalWorker:
  """A `remote.Worker` in this process: a driver, and no copies."""

  def __init__(
    self,
    slots: SlotDecoder,
    within: Callable[[], contextlib.AbstractContextManager],
    record: Callable[[SlotEvent], None] | None = None,
    pictures: Pictures | None = None,
  ):
    """`within` is entered on the driver's thread, such as the mesh of `slots`;
    `record`, if given, is told what every slot does; `pictures` has pixels."""
    self._pictures = pictures
    self.name, self.slots, self._slots = 'local', slots.num_slots, slots
    scheduler = Scheduler(backend.SlotBackend(slots, pictures), record)
    self._driver, self._swap = RolloutDriver(scheduler, within), None
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
        backend.warm_up(self._slots, params, pictures=self._pictures)
      scheduler.set_params(params, header.version, header.live_requests)

    with contextlib.suppress(RuntimeError):  # Over: `state` says so.
      self._swap = self._driver.command(swap)

  def serve(self, run: Run, share: Share | None) -> None:
    """As in `Worker`."""
    if share is None:
      (share,) = run.join([self.slots])
    self._runs[run] = share, []
    threading.Thread(
      target=self._serve, args=(run, share), name='local', daemon=True
    ).start()

  def leave(self, run: Run) -> None:
    """As in `Worker`."""
    _, submitted = self._runs.pop(run)
    with contextlib.suppress(RuntimeError):
      self._driver.command(lambda scheduler: scheduler.cancel(submitted))

  def close(self) -> None:
    """Stops the driver."""
    self._driver.stop()

  def pop_stats(self) -> dict[str, float]:
    """As in `Worker`."""
    try:
      stats = self._driver.command(lambda scheduler: scheduler.stats())
      values = stats.result()
    except RuntimeError:
      return {}
    new = {name: values[name] - self._seen[name] for name in COUNTS}
    self._seen.update(new)
    return new

  def _serve(self, run, share):
    _, submitted = self._runs[run]
    while works := run.take(share):
      for context in works:
        by_request = {work.rest(): work for work in context}
        submitted += by_request

        # Bound now: by the time a chunk comes, the loop has another
        # `by_request`.
        def deliver(chunk, by_request=by_request):
          run.accept(share, by_request[chunk.request], chunk)
          run.sync()

        try:
          self._driver.submit_all(list(by_request), deliver)
        except ValueError as error:
          run.fail(error)
          return
        except RuntimeError:  # The driver is over.
          run.leave(share)
          return


def _sentence(error):
  return f'{error.code().name}: {error.details()}'
