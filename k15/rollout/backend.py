"""What a scheduler asks of whatever decodes, and `SlotBackend`, which does.

A backend holds the weights and the decode state; a scheduler holds requests.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from k15.rollout import features as features_lib
from k15.rollout import repetition
from k15.rollout import requests as requests_lib
from k15.rollout import scoring
from k15.rollout import slots as slots_lib
from k15.rollout.features import Pictures
from k15.rollout.requests import MAX_STOP_IDS, Context, Request, Stop


class Backend(Protocol):
  """Slots that decode; called by one thread.

  Attributes:
    num_slots: responses decoded at once.
    prefill_batch: contexts of one `prefill`, and requests of one `insert`.
    counts: `images_encoded` and `image_tokens`, as of `FeatureCache`.
  """

  num_slots: int
  prefill_batch: int
  counts: Mapping[str, int]

  def check(self, request: Request) -> None:
    """Raises ValueError for what cannot be decoded; any thread may call it."""

  def bucket_of(self, context: Context) -> Hashable:
    """Contexts of one bucket may be prefilled together."""

  def set_params(self, params: Any) -> None:
    """Prefills and decodes with these weights from now on."""

  def prefill(self, contexts: Sequence[Context]) -> Any:
    """Keys and values of contexts of one bucket."""

  def insert(
    self,
    prefix: Any,
    rows: Sequence[int],
    requests: Sequence[Request],
    slots: Sequence[int],
  ) -> None:
    """Starts requests in slots, each from its row of what was prefilled."""

  def wait(self) -> None:
    """Returns when all that was asked for is done."""

  def free(self, slots: Sequence[int]) -> None:
    """Stops decoding in these slots."""

  def generate(self, stop_when_free: int) -> slots_lib.DecodedTokens:
    """Decodes in the live slots; numpy arrays, see `SlotDecoder.generate`."""


class SlotBackend:
  """A `SlotDecoder` with weights and a decode state."""

  def __init__(
    self, decoder: slots_lib.SlotDecoder, pictures: Pictures | None = None
  ):
    """The decode state is made when the first request comes.

    `pictures` has the pixels, where the decoder's policy sees.
    """
    self.num_slots = decoder.num_slots
    self.prefill_batch = decoder.prefill_batch
    self._features = None
    if pictures is not None and decoder.sight is not None:
      self._features = features_lib.FeatureCache(
        decoder.config, decoder.sight, pictures
      )
    self._decoder = decoder
    self._params = None
    self._state = None
    self._of_parts = set()  # live slots that sample of a part, see `Request`
    self._nothing_given = None

  def check(self, request: Request) -> None:
    """As in `Backend`."""
    decoder, sight = self._decoder, self._decoder.sight
    vocab_size = decoder.config.vocab_size
    requests_lib.check(request, decoder.columns, vocab_size, sight)
    if request.images:
      if self._features is None:
        raise ValueError('requests have pictures, and pixels are nowhere')
      self._features.check(request.images)

  @property
  def counts(self) -> Mapping[str, int]:
    """As in `Backend`."""
    found = self._features
    return found.counts if found else features_lib.NO_COUNTS

  def bucket_of(self, context: Context) -> tuple[int, int]:
    """As in `Backend`: of its tokens, and of its patches."""
    sight = self._decoder.sight
    patches = sight.bucket_of(context.images) if sight else 0
    return self._decoder.bucket_of(len(context.tokens)), patches

  def set_params(self, params: Any) -> None:
    """As in `Backend`; lays them out as `SlotDecoder.prepare` does."""
    self._params = self._decoder.prepare(params)
    if self._features:
      self._features.forget()

  def prefill(self, contexts: Sequence[Context]) -> slots_lib.Prefix:
    """As in `Backend`; pads to `prefill_batch` rows of the bucket."""
    bucket, patches = self.bucket_of(contexts[0])
    tokens = np.zeros((self.prefill_batch, bucket), np.int32)
    lengths = np.ones(self.prefill_batch, np.int32)
    for row, (context, _) in enumerate(contexts):
      tokens[row, : len(context)] = context
      lengths[row] = len(context)
    seen = ()
    if patches:
      seen = self._features.rows_of(
        self._params, contexts, self.prefill_batch, bucket
      )
    return self._decoder.prefill(self._params, tokens, lengths, *seen)

  def prefill_blank(self, columns: int) -> slots_lib.Prefix:
    """Every `prefill` of contexts of so many tokens, once; the last of them."""
    P, sight = self.prefill_batch, self._decoder.sight
    tokens, lengths = np.zeros((P, columns), np.int32), np.ones(P, np.int32)
    prefix = self._decoder.prefill(self._params, tokens, lengths)
    smaller = 0
    for bucket in sight.patch_buckets if self._features else ():
      # A context has more tokens than its pictures have.
      if smaller // sight.processor.merge_size**2 < columns - 1:
        seen = self._features.blank(self._params, P, columns, bucket)
        prefix = self._decoder.prefill(self._params, tokens, lengths, *seen)
      smaller = bucket
    return prefix

  def insert(
    self,
    prefix: slots_lib.Prefix,
    rows: Sequence[int],
    requests: Sequence[Request],
    slots: Sequence[int],
  ) -> None:
    """As in `Backend`."""
    if self._state is None:
      self._state = self._decoder.init_decode_state()
    request = slot_request(
      self._decoder, rows, requests, slots, self.prefill_batch
    )
    self._state = self._decoder.insert(prefix, self._state, request)
    for asked, slot in zip(requests, slots, strict=True):
      if asked.temperature == 0 or asked.top_p < 1:
        self._of_parts.add(slot)

  def insert_blank(
    self, requests: Sequence[Request], slots: Sequence[int]
  ) -> None:
    """Puts requests into slots without the keys and values of their contexts.

    They take their part in every call; what is drawn for them means nothing.
    """
    P, bucket = self.prefill_batch, self._decoder.buckets[0]
    for start in range(0, len(requests), P):
      some = requests[start : start + P]
      tokens, lengths = np.zeros((2, P), np.int32)
      for row, request in enumerate(some):
        context = requests_lib.context_of(request).tokens
        tokens[row], lengths[row] = context[-1], len(context) - 1
      blank = np.zeros((P, bucket), np.int32)
      prefix = self._decoder.prefill(self._params, blank, np.ones(P, np.int32))
      prefix = prefix.replace(
        tokens=jax.device_put(tokens, prefix.tokens.sharding),
        positions=jax.device_put(lengths, prefix.positions.sharding),
      )
      self.insert(prefix, range(len(some)), some, slots[start : start + P])

  def score(self, tokens: np.ndarray, temperature: float) -> scoring.Scores:
    """Log-probabilities of one row int32 [T] under the present weights.

    Raises:
      ValueError: it is empty or longer than the columns; there are no weights.
    """
    if not 0 < len(tokens) <= self._decoder.columns or self._params is None:
      raise ValueError(
        f'{len(tokens)} tokens to score, in {self._decoder.columns} columns,'
        f' {"without" if self._params is None else "with"} weights'
      )
    bucket = self._decoder.bucket_of(len(tokens))
    shape = self._decoder.config
    return scoring.score(shape, self._params, tokens, bucket, temperature)

  def wait(self) -> None:
    """As in `Backend`."""
    jax.block_until_ready(self._state)

  def free(self, slots: Sequence[int]) -> None:
    """As in `Backend`."""
    chosen = np.zeros(self.num_slots, bool)
    chosen[list(slots)] = True
    self._state = self._decoder.free(self._state, chosen)
    self._of_parts.difference_update(slots)

  def generate(
    self, stop_when_free: int, given: np.ndarray | None = None
  ) -> slots_lib.DecodedTokens:
    """As in `Backend`.

    Args:
      stop_when_free: as there.
      given: int32 [S, T], the first tokens of the call, which are not to be
        drawn; -1 is none.
    """
    if self._nothing_given is None:
      shape = self.num_slots, self._decoder.tokens_per_call
      self._nothing_given = np.full(shape, -1, np.int32)
    whole = self._nothing_given
    if given is not None:
      whole = whole.copy()
      whole[:, : given.shape[1]] = given
    # Always there, so that it is always the same program.
    self._state, made = self._decoder.generate(
      self._params,
      self._state,
      np.int32(stop_when_free),
      bool(self._of_parts),
      whole,
    )
    made = jax.device_get(made)
    self._of_parts = {s for s in self._of_parts if made.stop[s] == Stop.RUNNING}
    return made


def warm_up(
  decoder: slots_lib.SlotDecoder,
  params: Any,
  longest_context: int | None = None,
  pictures: Pictures | None = None,
  is_for_anyone: bool = False,
) -> None:
  """Compiles every shape, so that nothing compiles later.

  On the thread that will decode, which knows the mesh.  Shapes of contexts
  beyond `longest_context`, if given, are left out; those of pictures are there
  where `pictures` are.  A trainer asks for one kind of responses; who serves
  anyone compiles what parts of a distribution need, and `SlotBackend.score`.
  """
  slots = SlotBackend(decoder, pictures)
  slots.set_params(params)
  longest = decoder.bucket_of(longest_context or decoder.columns)
  for bucket in (b for b in decoder.buckets if b <= longest):
    prefix = slots.prefill_blank(bucket)
    slots.insert(prefix, [], [], [])
    if is_for_anyone:
      slots.score(np.zeros(bucket, np.int32), 1.0)
  slots.free([])
  slots.generate(1)
  if is_for_anyone:
    slots._of_parts.add(0)
    slots.generate(1)


def slot_request(
  decoder: slots_lib.SlotDecoder,
  rows: Sequence[int],
  requests: Sequence[Request],
  slots: Sequence[int],
  num_rows: int,
) -> slots_lib.SlotRequest:
  """Pads to `num_rows` rows; the padding goes to no slot."""
  P = decoder.repetition_max_period

  def column(values, fill, dtype=np.int32):
    padded = np.full(num_rows, fill, dtype)
    padded[: len(values)] = values
    return padded

  seeds = column([r.seed for r in requests], 0, np.uint64)
  stop_ids = np.full((num_rows, MAX_STOP_IDS), -1, np.int32)
  runs = np.zeros((num_rows, P), np.int32)
  recent = np.full((num_rows, P), repetition.NO_TOKEN, np.int32)
  for i, request in enumerate(requests):
    ids = request.stop_ids or decoder.eos_ids
    stop_ids[i, : len(ids)] = ids
    if len(request.response):
      runs[i] = repetition.run_lengths(request.response, P)
      recent[i] = repetition.recent_tokens(request.response, P)
  return slots_lib.SlotRequest(
    rows=column(rows, 0),
    slots=column(slots, decoder.num_slots),
    seeds=np.stack([seeds >> 32, seeds & 0xFFFFFFFF], 1).astype(np.uint32),
    group_ids=column([r.group_id for r in requests], 0),
    sample_indices=column([r.sample_index for r in requests], 0),
    budgets=column([r.budget for r in requests], 0),
    temperatures=column([r.temperature for r in requests], 1.0, np.float32),
    top_ps=column([r.top_p for r in requests], 1.0, np.float32),
    stop_ids=stop_ids,
    runs=runs,
    recent=recent,
  )
