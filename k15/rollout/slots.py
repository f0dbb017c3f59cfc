"""Decodes many responses at once, in fixed slots: the device side of rollout.

`prefill` computes keys and values of prompts; `insert` puts a prefilled prompt
into slots, several samples of one prompt side by side; `generate` decodes up
to `tokens_per_call` tokens in every live slot with one dispatch.  A response
is resumed by prefilling prompt and partial response together.  In low
precision that rounds otherwise than decoding did: a resumed response then need
not be the one that would have come without the interruption.

`prefill` stops short of the last token: the first decode step feeds it again
and samples the first new token, so that all sampling happens in one place.

Shapes never change after warm-up: prompts are padded to buckets, insertions to
`prefill_batch` rows, and slots that are free decode without effect.  On one CPU
the padding of prompts of a wide policy is not computed, nor twice what several
begin with (`k15.model.inference`).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from k15.devices import sharding
from k15.model import heads
from k15.model import inference
from k15.model import kv_cache
from k15.model import policy
from k15.model import precision
from k15.model import tower
from k15.rollout import repetition
from k15.rollout import sampling
from k15.rollout.requests import MAX_STOP_IDS, Stop
from k15.vision.rows import Images
from k15.vision.sight import Sight

# Why a slot stopped, as `DecodedTokens.stop` says it; plain numbers for jax.
RUNNING, ENDED = int(Stop.RUNNING), int(Stop.ENDED)
EXHAUSTED, REPEATED = int(Stop.EXHAUSTED), int(Stop.REPEATED)


@flax.struct.dataclass
class Prefix:
  """Prefilled prompts; P rows.

  `tokens` [P] is each prompt's last token, `positions` [P] its position, and
  `deltas` int32 [P] what is added to it, and to those that follow, to rotate by
  it: prompts with pictures are shorter than they are long (M-RoPE).  None: the
  policy sees none.
  """

  cache: kv_cache.KVCache
  tokens: jax.Array
  positions: jax.Array
  deltas: jax.Array | None = None


@flax.struct.dataclass
class SlotRequest:
  """What to put into slots, n of them; host arrays.

  Attributes:
    rows: int32 [n], of the Prefix.
    slots: int32 [n]; out of range: no effect.
    seeds: uint32 [n, 2], the words of each run's threefry key.
    group_ids, sample_indices: int32 [n], with `seeds` they seed the sampling.
    budgets: int32 [n], tokens the response may still grow.
    temperatures, top_ps: float32 [n], as in `Request`.
    stop_ids: int32 [n, MAX_STOP_IDS], tokens that end it; -1 is none.
    runs, recent: int32 [n, max_period], the repetition detector's memory.
  """

  rows: Any
  slots: Any
  seeds: Any
  group_ids: Any
  sample_indices: Any
  budgets: Any
  temperatures: Any
  top_ps: Any
  stop_ids: Any
  runs: Any
  recent: Any


@flax.struct.dataclass
class DecodeState:
  """All slots; S rows.

  `tokens` [S] were sampled last, or end the prompt, and `positions` [S] are
  theirs: the cache holds the columns before.  `deltas` [S] are as in `Prefix`.
  """

  cache: kv_cache.KVCache
  tokens: jax.Array
  positions: jax.Array
  budgets: jax.Array
  temperatures: jax.Array
  top_ps: jax.Array
  stop_ids: jax.Array
  keys: jax.Array
  is_live: jax.Array
  runs: jax.Array
  recent: jax.Array
  deltas: jax.Array | None = None


@flax.struct.dataclass
class DecodedTokens:
  """What one `generate` made.

  Attributes:
    tokens: int32 [S, tokens_per_call], first `counts` valid.
    logprobs: float32 [S, tokens_per_call], nats, of the whole tempered
      distribution.
    counts: int32 [S].
    stop: int32 [S], RUNNING, ENDED, EXHAUSTED (the budget) or REPEATED.
    steps: int32 [], decode steps done.
  """

  tokens: jax.Array
  logprobs: jax.Array
  counts: jax.Array
  stop: jax.Array
  steps: jax.Array


@dataclasses.dataclass(frozen=True)
class SlotDecoder:
  """Decodes with a policy; holds shapes and settings, no arrays.

  Attributes:
    config: shape of the policy.
    num_slots: S, responses decoded at once.
    columns: longest prompt and response together, in tokens.
    tokens_per_call: decode steps of one `generate` at most.
    prefill_batch: rows of one `prefill`, and of one `insert`.
    eos_ids: tokens that end a response, unless its request names others.
    repetition_count, repetition_max_period, repetition_min_tokens: as in
      `experiments/base.py`.
    fuse_projections: see `policy.fuse_projections`; not under a tensor axis.
    cache_dtype: of keys and values, or 'int8'; '': that of activations, which
      `k15.model.inference` has in float32.
    sight: how the policy is shown pictures; None: it is shown none.
  """

  config: policy.PolicyConfig
  num_slots: int
  columns: int
  tokens_per_call: int
  prefill_batch: int
  eos_ids: tuple[int, ...]
  repetition_count: int = 0
  repetition_max_period: int = 1
  repetition_min_tokens: int = 0
  fuse_projections: bool = True
  cache_dtype: str = ''
  sight: Sight | None = None

  @property
  def buckets(self) -> tuple[int, ...]:
    """Lengths prompts are padded to, ascending; the last is `columns`."""
    sizes, size = [], 32
    while size < self.columns:
      sizes.append(size)
      size *= 4
    return (*sizes, self.columns)

  def bucket_of(self, length: int) -> int:
    """Smallest bucket that holds `length` tokens."""
    for bucket in self.buckets:
      if length <= bucket:
        return bucket
    raise ValueError(f'{length} tokens do not fit in {self.columns} columns')

  def prepare(self, params: Any) -> Any:
    """Lays weights out for `prefill` and `generate`, once for a version.

    Both take weights as they are, too.  Casts them if the decoder's dtype is
    another; what is prepared already comes back.
    """
    if isinstance(params, inference.Weights):
      return params
    params = precision.cast(params, self.config.param_dtype)
    if inference.fits(self.config):
      return inference.weights_of(self.config, params)
    return self.fused(params)

  def fused(
    self, params: Any, join: Callable[..., Any] = policy.joined
  ) -> Any:
    """Parameters with kernels joined, if this decoder joins them.

    Args and result as of `policy.fuse_projections`.
    """
    if not self.fuse_projections:
      return params
    return policy.fuse_projections(params, join)

  @functools.partial(jax.jit, static_argnums=0)
  def prefill(
    self,
    params: Any,
    padded_tokens: jax.Array,
    true_lengths: jax.Array,
    images: Images | None = None,
    features: tower.Features | None = None,
  ) -> Prefix:
    """Computes the keys and values of prompts.

    Args:
      params: of the policy, or what `prepare` made of them.
      padded_tokens: int32 [prefill_batch, bucket].
      true_lengths: int32 [prefill_batch], at least 1.
      images, features: see `policy.forward`; a prompt ends in a text, which is
        fed again.
    """
    last = true_lengths - 1
    if isinstance(params, inference.Weights):
      cache = inference.prefill(self.config, params, padded_tokens, last)
    else:
      columns = jnp.arange(padded_tokens.shape[1])
      positions = jnp.broadcast_to(columns, padded_tokens.shape)
      inside = (columns < true_lengths[:, None]).astype(jnp.int32)
      _, cache = policy.forward(
        self.config, params, padded_tokens, positions, inside, None, images,
        features,
      )  # fmt: skip
    tokens = jnp.take_along_axis(padded_tokens, last[:, None], axis=1)[:, 0]
    return Prefix(
      cache=cache,
      tokens=tokens,
      positions=last,
      deltas=self._deltas(last, images),
    )

  def _deltas(self, last, images):
    """How far behind its column the last token of each prompt is rotated."""
    if self.config.vision is None:
      return None
    if images is None or not self.config.mrope_section:
      return jnp.zeros_like(last)
    # Of a text all three positions are equal.
    rotary = images.positions[:, :, 0]
    return jnp.take_along_axis(rotary, last[:, None], axis=1)[:, 0] - last

  @functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
  def insert(
    self,
    prefix: Prefix,
    decode_state: DecodeState,
    request: SlotRequest,
  ) -> DecodeState:
    """Starts responses in slots; see `SlotRequest`.

    Args:
      prefix: of `prefill`.
      decode_state: consumed.
      request: which row of the prefix goes where; n = prefill_batch.
    """
    state, rows, slots = decode_state, request.rows, request.slots

    def copy_layers(cache, new, column_axis):
      if self.config.scan_layers:
        return kv_cache.copy_rows(cache, new, rows, slots, column_axis)
      return tuple(
        kv_cache.copy_rows(layer, new_layer, rows, slots, column_axis)
        for layer, new_layer in zip(cache, new, strict=True)
      )

    def put(old, new):
      return old.at[slots].set(new, mode='drop')

    inserted = DecodeState(
      cache=kv_cache.KVCache(
        keys=copy_layers(state.cache.keys, prefix.cache.keys, -1),
        values=copy_layers(state.cache.values, prefix.cache.values, -2),
      ),
      tokens=put(state.tokens, prefix.tokens[rows]),
      positions=put(state.positions, prefix.positions[rows]),
      budgets=put(state.budgets, request.budgets),
      temperatures=put(state.temperatures, request.temperatures),
      top_ps=put(state.top_ps, request.top_ps),
      stop_ids=put(state.stop_ids, request.stop_ids),
      keys=put(
        state.keys,
        sampling.response_keys(
          jax.random.wrap_key_data(request.seeds, impl='threefry2x32'),
          request.group_ids,
          request.sample_indices,
        ),
      ),
      is_live=put(state.is_live, True),
      runs=put(state.runs, request.runs),
      recent=put(state.recent, request.recent),
      deltas=(
        None if state.deltas is None else put(state.deltas, prefix.deltas[rows])
      ),
    )
    return _over_slots(inserted)

  @functools.partial(jax.jit, static_argnums=(0, 4), donate_argnums=2)
  def generate(
    self,
    params: Any,
    decode_state: DecodeState,
    stop_when_free: jax.Array,
    of_parts: bool = False,
    given: jax.Array | None = None,
  ) -> tuple[DecodeState, DecodedTokens]:
    """Decodes in every live slot.

    Args:
      params: of the policy, or what `prepare` made of them.
      decode_state: consumed.
      stop_when_free: int32 [], returns early once so many responses have
        stopped in this call, so that their slots can be refilled at once.
      of_parts: whether any live slot has a temperature of 0 or a top_p below
        1: another program, so that whole distributions cost no more for it.
      given: int32 [S, tokens_per_call], tokens that are known and take the
        place of those drawn, whose log-probabilities come all the same; -1 is
        none.  None instead of an array is another program, and may round
        otherwise.
    """
    S, K = self.num_slots, self.tokens_per_call
    if not isinstance(params, inference.Weights):
      params = self.fused(params)
    made = DecodedTokens(
      tokens=jnp.zeros((S, K), jnp.int32),
      logprobs=jnp.zeros((S, K), jnp.float32),
      counts=jnp.zeros(S, jnp.int32),
      stop=jnp.full(S, RUNNING, jnp.int32),
      steps=jnp.zeros((), jnp.int32),
    )

    def should_go_on(carry):
      state, made = carry
      freed = jnp.sum(made.stop != RUNNING)
      return (
        (made.steps < K) & jnp.any(state.is_live) & (freed < stop_when_free)
      )

    uniforms = sampling.uniforms(
      decode_state.keys, decode_state.positions + 1, K
    )
    state, made = jax.lax.while_loop(
      should_go_on,
      functools.partial(self._step, params, of_parts, given, uniforms),
      (decode_state, made),
    )
    # The host of every process reads all of it.
    whole = (
      sharding.constrain(x, [None] * x.ndim) for x in jax.tree.leaves(made)
    )
    made = jax.tree.unflatten(jax.tree.structure(made), whole)
    return _over_slots(state), made

  def _step(self, params, of_parts, given, uniforms, carry):
    """Samples one token in every live slot."""
    state, made = carry
    last = state.tokens, state.positions, state.cache
    if isinstance(params, inference.Weights):
      hidden, cache = inference.decode(self.config, params, *last)
      logits = inference.logits_of(params, hidden)
    else:
      hidden, cache = policy.decode(self.config, params, *last, state.deltas)
      logits = heads.logits_of(self.config, params, hidden)
    live = state.is_live
    positions = jnp.where(live, state.positions + 1, state.positions)
    uniform = jax.lax.dynamic_index_in_dim(uniforms, made.steps, 0, False)
    if of_parts:
      tokens, logprobs = sampling.sample_part(
        logits, state.temperatures, state.top_ps, uniform
      )
    else:
      tokens, logprobs = sampling.sample(logits, state.temperatures, uniform)
    if given is not None:
      known = jax.lax.dynamic_index_in_dim(given, made.steps, 1, False)
      tokens = jnp.where(known >= 0, known, tokens)
    tokens = jnp.where(live, tokens, state.tokens)
    budgets = jnp.where(live, state.budgets - 1, state.budgets)
    runs, recent = repetition.update_runs(state.runs, state.recent, tokens)
    repeats = repetition.is_repeating(
      runs, self.repetition_count, self.repetition_min_tokens
    )
    stop = jnp.where(budgets <= 0, EXHAUSTED, RUNNING)
    stop = jnp.where(repeats, REPEATED, stop)
    ends = jnp.any(tokens[:, None] == state.stop_ids, axis=-1)
    stop = jnp.where(ends, ENDED, stop)
    stop = jnp.where(live, stop, made.stop)
    column = jax.lax.broadcasted_iota(jnp.int32, made.tokens.shape, 1)
    here = (column == made.steps) & live[:, None]
    made = DecodedTokens(
      tokens=jnp.where(here, tokens[:, None], made.tokens),
      logprobs=jnp.where(here, logprobs[:, None], made.logprobs),
      counts=made.counts + live,
      stop=stop,
      steps=made.steps + 1,
    )
    is_live = live & (stop == RUNNING)
    state = state.replace(
      cache=cache,
      tokens=tokens,
      # A free slot writes and reads column 0 only, which costs least.
      positions=jnp.where(is_live, positions, 0),
      budgets=budgets,
      is_live=is_live,
      runs=runs,
      recent=recent,
    )
    return state, made

  @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
  def free(self, decode_state: DecodeState, slots: jax.Array) -> DecodeState:
    """Stops decoding in the slots bool [S]; consumes the state."""
    state = decode_state
    freed = state.replace(
      positions=jnp.where(slots, 0, state.positions),
      is_live=state.is_live & ~slots,
    )
    return _over_slots(freed)

  @functools.partial(jax.jit, static_argnums=0)
  def init_decode_state(self) -> DecodeState:
    """Slots that are all free."""
    S, P = self.num_slots, self.repetition_max_period
    cache_dtype = self.cache_dtype
    if not cache_dtype and inference.fits(self.config):
      cache_dtype = 'float32'
    empty = DecodeState(
      cache=kv_cache.empty(self.config, S, self.columns, cache_dtype),
      tokens=jnp.zeros(S, jnp.int32),
      positions=jnp.zeros(S, jnp.int32),
      budgets=jnp.zeros(S, jnp.int32),
      temperatures=jnp.ones(S, jnp.float32),
      top_ps=jnp.ones(S, jnp.float32),
      stop_ids=jnp.full((S, MAX_STOP_IDS), -1, jnp.int32),
      keys=jax.random.wrap_key_data(
        jnp.zeros((S, 2), jnp.uint32), impl='threefry2x32'
      ),
      is_live=jnp.zeros(S, bool),
      runs=jnp.zeros((S, P), jnp.int32),
      recent=jnp.full((S, P), repetition.NO_TOKEN, jnp.int32),
      deltas=None if self.config.vision is None else jnp.zeros(S, jnp.int32),
    )
    return _over_slots(empty)


def _over_slots(state):
  """The state as all that make one lay it out: a part of the slots a device.

  Left to the compiler each would choose its own, and those that take it would
  be compiled for every choice.
  """
  others = jax.tree.map(
    lambda x: sharding.constrain(x, ('slots', *(None,) * (x.ndim - 1))),
    state.replace(cache=None),
  )
  return others.replace(cache=state.cache)
