"""The policy: a decoder-only Transformer, one definition for every use.

RMSNorm, rotary positions, grouped-query attention and SwiGLU; with optional
QKV bias, QK-norm and tied embeddings the Qwen2/2.5, Qwen3 and Llama 3 families
are configurations of it.  Training and prefill see whole rows, packed by
`segment_ids`; decoding sees one token a row and a `KVCache`, an explicit value
that goes in and comes out; `heads` turns hidden states into logits.  `init`,
`forward` and `decode` are pure functions.  `inference` has the same layers once
more, for sampling on one CPU.  Axes: B rows, T tokens, D width, H query heads,
N key-value heads, G = H / N, h head width, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from k15 import streams
from k15.devices import sharding
from k15.model import attention as attention_lib
from k15.model import kv_cache
from k15.model import layers
from k15.model import rope
from k15.model import tower
from k15.vision.rows import Images


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
  """Shape of a policy; `experiments/base.py` says what each field means."""

  vocab_size: int
  num_layers: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  rope_theta: float = 10000.0
  rope_scaling: str = 'none'
  rope_factor: float = 1.0
  rope_original_length: int = 8192
  rope_low_freq_factor: float = 1.0
  rope_high_freq_factor: float = 4.0
  rope_beta_fast: float = 32.0
  rope_beta_slow: float = 1.0
  rope_truncate: bool = True
  rope_attention_factor: float = 0.0
  rms_norm_eps: float = 1e-6
  qkv_bias: bool = False
  qk_norm: bool = True
  tie_embeddings: bool = True
  dtype: str = 'float32'
  param_dtype: str = 'float32'
  product_dtype: str = ''
  scan_layers: bool = False
  remat: str = 'none'
  logprob_chunk: int = 1024
  attention: str = 'auto'
  cache_block: int = 128
  lora_rank: int = 0
  lora_alpha: float = 32.0
  lora_targets: tuple[str, ...] = ()
  # Of a policy that sees; without a tower all four are empty.
  vision: tower.VisionConfig | None = None
  mrope_section: tuple[int, ...] = ()  # frequencies of time, row and column
  mrope_interleaved: bool = False
  banned_ids: tuple[int, ...] = ()  # never sampled, nor counted in training


# The name of the tower's parameters.
VISION = 'vision'


class Marks(NamedTuple):
  """What tokens are told apart by, int32.

  Attributes:
    segment_ids: [B, T]; a token attends to earlier tokens of its own segment.
    prompt_ids: [B, T], a second segment it attends to; None: none.
    rotary: [B, T] or [B, T, 3], what it is rotated by; None: its position.
  """

  segment_ids: jax.Array | None = None
  prompt_ids: jax.Array | None = None
  rotary: jax.Array | None = None


def init(shape: PolicyConfig, key: jax.Array) -> Any:
  """Random parameters as boxed leaves that carry their logical axes."""
  tokens = jnp.zeros((1, 2), jnp.int32)
  positions = jnp.zeros((1, 2), jnp.int32)
  marks = Marks(segment_ids=tokens + 1)
  return Decoder(shape).init(key, tokens, positions, marks)['params']


@functools.cache  # Traced once a process: every stage asks, and more than once.
def boxed(shape: PolicyConfig) -> Any:
  """What `init` draws, as boxed `jax.ShapeDtypeStruct`s; not to be changed."""
  return jax.eval_shape(functools.partial(init, shape), streams.key_shape())


def logical_axes(shape: PolicyConfig) -> Any:
  """What each axis of each parameter means: tuples of names, unboxed."""
  return axes_of(boxed(shape))


def axes_of(boxed: Any) -> Any:
  """The names of the axes of boxed leaves, in a tree of the same structure."""
  return jax.tree.map(
    lambda box: tuple(box.names),
    boxed,
    is_leaf=lambda x: isinstance(x, nn.Partitioned),
  )


def forward(
  shape: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  segment_ids: jax.Array,
  prompt_ids: jax.Array | None = None,
  images: Images | None = None,
  features: tower.Features | None = None,
) -> tuple[jax.Array, kv_cache.KVCache]:
  """Runs whole rows, for training and prefill.

  Args:
    shape: of the policy.
    params: parameters, unboxed.
    tokens: int32 [B, T].
    positions: int32 [B, T], from 0 in every sequence.
    segment_ids: int32 [B, T]; a token attends to earlier tokens of its own
      segment.
    prompt_ids: int32 [B, T], a second segment it attends to; None: none.
    images: the pictures of the rows; None: there are none.
    features: of `encode`, where the pictures have been looked at before; the
      patches are then not read.

  Returns:
    Hidden states [B, T, D], and the keys and values of the T columns.
  """
  marks, seen = Marks(segment_ids, prompt_ids), None
  if images is not None:
    if shape.mrope_section:
      marks = marks._replace(rotary=images.positions)
    features = encode(shape, params, images) if features is None else features
    seen = _at_tokens(features, images.index)
  return Decoder(shape).apply(
    {'params': params}, tokens, positions, marks, None, seen
  )


def encode(shape: PolicyConfig, params: Any, images: Images) -> tower.Features:
  """What the policy's tower sees in the pictures of rows; see `tower.encode`.

  Args:
    shape: of a policy with vision.
    params: of the policy, unboxed.
    images: the rows'.
  """
  return tower.encode(shape, params[VISION], images)


def _at_tokens(features, index):
  """Which tokens are of pictures, bool [B, T, 1], and features [B, T, D].

  Those that are added behind layers are 0 elsewhere.
  """
  is_image, places = index[..., None] >= 0, jnp.maximum(index, 0)[..., None]

  def of(x):
    return jnp.take_along_axis(x, places, axis=1)

  deep = tuple(jnp.where(is_image, of(x), 0) for x in features.deep)
  return is_image, of(features.merged), deep


def decode(
  shape: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  cache: kv_cache.KVCache,
  deltas: jax.Array | None = None,
) -> tuple[jax.Array, kv_cache.KVCache]:
  """Runs one more token of every row against the cache.

  Args:
    shape: of the policy.
    params: parameters, unboxed.
    tokens: int32 [B].
    positions: int32 [B], also the cache columns written; a token attends to
      columns up to its own.
    cache: what the earlier tokens left.
    deltas: int32 [B], what is added to a position to rotate by it, where the
      row has pictures (`k15.vision.positions.rotary`); None: nothing.

  Returns:
    Hidden states [B, D], and the cache with the new columns.
  """
  rotary = None if deltas is None else (positions + deltas)[:, None]
  hidden, cache = Decoder(shape).apply(
    {'params': params},
    tokens[:, None],
    positions[:, None],
    Marks(rotary=rotary),
    cache,
  )
  return hidden[:, 0], cache


def joined(*kernels: jax.Array) -> jax.Array:
  """[D, F] each, behind each other: [D, sum of F]."""
  return jnp.concatenate(kernels, axis=-1)


def fuse_projections(
  params: Any, join: Callable[..., jax.Array] = joined
) -> Any:
  """Joins kernels that share their input, for decoding: q k v and gate up.

  Few rows make small products; joined ones take a third less time on CPU.
  Not for kernels split over a tensor axis: joining would move them.

  Args:
    params: of the policy.
    join: makes one of kernels; who plans for devices that are not there has
      shapes instead of arrays.
  """
  if not isinstance(params, dict):
    return params
  fused = {
    # The tower is for whole pictures, and its kernels stay what they are.
    name: value if name == VISION else fuse_projections(value, join)
    for name, value in params.items()
  }
  for names in (('q', 'k', 'v'), ('gate', 'up')):
    if all(name in fused for name in names):
      fused['_'.join(names)] = join(*(fused.pop(name) for name in names))
  return fused


def _norm(shape, name):
  return layers.RMSNorm(
    shape.rms_norm_eps,
    shape.param_dtype,
    product_dtype=shape.product_dtype,
    name=name,
  )


class Attention(nn.Module):
  """Grouped-query attention with rotary positions."""

  shape: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, marks, cache):
    c = self.shape
    wide, narrow = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    query, key, value = layers.projections(
      self,
      x,
      dict(q=(wide, 'heads'), k=(narrow, 'kv_heads'), v=(narrow, 'kv_heads')),
      use_bias=c.qkv_bias,
    )
    query, key, value = (
      y.reshape(*y.shape[:-1], -1, c.head_dim) for y in (query, key, value)
    )
    if c.qk_norm:
      query, key = _norm(c, 'q_norm')(query), _norm(c, 'k_norm')(key)
    turns = (*rope.turns_of(c), rope.axes_of(c))
    rotary = positions if marks.rotary is None else marks.rotary
    query = rope.rotate(query, rotary, *turns)
    key = rope.rotate(key, rotary, *turns)
    B, T = positions.shape
    query = query.reshape(B, T, c.num_kv_heads, -1, c.head_dim)
    query = query.transpose(0, 2, 3, 1, 4)  # [B, N, G, T, h]
    key, value = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    if cache is None:
      cache = (key, value)
      out = attention_lib.attend(
        query, key, value, marks.segment_ids, c.attention, marks.prompt_ids
      )
    else:
      keys, values, layer = cache
      column = positions[:, 0]
      cache = kv_cache.write(
        keys, values, key[..., 0], value[:, :, 0], column, layer
      )
      out = kv_cache.attend(query[:, :, :, 0], *cache, column, layer)
      out = out[:, :, :, None]
    out = out.transpose(0, 3, 1, 2, 4).reshape(B, T, c.num_heads * c.head_dim)
    kernel = self.param(
      'o',
      nn.with_logical_partitioning(layers.initializer(), ('heads', 'embed')),
      (c.num_heads * c.head_dim, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    return layers.product(self, out, 'o', kernel), cache


class Block(nn.Module):
  """One layer: attention and SwiGLU, each behind a norm and a residual."""

  shape: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, marks, cache):
    c = self.shape
    y = _norm(c, 'attention_norm')(x)
    y, cache = Attention(c, name='attention')(y, positions, marks, cache)
    x = sharding.constrain(x + y, ('batch', 'sequence', None))
    y = _norm(c, 'mlp_norm')(x)
    gate, up = layers.projections(
      self, y, dict(gate=(c.d_ff, 'mlp'), up=(c.d_ff, 'mlp'))
    )
    y = sharding.constrain(jax.nn.silu(gate) * up, ('batch', 'sequence', 'mlp'))
    kernel = self.param(
      'down',
      nn.with_logical_partitioning(layers.initializer(), ('mlp', 'embed')),
      (c.d_ff, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    x = x + layers.product(self, y, 'down', kernel)
    return sharding.constrain(x, ('batch', 'sequence', None)), cache


class Decoder(nn.Module):
  """Embedding, the layers, and the last norm; `logits_of` is the head.

  `seen` is what `_at_tokens` makes of pictures, or None.
  """

  shape: PolicyConfig

  @nn.compact
  def __call__(self, tokens, positions, marks, cache=None, seen=None):
    c = self.shape
    embedding = self.param(
      'embedding',
      nn.with_logical_partitioning(
        nn.initializers.normal(0.02), ('vocab', 'embed')
      ),
      (c.vocab_size, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    if not c.tie_embeddings:
      self.param(
        'lm_head',
        nn.with_logical_partitioning(layers.initializer(), ('embed', 'vocab')),
        (c.d_model, c.vocab_size),
        jnp.dtype(c.param_dtype),
      )
    if c.vision is not None and self.is_initializing():
      # Drawn by its name here, and used by `encode`.
      tower.Tower(c, name=VISION)(tower.one_block(c.vision))
    x = layers.rounded(embedding[tokens], c.product_dtype)
    x, deep = x.astype(jnp.dtype(c.dtype)), ()
    if seen is not None:
      is_image, features, deep = seen
      x = jnp.where(is_image, features.astype(x.dtype), x)
    x = sharding.constrain(x, ('batch', 'sequence', None))
    with layers.full_products(c):
      x, cache = self._layers(x, positions, marks, cache, deep)
    return _norm(c, 'norm')(x), cache

  def _layers(self, x, positions, marks, cache, deep):
    c = self.shape
    block = layers.remat(Block, c.remat)
    if c.scan_layers and cache is not None:
      return self._decode_layers(x, positions, marks, cache)
    if c.scan_layers and deep:
      return self._deep_layers(block, x, positions, marks, deep)
    if c.scan_layers:
      stack = nn.scan(
        block,
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
        out_axes=0,
        length=c.num_layers,
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )(c, name='layers')
      x, (keys, values) = stack(x, positions, marks, None)
      return x, kv_cache.KVCache(keys, values)
    pairs = []
    for i in range(c.num_layers):
      pair = None if cache is None else (cache.keys[i], cache.values[i], None)
      x, pair = block(c, name=f'layer_{i}')(x, positions, marks, pair)
      x = x + deep[i].astype(x.dtype) if i < len(deep) else x
      pairs.append(pair)
    keys, values = zip(*pairs, strict=True)
    return x, kv_cache.KVCache(keys, values)

  def _deep_layers(self, block, x, positions, marks, deep):
    """Scanned layers, behind the first of which features are added."""
    stacked, count = jnp.stack(deep).astype(x.dtype), len(deep)

    def one_layer(x, params_and_layer):
      params, layer = params_and_layer
      x, pair = block(self.shape, parent=None).apply(
        {'params': params}, x, positions, marks, None
      )
      added = stacked[jnp.minimum(layer, count - 1)]
      return x + jnp.where(layer < count, added, 0), pair

    numbers = jnp.arange(self.shape.num_layers)
    own = self.get_variable('params', 'layers')
    x, (keys, values) = jax.lax.scan(one_layer, x, (own, numbers))
    return x, kv_cache.KVCache(keys, values)

  def _decode_layers(self, x, positions, marks, cache):
    """Scanned layers, the cache carried and changed in place.

    As what is scanned over and comes out, it would be there twice, and all of
    it would be copied for every token.
    """
    block = Block(self.shape, parent=None)

    def one_layer(carry, params_and_layer):
      x, keys, values = carry
      params, layer = params_and_layer
      x, pair = block.apply(
        {'params': params}, x, positions, marks, (keys, values, layer)
      )
      return (x, *pair), None

    stacked = self.get_variable('params', 'layers')
    (x, keys, values), _ = jax.lax.scan(
      one_layer,
      (x, cache.keys, cache.values),
      (stacked, jnp.arange(self.shape.num_layers)),
    )
    return x, kv_cache.KVCache(keys, values)
