"""Calls of JetStream's Decode: their requests as ours, our chunks as theirs."""

from concurrent import futures

import numpy as np

from k15.rollout import engine as engine_lib
from k15.rollout import jetstream_adapter
from k15.rollout.requests import MAX_STOP_IDS, Chunk, Request, Stop


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


class Reader:
  """Puts chunks into the channel of a Decode call."""

  def __init__(
    self,
    active: jetstream_adapter.ActiveRequest,
    tokenizer: jetstream_adapter.Tokenizer,
  ):
    self._channel = active.return_channel
    self._is_text = not active.is_client_side_tokenization
    self._tokenizer = tokenizer

  def __call__(self, chunk: Chunk) -> None:
    """Raises CancelledError if nobody reads any more."""
    if self._channel.cancelled():
      raise futures.CancelledError('the reader is gone')
    if chunk.stop is Stop.FAILED:
      self._channel.set_exception(RuntimeError(chunk.error))
      return
    hidden = self._tokenizer.stop_tokens
    ids = [int(t) for t in chunk.tokens if int(t) not in hidden]
    self._add(ids)
    if chunk.stop is not Stop.RUNNING:
      self._add([])  # As the stock driver does; it flushes buffered bytes.
      self._channel.close()

  def _add(self, ids):
    decode = self._tokenizer.decode
    text = [decode([i]) for i in ids] if self._is_text else []
    # What stands for no text would part the bytes of a character.
    text = [piece for piece in text if piece]
    sample = jetstream_adapter.ReturnSample(text=text, token_ids=ids)
    self._channel.add_result([sample])
