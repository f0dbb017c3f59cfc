"""Where the trainer asks for responses: `LocalRollout`, in its own process.

A rollout has three methods: `set_params` hands it new weights, `generate`
turns requests into completions as they finish, `close` ends it.  Inside,
continuous batching: as soon as a response stops, its slot takes the next
request, and all samples of one prompt share one prefill.
"""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from k15.rollout import engine as engine_lib
from k15.rollout import repetition


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """A response to be started or continued.

  Attributes:
    group_id, sample_index: name the response and seed its sampling.
    prompt: int32 [T], at least one token.
    response: int32 [T], what an earlier segment already holds, perhaps empty.
    budget: tokens it may grow now, at least 1.
    temperature: above 0.
  """

  group_id: int
  sample_index: int
  prompt: np.ndarray
  response: np.ndarray
  budget: int
  temperature: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Completion:
  """New tokens of one request.

  Attributes:
    request: what was asked.
    tokens: int32 [T], at least one.
    logprobs: float32 [T], nats, of the whole tempered distribution.
    stop: ENDED, EXHAUSTED (the budget) or REPEATED of `k15.rollout.engine`.
    policy_version: of the weights that sampled them.
  """

  request: Request
  tokens: np.ndarray
  logprobs: np.ndarray
  stop: int
  policy_version: int


class LocalRollout:
  """Runs a `PolicyEngine` in this process."""

  def __init__(self, engine: engine_lib.PolicyEngine, key: jax.Array):
    """Takes an engine and the key that, with ids, seeds every response."""
    self._engine = engine
    self._key = key
    self._params = None
    self._version = -1
    self._stats = collections.Counter()

  def set_params(self, params: Any, version: int) -> None:
    """Samples from these weights from now on."""
    self._params, self._version = params, version

  def close(self) -> None:
    """Lets go of the weights."""
    self._params = None

  def pop_stats(self) -> dict[str, int]:
    """Counts since the last call: tokens, decode steps, calls, prefills."""
    stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def warm_up(self) -> None:
    """Compiles every shape, so that nothing compiles later."""
    engine = self._engine
    state = engine.init_decode_state()
    rows = engine.prefill_batch
    nothing = _slot_request(engine, [], [])
    for bucket in engine.buckets:
      prefix = engine.prefill(
        self._params,
        np.zeros((rows, bucket), np.int32),
        np.ones(rows, np.int32),
      )
      state = engine.insert(prefix, state, nothing, self._key)
    state, made = engine.generate(self._params, state, np.int32(1))
    jax.block_until_ready(made)

  def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
    """Answers every request once, in the order in which they finish.

    Raises:
      ValueError: no weights were set, or a request does not fit.
    """
    if self._params is None:
      raise ValueError('generate before set_params: there are no weights')
    for request in requests:
      _check(request, self._engine)
    params, version = self._params, self._version
    queue = _PrefillQueue(self._engine, params, requests, self._stats)
    slots = [None] * self._engine.num_slots
    state = self._engine.init_decode_state()
    while True:
      state = self._fill(queue, slots, state)
      if not any(slots):
        return
      wanted = 1 if queue else self._engine.num_slots + 1
      state, made = self._engine.generate(params, state, np.int32(wanted))
      made = jax.device_get(made)
      self._stats['generate_calls'] += 1
      self._stats['decode_steps'] += int(made.steps)
      self._stats['tokens'] += int(made.counts.sum())
      yield from _collect(slots, made, version)

  def _fill(self, queue, slots, state):
    """Puts requests into free slots, a prefilled batch at a time."""
    free = [i for i, work in enumerate(slots) if work is None]
    while free and queue:
      prefix, rows, requests = queue.take(len(free))
      chosen, free = free[: len(requests)], free[len(requests) :]
      for slot, request in zip(chosen, requests, strict=True):
        slots[slot] = _Work(request)
      request = _slot_request(self._engine, rows, requests, chosen)
      state = self._engine.insert(prefix, state, request, self._key)
    return state


@dataclasses.dataclass(eq=False)
class _Work:
  """A slot's request, and the pieces it has got so far."""

  request: Request
  tokens: list = dataclasses.field(default_factory=list)
  logprobs: list = dataclasses.field(default_factory=list)


class _PrefillQueue:
  """Requests in order; prefills the next contexts when they are needed."""

  def __init__(self, engine, params, requests, stats):
    self._engine, self._params, self._stats = engine, params, stats
    contexts = {}
    for request in requests:
      context = np.concatenate([request.prompt, request.response])
      tokens = np.asarray(context, np.int32)
      contexts.setdefault(tokens.tobytes(), (tokens, []))[1].append(request)
    self._waiting = list(contexts.values())
    self._prefix = None
    self._ready = collections.deque()  # (row, request) of self._prefix

  def __bool__(self):
    return bool(self._ready or self._waiting)

  def take(self, most):
    """Up to `most` requests of one prefilled batch: prefix, rows, requests."""
    if not self._ready:
      self._prefill()
    most = min(most, self._engine.prefill_batch, len(self._ready))
    taken = [self._ready.popleft() for _ in range(most)]
    return self._prefix, [row for row, _ in taken], [r for _, r in taken]

  def _prefill(self):
    """Prefills the first context, and those behind it of the same bucket."""
    engine = self._engine
    bucket = engine.bucket_of(len(self._waiting[0][0]))
    batch, rest = [], []
    for context in self._waiting:
      fits = engine.bucket_of(len(context[0])) == bucket
      full = len(batch) == engine.prefill_batch
      (batch if fits and not full else rest).append(context)
    self._waiting = rest
    tokens = np.zeros((engine.prefill_batch, bucket), np.int32)
    lengths = np.ones(engine.prefill_batch, np.int32)
    for row, (context, requests) in enumerate(batch):
      tokens[row, : len(context)] = context
      lengths[row] = len(context)
      self._ready.extend((row, request) for request in requests)
    self._prefix = engine.prefill(self._params, tokens, lengths)
    self._stats['prefill_calls'] += 1
    self._stats['prefill_tokens'] += int(sum(len(c) for c, _ in batch))


def _collect(slots, made, version):
  """Adds new tokens to the slots' work; yields and frees what is finished."""
  for slot, work in enumerate(slots):
    if work is None:
      continue
    count = made.counts[slot]
    work.tokens.append(made.tokens[slot, :count])
    work.logprobs.append(made.logprobs[slot, :count])
    if made.stop[slot] == engine_lib.RUNNING:
      continue
    slots[slot] = None
    yield Completion(
      request=work.request,
      tokens=np.concatenate(work.tokens),
      logprobs=np.concatenate(work.logprobs),
      stop=int(made.stop[slot]),
      policy_version=version,
    )


def _slot_request(engine, rows, requests, slots=()):
  """Pads to `prefill_batch` rows; the padding goes to no slot."""
  n, P = engine.prefill_batch, engine.repetition_max_period

  def column(values, fill, dtype=np.int32):
    padded = np.full(n, fill, dtype)
    padded[: len(values)] = values
    return padded

  runs = np.zeros((n, P), np.int32)
  recent = np.full((n, P), repetition.NO_TOKEN, np.int32)
  for i, request in enumerate(requests):
    if len(request.response):
      runs[i] = repetition.run_lengths(request.response, P)
      recent[i] = repetition.recent_tokens(request.response, P)
  return engine_lib.SlotRequest(
    rows=column(rows, 0),
    slots=column(slots, engine.num_slots),
    group_ids=column([r.group_id for r in requests], 0),
    sample_indices=column([r.sample_index for r in requests], 0),
    budgets=column([r.budget for r in requests], 0),
    temperatures=column([r.temperature for r in requests], 1.0, np.float32),
    runs=runs,
    recent=recent,
  )


def _check(request, engine):
  """Refuses what would not fit, before anything is computed."""
  name = f'response {request.group_id}/{request.sample_index}'
  length = len(request.prompt) + len(request.response)
  if not len(request.prompt):
    raise ValueError(f'{name} has an empty prompt')
  if request.budget < 1:
    raise ValueError(f'{name} has a budget of {request.budget} tokens')
  if not request.temperature > 0:
    raise ValueError(f'{name} has temperature {request.temperature}')
  if length + request.budget > engine.columns:
    raise ValueError(
      f'{name}: {length} tokens and a budget of {request.budget} do not fit in'
      f' {engine.columns} columns'
    )
