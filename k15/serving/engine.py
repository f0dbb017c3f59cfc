"""The policy as a JetStream engine: what its servers and drivers can run.

`PolicyEngine` puts JetStream's interface over a `SlotDecoder`.  That interface
knows one prompt at a time and no seeds, budgets or temperatures: stock drivers
get those of the engine.  `RolloutDriver` uses the `SlotDecoder` itself.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from k15.checkpoints.tokenizer import ByteTokenizer
from k15.devices import sharding
from k15.rollout import backend
from k15.rollout import slots as slots_lib
from k15.rollout.requests import Request
from k15.serving import jetstream_adapter
from k15.serving import text_stream as text_stream_lib
from k15.serving.sent_pictures import SentPictures

# Prompt lengths that JetStream pads to.
_PREFILL_LENGTHS = tuple(2**i for i in range(4, 16))


@flax.struct.dataclass
class EnginePrefix:
  """One prefilled prompt; `context` int32 [T] are its tokens."""

  prefix: slots_lib.Prefix
  context: Any


@flax.struct.dataclass
class EngineState:
  """All slots; `lengths` int32 [S] counts the tokens made since insertion."""

  slots: slots_lib.DecodeState
  lengths: jax.Array


@flax.struct.dataclass
class RolloutTokens(jetstream_adapter.ResultTokens):
  """JetStream's one array of a call, with log-probabilities behind the rest.

  They are float32 [S, K], their bits stored as int32, at `logprob_idx`.
  """

  logprob_idx: tuple[int, int] = flax.struct.field(pytree_node=False)

  def convert_to_numpy(self) -> 'RolloutTokens':
    """The same on the host, by one copy."""
    return self.replace(data=np.array(self.data))


class Detokenizer(jetstream_adapter.Tokenizer):
  """A tokenizer of k15 as JetStream calls it; it has no start token."""

  has_bos = False

  def __init__(self, tokenizer: Any):
    self._tokenizer = tokenizer

  def encode(
    self, s: str, is_bos: bool = True, **kwargs
  ) -> tuple[np.ndarray, int]:
    """Tokens, not padded, and their number; takes JetStream's settings."""
    tokens = (self._tokenizer.begin if is_bos else self._tokenizer.encode)(s)
    return tokens, len(tokens)

  def decode(self, token_ids: list[int], **kwargs) -> str:
    """Text; of a lone byte <0xAB>, which the stock driver's server joins."""
    text = self._tokenizer.decode(token_ids)
    is_byte = isinstance(self._tokenizer, ByteTokenizer) and text == '\ufffd'
    if is_byte and len(token_ids) == 1:
      return f'<0x{token_ids[0]:02X}>'
    return text

  def text_stream(self) -> text_stream_lib.TextStream:
    """For the text of one response."""
    return text_stream_lib.TextStream(
      self._tokenizer.decode, self._tokenizer.is_open
    )

  @property
  def pad_id(self) -> int:
    return self._tokenizer.pad_id

  @property
  def eos_id(self) -> int:
    return self._tokenizer.eos_id

  @property
  def bos_id(self) -> int:
    """What stock drivers put in front of tokens: the padding."""
    return self._tokenizer.pad_id

  @property
  def stop_tokens(self) -> set[int]:
    return set(self._tokenizer.eos_ids)


class PolicyEngine(jetstream_adapter.Engine):
  """A policy that JetStream can serve.

  Attributes:
    slots: what decodes.
    temperature, seed: of requests that name none.
    rules: over which axes of the mesh what is split.
    pictures: that trainers have sent; None: the policy sees none.
  """

  def __init__(
    self,
    slots: slots_lib.SlotDecoder,
    tokenizer: Any,
    mesh: jax.sharding.Mesh | None = None,
    load: Callable[[], Any] | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    rules: sharding.Rules = sharding.RULES,
  ):
    """`mesh` is one device if None; `load` returns the weights.

    `rules` say over which axes of the mesh what is split.
    """
    self.rules = rules
    self.slots = slots
    self.pictures = SentPictures() if slots.sight else None
    self.temperature = temperature
    self.seed = seed
    self._tokenizer = tokenizer
    self._mesh = mesh or sharding.make_mesh(1, 1, 1)
    self._load = load
    self._ids = itertools.count()

  def load_params(self) -> Any:
    """The weights; ValueError if the engine was built without."""
    if self._load is None:
      raise ValueError('this engine was built without a way to load weights')
    return self._load()

  def init_decode_state(self) -> EngineState:
    """Slots that are all free."""
    lengths = jnp.zeros(self.slots.num_slots, jnp.int32)
    return EngineState(self.slots.init_decode_state(), lengths)

  def prefill(
    self,
    *,
    params: Any,
    existing_prefix: EnginePrefix | None = None,
    padded_tokens: jax.Array,
    true_length: int,
  ) -> EnginePrefix:
    """Keys and values of a prompt, behind an existing one if given.

    Raises:
      ValueError: it leaves no column for a new token.
    """
    context = np.asarray(padded_tokens, np.int32)[: int(true_length)]
    if existing_prefix is not None:
      before = np.asarray(existing_prefix.context)
      context = np.concatenate([before, context])
    # Fewer tokens than `true_length` were cut by whoever padded them: a
    # response to the rest would answer another prompt.
    if not 0 < len(context) < self.slots.columns or len(context) < true_length:
      raise ValueError(
        f'a prompt of {max(len(context), int(true_length))} tokens for'
        f' {self.slots.columns} columns'
      )
    padded = np.zeros((1, self.slots.bucket_of(len(context))), np.int32)
    padded[0, : len(context)] = context
    length = np.array([len(context)], np.int32)
    prefix = self.slots.prefill(params, padded, length)
    return EnginePrefix(prefix, jnp.asarray(context))

  def insert(
    self, prefix: EnginePrefix, decode_state: EngineState, slot: int
  ) -> EngineState:
    """Starts a response in a slot; it has random numbers of its own."""
    request = Request(
      # Ids are int32 on the devices; JetStream gives its requests none.
      group_id=next(self._ids) % 2**31,
      sample_index=0,
      prompt=np.asarray(prefix.context),
      response=np.zeros(0, np.int32),
      budget=self.slots.columns - len(prefix.context),
      temperature=self.temperature,
      seed=self.seed,
    )
    where = backend.slot_request(self.slots, [0], [request], [int(slot)], 1)
    state = self.slots.insert(prefix.prefix, decode_state.slots, where)
    return EngineState(state, decode_state.lengths.at[int(slot)].set(0))

  def generate(
    self, params: Any, decode_state: EngineState
  ) -> tuple[EngineState, RolloutTokens]:
    """Up to `tokens_per_call` tokens in every live slot."""
    # A number no call reaches: it does not return for a slot that is free.
    state, made = self.slots.generate(
      params, decode_state.slots, np.int32(self.slots.num_slots + 1)
    )
    lengths, data = _pack(decode_state.lengths, made)
    K = self.slots.tokens_per_call
    return EngineState(state, lengths), RolloutTokens(
      data=data,
      tokens_idx=(0, K),
      valid_idx=(K, 2 * K),
      length_idx=(2 * K, 2 * K + 1),
      samples_per_slot=1,
      logprob_idx=(2 * K + 1, 3 * K + 1),
    )

  def get_prefix_destination_sharding(self) -> jax.sharding.Sharding:
    """Of a prefix: a copy on every device."""
    return sharding.sharding_of(self._mesh, (), ())

  def get_tokenizer(self) -> jetstream_adapter.TokenizerParameters:
    """Nothing: `build_tokenizer` knows the tokenizer."""
    return jetstream_adapter.TokenizerParameters()

  def build_tokenizer(
    self, metadata: jetstream_adapter.TokenizerParameters
  ) -> Detokenizer:
    """The tokenizer the engine was built with."""
    del metadata
    return Detokenizer(self._tokenizer)

  @property
  def max_concurrent_decodes(self) -> int:
    """Number of slots."""
    return self.slots.num_slots

  @property
  def samples_per_slot(self) -> int:
    """One: samples of a prompt are responses in slots of their own."""
    return 1

  @property
  def max_prefill_length(self) -> int:
    """The longest padded prompt, one of JetStream's lengths."""
    return max(
      (n for n in _PREFILL_LENGTHS if n <= self.slots.columns),
      default=_PREFILL_LENGTHS[0],
    )

  @property
  def mesh(self) -> jax.sharding.Mesh:
    """Devices of the policy."""
    return self._mesh

  @property
  def colocated_cpus(self) -> None:
    """None: the engine needs no host devices."""
    return None


@functools.partial(jax.jit, donate_argnums=0)
def _pack(lengths, made):
  """Tokens, validity, lengths and log-probabilities in one int32 array."""
  columns = jnp.arange(made.tokens.shape[1])
  valid = columns < made.counts[:, None]
  lengths = lengths + made.counts
  # One array is one copy to the host; as bits, floats go through it unchanged.
  logprobs = jax.lax.bitcast_convert_type(made.logprobs, jnp.int32)
  parts = made.tokens, valid.astype(jnp.int32), lengths[:, None], logprobs
  return lengths, jnp.concatenate(parts, axis=1)
