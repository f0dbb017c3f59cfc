"""Continuous batching: which request is in which slot, under which weights.

As soon as a response stops, its slot takes the next request, and all requests
with one context, which is prompt and response so far, share one prefill.  One
thread calls everything here; weights change and requests end between two calls
of the decode loop, never in one.
"""

import collections
import time
from collections.abc import Callable, Iterable
from typing import Any

from k15.config import keys
from k15.data_types import Segment
from k15.rollout import requests as requests_lib
from k15.rollout.backend import Backend
from k15.rollout.requests import Chunk, Request, SlotEvent, Stop, Work


class Scheduler:
  """Runs requests through the slots of a backend.

  Attributes:
    backend: what decodes.
    version: of the weights in use; -1: none yet.
    is_paused: nothing is decoded.
  """

  def __init__(
    self,
    backend: Backend,
    record: Callable[[SlotEvent], None] | None = None,
  ):
    """`record`, if given, is told what every slot does."""
    self.backend = backend
    self.version = -1
    self.is_paused = False
    self._record = record
    self._pending = None  # (params, version) that wait for live responses
    self._queue = _Queue(backend)
    self._slots = [None] * backend.num_slots
    self._works = {}  # request -> work, in order of submission
    self._ended = []
    self._counts = collections.Counter()

  @property
  def is_idle(self) -> bool:
    """Whether no request is left."""
    return not self._works

  @property
  def has_work(self) -> bool:
    """Whether `step` would decode anything."""
    return not self.is_paused and self.version >= 0 and bool(self._works)

  def submit(self, request: Request) -> None:
    """Queues a request.

    Raises:
      ValueError: it cannot be decoded, or is here already.
    """
    self.backend.check(request)
    if request in self._works:
      raise ValueError(f'{requests_lib.name_of(request)} is submitted already')
    self._works[request] = work = Work(request, request)
    self._queue.push(work)

  def set_params(
    self, params: Any, version: int, live: str = 'interrupt'
  ) -> None:
    """Samples from these weights; a repeated version changes nothing.

    Args:
      params: of the policy.
      version: not below one that was set before.
      live: what becomes of responses in slots.  'drain': they finish first,
        and no other starts before; 'interrupt': they keep their tokens and
        are prefilled again under the new weights; 'in_flight': they go on,
        with the keys and values that the old weights left.

    Raises:
      ValueError: an older version, or no such policy.
    """
    known = keys.LIVE_REQUESTS
    if live not in known:
      raise ValueError(f'live={live!r} is none of {", ".join(known)}')
    newest = self._pending[1] if self._pending else self.version
    if version < max(newest, 0):
      raise ValueError(f'version {version} comes after version {newest}')
    if version == newest:
      return
    self._pending = (params, version)
    if live == 'interrupt':
      self._requeue_live()
    if live != 'drain':
      self._swap()
    self._swap_if_drained()

  def interrupt(self, requests: Iterable[Request] | None = None) -> list[Chunk]:
    """Stops requests, all when None, where they are; their last chunks."""
    return self._end(requests, Stop.INTERRUPTED)

  def cancel(self, requests: Iterable[Request]) -> list[Chunk]:
    """Drops requests; their last chunks.  Unknown ones are ignored."""
    return self._end(requests, Stop.CANCELLED)

  def forget(self) -> None:
    """Cancels everything; the versions of another trainer begin anew."""
    self.cancel(list(self._works))
    self._pending, self.version = None, -1

  def pop_ended(self) -> list[Chunk]:
    """What interrupt and cancel returned since the last call or step."""
    ended, self._ended = self._ended, []
    return ended

  def pause(self) -> None:
    """Decodes nothing until `unpause`; requests stay where they are."""
    self.is_paused = True

  def unpause(self) -> None:
    """Goes on."""
    self.is_paused = False

  def partials(self) -> dict[Request, list[Segment]]:
    """What the unfinished requests have got so far, if anything."""
    return {
      request: list(requests_lib.segments_of(work.chunks))
      for request, work in self._works.items()
      if work.chunks
    }

  def stats(self) -> dict[str, int | float]:
    """Counts and seconds since the start; slots, live and queued now."""
    names = (
      'tokens decode_steps generate_calls prefill_calls prefill_tokens'
      ' interrupted renewed prefill_seconds decode_seconds'
    )
    live = sum(work is not None for work in self._slots)
    counts = {name: self._counts[name] for name in names.split()}
    return (
      counts
      | dict(self.backend.counts)
      | dict(
        slots=len(self._slots),
        live=live,
        queued=len(self._works) - live,
        version=self.version,
      )
    )

  def step(self) -> list[Chunk]:
    """One call of the decode loop; what it added to each live request."""
    self._ended.clear()
    if not self.has_work:
      return []
    if not self._pending:
      self._admit()
    # Waiting requests take a slot as soon as one is free.
    waits = bool(self._queue) and not self._pending
    start = time.monotonic()
    made = self.backend.generate(1 if waits else len(self._slots) + 1)
    end = time.monotonic()
    self._counts['generate_calls'] += 1
    self._counts['decode_steps'] += int(made.steps)
    self._counts['tokens'] += int(made.counts.sum())
    self._counts['decode_seconds'] += end - start
    chunks = self._collect(made, start, end)
    self._swap_if_drained()
    return chunks

  def _admit(self):
    """Puts requests into free slots, a prefilled batch at a time."""
    free = [i for i, work in enumerate(self._slots) if work is None]
    if not free or not self._queue:
      return
    start, placed = time.monotonic(), []
    while free and self._queue:
      prefix, rows, works = self._queue.take(len(free), self._counts)
      chosen, free = free[: len(works)], free[len(works) :]
      for slot, work in zip(chosen, works, strict=True):
        self._slots[slot] = work
      self.backend.insert(prefix, rows, [w.rest() for w in works], chosen)
      placed += chosen
    self.backend.wait()
    end = time.monotonic()
    self._counts['prefill_seconds'] += end - start
    if self._record:
      for slot in placed:
        rest = self._slots[slot].rest()
        tokens = len(rest.prompt) + len(rest.response)
        self._note(slot, 'prefill', start, end, tokens, Stop.RUNNING)

  def _collect(self, made, start, end):
    """Chunks of the live slots; frees those that have stopped."""
    chunks = []
    for slot, work in enumerate(self._slots):
      if work is None:
        continue
      count, stop = int(made.counts[slot]), Stop(int(made.stop[slot]))
      chunk = Chunk(
        request=work.request,
        tokens=made.tokens[slot, :count].copy(),
        logprobs=made.logprobs[slot, :count].copy(),
        policy_version=self.version,
        stop=stop,
      )
      chunks.append(chunk)
      work.chunks.append(chunk)
      if self._record:
        until = start + (end - start) * count / max(int(made.steps), 1)
        self._note(slot, 'decode', start, until, count, stop)
      if stop is not Stop.RUNNING:
        self._slots[slot] = None
        del self._works[work.request]
    return chunks

  def _note(self, slot, kind, start, end, tokens, stop):
    request = self._slots[slot].request
    ids = request.group_id, request.sample_index
    event = SlotEvent(slot, kind, start, end, *ids, self.version, tokens, stop)
    self._record(event)

  def _end(self, requests, stop):
    """Ends requests from outside, wherever they are."""
    wanted = list(self._works) if requests is None else requests
    works = [self._works.pop(r) for r in wanted if r in self._works]
    if not works:
      return []
    self._empty([i for i, w in enumerate(self._slots) if w in works], stop)
    self._queue.remove(works)
    if stop is Stop.INTERRUPTED:
      self._counts['interrupted'] += len(works)
    chunks = [
      requests_lib.last_chunk(work.request, self.version, stop)
      for work in works
    ]
    self._ended += chunks
    self._swap_if_drained()
    return chunks

  def _empty(self, slots, stop):
    """Takes these slots back in the middle of a response."""
    if not slots:
      return
    self.backend.free(slots)
    now = time.monotonic()
    for slot in slots:
      if self._record:
        self._note(slot, 'decode', now, now, 0, stop)
      self._slots[slot] = None

  def _requeue_live(self):
    """Puts what is in slots in front of the queue, to be prefilled again."""
    slots = [i for i, work in enumerate(self._slots) if work is not None]
    works = [self._slots[slot] for slot in slots]
    self._empty(slots, Stop.INTERRUPTED)
    self._counts['renewed'] += len(works)
    self._queue.push_front(works)

  def _swap_if_drained(self):
    if self._pending and not any(self._slots):
      self._swap()

  def _swap(self):
    """Takes the pending weights; what the old ones prefilled is void."""
    params, self.version = self._pending
    self._pending = None
    self._queue.forget_prefix()
    self.backend.set_params(params)


class _Queue:
  """Works that wait for a slot, prefilled a batch of contexts at a time.

  All works that wait with the same context are prefilled once, and so are those
  that come while it is the latest.
  """

  def __init__(self, backend: Backend):
    self._backend = backend
    self._waiting = {}  # key of a context -> (context, its works)
    self._ready = collections.deque()  # (row of self._prefix, work)
    self._prefix = None
    self._rows = {}  # key of a context -> row of self._prefix

  def __bool__(self) -> bool:
    return bool(self._ready or self._waiting)

  def push(self, work: Work) -> None:
    """Adds a work at the end, or to the latest prefill if it is in it."""
    context = requests_lib.context_of(work.rest())
    key = context.key
    if key in self._rows:
      self._ready.append((self._rows[key], work))
    else:
      self._waiting.setdefault(key, (context, []))[1].append(work)

  def push_front(self, works: Iterable[Work]) -> None:
    """Adds works in front of all that wait; what was prefilled is void."""
    waiting, self._waiting = self._waiting, {}
    ready = [work for _, work in self._ready]
    self._drop_prefix()
    for work in (*works, *ready):
      self.push(work)
    for key, (context, rest) in waiting.items():
      self._waiting.setdefault(key, (context, []))[1].extend(rest)

  def remove(self, works: Iterable[Work]) -> None:
    """Takes out works, wherever they are; others are ignored."""
    gone = set(map(id, works))
    ready = [(row, work) for row, work in self._ready if id(work) not in gone]
    self._ready = collections.deque(ready)
    for key, (context, rest) in list(self._waiting.items()):
      rest = [work for work in rest if id(work) not in gone]
      if rest:
        self._waiting[key] = (context, rest)
      else:
        del self._waiting[key]

  def forget_prefix(self) -> None:
    """What was prefilled is void; its works are the first to wait again."""
    self.push_front(())

  def take(self, most: int, counts: collections.Counter) -> tuple:
    """Up to `most` works of one prefilled batch: prefix, rows, works.

    Args:
      most: at least 1; there is a work.
      counts: to which `prefill_calls` and `prefill_tokens` are added.
    """
    if not self._ready:
      self._prefill(counts)
    most = min(most, self._backend.prefill_batch, len(self._ready))
    taken = [self._ready.popleft() for _ in range(most)]
    return self._prefix, [row for row, _ in taken], [work for _, work in taken]

  def _prefill(self, counts):
    """Prefills the first context, and those behind it of the same bucket."""
    bucket, batch = None, []
    for key, (context, _) in self._waiting.items():
      own = self._backend.bucket_of(context)
      bucket = own if bucket is None else bucket
      if own == bucket:
        batch.append(key)
      if len(batch) == self._backend.prefill_batch:
        break
    self._drop_prefix()
    contexts = []
    for row, key in enumerate(batch):
      context, works = self._waiting.pop(key)
      contexts.append(context)
      self._rows[key] = row
      self._ready.extend((row, work) for work in works)
    self._prefix = self._backend.prefill(contexts)
    counts['prefill_calls'] += 1
    counts['prefill_tokens'] += sum(len(c.tokens) for c in contexts)

  def _drop_prefix(self):
    self._ready.clear()
    self._rows.clear()
    self._prefix = None
