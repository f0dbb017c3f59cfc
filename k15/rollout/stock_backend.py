"""Any JetStream engine as a backend: what makes the driver a drop-in."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from k15.rollout import jetstream_adapter
from k15.rollout import requests as requests_lib
from k15.rollout.requests import Request, Stop
from k15.rollout.slots import DecodedTokens

_NO_LIMIT = 2**31 - 1


class StockBackend:
  """A pair of engines, or one that is both; its weights are a pair too.

  Such engines know no temperatures, seeds and log-probabilities: the last are
  NaN here, and stop tokens and budgets are watched on the host.
  """

  prefill_batch = 1

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

  def bucket_of(self, length: int) -> int:
    """As in `Backend`; contexts are prefilled one at a time."""
    return length

  def set_params(self, params: tuple[Any, Any]) -> None:
    """As in `Backend`: weights to prefill and to generate with."""
    self._params = params

  def prefill(self, contexts: Sequence[np.ndarray]) -> Any:
    """As in `Backend`."""
    (context,) = contexts
    padded, length = jetstream_adapter.token_utils.pad_tokens(
      context,
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
