"""Calls of JetStream's Decode: their requests as ours, our chunks as theirs."""

import functools
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from k15.rollout import engine as engine_lib
from k15.rollout import jetstream_adapter
from k15.rollout.requests import MAX_STOP_IDS, Chunk, Request, Stop


class Orchestrator(jetstream_adapter.LLMOrchestrator):
  """JetStream's calls; what is wrong with one is its status, in a sentence."""

  def __init__(self, driver: Any, has_weights: Callable[[], bool]):
    """Serves what a `RolloutDriver` decodes, once there are weights."""
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
