"""JetStream around our driver: its Driver, its Decode calls, its engines.

`JetStreamDriver` takes the place of `orchestrator.Driver`: same constructor and
same calls, so that JetStream's servers run on it unchanged.  Of the stock
threads, one does the work of all.  A `StockBackend` is any pair of engines
below our scheduler; of our own engine, the driver runs the slots themselves.
"""

import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
import jax
import numpy as np

from k15.devices import sharding
from k15.rollout import backend as backend_lib
from k15.rollout import driver as driver_lib
from k15.rollout import requests as requests_lib
from k15.rollout import scheduler as scheduler_lib
from k15.rollout.features import NO_COUNTS
from k15.rollout.requests import (
  MAX_STOP_IDS,
  Chunk,
  Context,
  Request,
  SlotEvent,
  Stop,
)
from k15.rollout.slots import DecodedTokens
from k15.serving import engine as engine_lib
from k15.serving import jetstream_adapter

# The largest id or number of tokens that int32 holds.
_NO_LIMIT = 2**31 - 1


class JetStreamDriver(driver_lib.RolloutDriver):
  """A `RolloutDriver` that is made and called as JetStream's own.

  Attributes:
    live: as `is_alive`; stock servers ask it.
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
    record: Callable[[SlotEvent], None] | None = None,
  ):
    """Takes what the stock driver takes; one engine of each kind.

    With `generate_params=[None]` nothing starts before weights are set, which
    are of version 0 otherwise.  `record`, if given, is told what slots do.

    Raises:
      ValueError: another number of engines, or Ray.
    """
    del jax_padding  # Prompts go to the scheduler as they are.
    # One scheduler on one thread serves all requests: among several engines it
    # would have to choose.
    numbers = [len(e or ()) for e in (prefill_engines, generate_engines)]
    if numbers != [1, 1] or is_ray_backend:
      raise ValueError(
        'one prefill engine and one generate engine without Ray, not'
        f' {numbers[0]} and {numbers[1]}, is_ray_backend={is_ray_backend}'
      )
    first, engine = prefill_engines[0], generate_engines[0]
    is_ours = isinstance(engine, engine_lib.PolicyEngine)
    params, within = generate_params[0], contextlib.nullcontext
    if is_ours:
      within = functools.partial(sharding.use_mesh, engine.mesh, engine.rules)
    if is_ours and first is engine:
      backend = backend_lib.SlotBackend(engine.slots, engine.pictures)
    else:
      backend = StockBackend(first, engine, transfer=not interleaved_mode)
      params = (prefill_params[0], params)
    scheduler = scheduler_lib.Scheduler(backend, record)
    if generate_params[0] is not None:
      scheduler.set_params(params, 0)
    self._engine, self._slots = first, engine.max_concurrent_decodes
    self._tokenizer = first.build_tokenizer(first.get_tokenizer())
    self._ids = itertools.count()
    # By the stock name: JetStream's own tests look whether there is one.
    self._metrics_collector = metrics_collector
    if metrics_collector:
      _report(scheduler, metrics_collector)
    super().__init__(scheduler, within)

  @property
  def live(self) -> bool:
    return self.is_alive

  def get_total_concurrent_requests(self) -> int:
    """Slots: how many requests are decoded at once."""
    return self._slots

  def place_request_on_prefill_queue(
    self, request: jetstream_adapter.ActiveRequest
  ) -> None:
    """Serves a request of JetStream's Decode; raises queue.Full."""
    channel = request.return_channel
    if request.max_tokens < 1:
      channel.close()
      return
    number = next(self._ids) % 2**31
    try:
      ours = request_of(request, self._engine, self._tokenizer, number)
      self.submit(ours, Reader(request, self._tokenizer))
    except (ValueError, RuntimeError) as error:
      channel.set_exception(error)

  def add_calls(
    self, server: grpc.aio.Server, has_weights: Callable[[], bool]
  ) -> None:
    """Lets a server answer JetStream's Decode and HealthCheck, too."""
    jetstream_adapter.jetstream_pb2_grpc.add_OrchestratorServicer_to_server(
      Orchestrator(self, has_weights), server
    )


def _report(scheduler, collector):
  """Gives the two stock gauges our numbers."""
  stats = scheduler.stats
  collector.get_prefill_backlog_metric().set_function(
    lambda: float(stats()['queued'])
  )
  collector.get_slots_available_percentage_metric(0).set_function(
    lambda: 1 - stats()['live'] / stats()['slots']
  )


class Orchestrator(jetstream_adapter.LLMOrchestrator):
  """JetStream's calls; what is wrong with one is its status, in a sentence."""

  def __init__(self, driver: JetStreamDriver, has_weights: Callable[[], bool]):
    """Serves what a driver decodes, once there are weights."""
    super().__init__(driver)
    self._has_weights = has_weights

  async def Decode(
    self, request: Any, context: Any = None
  ) -> AsyncIterator[Any]:
    """Writes text or tokens as they come.

    Raises:
      ValueError, RuntimeError: without a context, as of `RolloutDriver`.
    """
    try:
      if request.WhichOneof('content') is None:
        raise ValueError('Decode needs text_content or token_content')
      if not self._has_weights():
        raise RuntimeError('this worker has no weights yet')
      async for response in super().Decode(request, context):
        yield response
    except (ValueError, RuntimeError) as error:
      if context is None:
        raise
      is_wrong = isinstance(error, ValueError)
      code = grpc.StatusCode.INVALID_ARGUMENT
      code = code if is_wrong else grpc.StatusCode.UNAVAILABLE
      await context.abort(code, str(error))


def request_of(
  active: jetstream_adapter.ActiveRequest,
  engine: jetstream_adapter.Engine,
  tokenizer: jetstream_adapter.Tokenizer,
  group_id: int,
) -> Request:
  """The request of a call, sampled as the engine says.

  Raises:
    ValueError: its text is longer than the engine prefills.
  """
  is_start = not active.history_path
  if isinstance(active.prefill_content, str):
    tokens, length = tokenizer.encode(
      active.prefill_content,
      is_bos=is_start,
      max_prefill_length=engine.max_prefill_length,
      jax_padding=False,
    )
    if length > len(tokens):
      raise ValueError(f'{length} tokens, more than {len(tokens)}')
    tokens = np.asarray(tokens, np.int32)[:length]
  else:
    has_bos = is_start and getattr(tokenizer, 'has_bos', True)
    start = [tokenizer.bos_id] if has_bos else []
    tokens = np.array([*start, *active.prefill_content], np.int32)
  budget = active.max_tokens
  if isinstance(engine, engine_lib.PolicyEngine):
    # A client of JetStream asks for its own maximum, whatever fits.  A prompt
    # without room keeps a budget of 1, which is then refused with the numbers.
    budget = max(1, min(budget, engine.slots.columns - len(tokens)))
    settings = dict(temperature=engine.temperature, seed=engine.seed)
  else:
    stop_ids = sorted(tokenizer.stop_tokens)
    settings = dict(stop_ids=tuple(stop_ids[:MAX_STOP_IDS]))
  return Request(
    group_id=group_id,
    sample_index=0,
    prompt=tokens,
    response=tokens[:0],
    budget=budget,
    **settings,
  )


class _NoText:
  """Of a client that makes its text itself."""

  def add(self, tokens):
    return []

  def close(self):
    return []


class _OurText:
  """Letter by letter: JetStream's server takes a piece '<0xAB>' for a byte."""

  def __init__(self, tokenizer):
    self._stream = tokenizer.text_stream()

  def add(self, tokens):
    return list(self._stream.add(tokens))

  def close(self):
    return list(self._stream.close())


class _StockText:
  """Token by token, as JetStream's own tokenizers write for its server."""

  def __init__(self, tokenizer):
    self._decode = tokenizer.decode
    if isinstance(
      tokenizer, jetstream_adapter.token_utils.SentencePieceTokenizer
    ):  # Which leaves spaces out otherwise.
      self._decode = functools.partial(tokenizer.decode, is_streaming=True)

  def add(self, tokens):
    # What stands for no text would part the bytes of a character.
    return [piece for t in tokens if (piece := self._decode([t]))]

  def close(self):
    return []


class Reader:
  """Puts chunks into the channel of a Decode call."""

  def __init__(
    self,
    active: jetstream_adapter.ActiveRequest,
    tokenizer: jetstream_adapter.Tokenizer,
  ):
    self._channel = active.return_channel
    self._hidden = tokenizer.stop_tokens
    self._text = _NoText()
    if not active.is_client_side_tokenization:
      is_ours = isinstance(tokenizer, engine_lib.Detokenizer)
      self._text = _OurText(tokenizer) if is_ours else _StockText(tokenizer)

  def __call__(self, chunk: Chunk) -> None:
    """Raises CancelledError if nobody reads any more."""
    if self._channel.cancelled():
      raise futures.CancelledError('the reader is gone')
    if chunk.stop is Stop.FAILED:
      self._channel.set_exception(RuntimeError(chunk.error))
      return
    ids = [int(t) for t in chunk.tokens if int(t) not in self._hidden]
    self._add(ids, self._text.add(ids))
    if chunk.stop is not Stop.RUNNING:
      # The stock driver ends with a sample of no tokens, too.
      self._add([], self._text.close())
      self._channel.close()

  def _add(self, ids, pieces):
    sample = jetstream_adapter.ReturnSample(text=pieces, token_ids=ids)
    self._channel.add_result([sample])


class StockBackend:
  """A pair of engines, or one that is both; its weights are a pair too.

  Such engines know no temperatures, seeds and log-probabilities: the last are
  NaN here, and stop tokens and budgets are watched on the host.
  """

  prefill_batch = 1
  counts = NO_COUNTS

  def __init__(
    self,
    prefill_engine: jetstream_adapter.Engine,
    generate_engine: jetstream_adapter.Engine,
    transfer: bool,
  ):
    """`transfer`: what one engine prefills is moved to the other's devices.

    Raises:
      ValueError: an engine with several samples in a slot.
    """
    samples = generate_engine.samples_per_slot
    if samples != 1:
      raise ValueError(f'an engine with {samples} samples per slot, not 1')
    self.num_slots = generate_engine.max_concurrent_decodes
    self._prefill_engine = prefill_engine
    self._engine = generate_engine
    self._transfer = transfer
    self._params = None
    self._state = None
    self._live = {}  # slot -> [request, tokens left]
    metadata = prefill_engine.get_tokenizer()
    self._pad_id = prefill_engine.build_tokenizer(metadata).pad_id

  def check(self, request: Request) -> None:
    """As in `Backend`; budgets have no limit."""
    requests_lib.check(request, _NO_LIMIT, _NO_LIMIT)
    if request.top_p < 1 or request.temperature == 0:
      raise ValueError(
        f'{requests_lib.name_of(request)} has top_p {request.top_p} and'
        f' temperature {request.temperature}, and the engine knows neither'
      )
    length = len(request.prompt) + len(request.response)
    longest = self._prefill_engine.max_prefill_length
    if length > longest:
      raise ValueError(
        f'{requests_lib.name_of(request)}: {length} tokens, and the engine'
        f' prefills {longest}'
      )

  def bucket_of(self, context: Context) -> int:
    """As in `Backend`; contexts are prefilled one at a time."""
    return len(context.tokens)

  def set_params(self, params: tuple[Any, Any]) -> None:
    """As in `Backend`: weights to prefill and to generate with."""
    self._params = params

  def prefill(self, contexts: Sequence[Context]) -> Any:
    """As in `Backend`."""
    (context,) = contexts
    padded, length = jetstream_adapter.token_utils.pad_tokens(
      context.tokens,
      bos_id=self._pad_id,
      pad_id=self._pad_id,
      is_bos=False,
      max_prefill_length=self._prefill_engine.max_prefill_length,
    )
    prefix = self._prefill_engine.prefill(
      params=self._params[0], padded_tokens=padded, true_length=length
    )
    if self._transfer:
      where = self._engine.get_prefix_destination_sharding()
      prefix = jax.device_put(prefix, where)
    return prefix

  def insert(
    self,
    prefix: Any,
    rows: Sequence[int],
    requests: Sequence[Request],
    slots: Sequence[int],
  ) -> None:
    """As in `Backend`."""
    del rows
    if self._state is None:
      self._state = self._engine.init_decode_state()
    for request, slot in zip(requests, slots, strict=True):
      self._state = self._engine.insert(prefix, self._state, slot=slot)
      self._live[slot] = [request, request.budget]

  def wait(self) -> None:
    """As in `Backend`."""
    jax.block_until_ready(self._state)

  def free(self, slots: Sequence[int]) -> None:
    """As in `Backend`; what the engine goes on to decode there is ignored."""
    for slot in slots:
      del self._live[slot]

  def generate(self, stop_when_free: int) -> DecodedTokens:
    """As in `Backend`; a call returns when the engine likes."""
    del stop_when_free
    self._state, result = self._engine.generate(self._params[1], self._state)
    result = result.convert_to_numpy()
    start, end = result.tokens_idx
    shape = self.num_slots, end - start
    tokens = np.zeros(shape, np.int32)
    counts, stop = np.zeros((2, self.num_slots), np.int32)
    for slot, (request, left) in list(self._live.items()):
      data = result.get_result_at_slot(slot)
      made, stop[slot] = _until_stop(data, request.stop_ids, left)
      counts[slot] = len(made)
      tokens[slot, : len(made)] = made
      self._live[slot][1] -= len(made)
      if stop[slot] != Stop.RUNNING:
        del self._live[slot]
    # Not 0, which would be the log-probability of what is certain: whoever
    # would train on these is stopped by NaN.
    logprobs = np.full(shape, np.nan, np.float32)
    steps = np.int32(end - start)
    return DecodedTokens(tokens, logprobs, counts, stop, steps)


def _until_stop(data, stop_ids, left):
  """Tokens of a slot up to a stop token, which is kept, or the budget."""
  made = []
  for token, valid in zip(data.tokens[0], data.valid[0], strict=True):
    if not valid:
      return made, Stop.ENDED
    made.append(int(token))
    if made[-1] in stop_ids:
      return made, Stop.ENDED
    if len(made) == left:
      return made, Stop.EXHAUSTED
  return made, Stop.RUNNING
