"""The policy: a decoder-only Transformer, one definition for every use.

RMSNorm, rotary positions, grouped-query attention and SwiGLU; with optional
QKV bias, QK-norm and tied embeddings the Qwen2/2.5, Qwen3 and Llama 3 families
are configurations of it.  Training and prefill see whole rows, packed by
`segment_ids`; decoding sees one token a row and a `KVCache`, an explicit value
that goes in and comes out.  `init`, `forward`, `decode` and `token_logprobs`
are pure functions.  Axes: B rows, T tokens, D width, H query heads, N
key-value heads, G = H / N, h head width, C cache columns, V vocabulary.
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from k15 import attention
from k15 import chunked_attention
from k15 import low_precision
from k15 import rope
from k15 import sharding


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
  scan_layers: bool = False
  remat: str = 'none'
  logprob_chunk: int = 1024
  attention: str = 'auto'
  cache_block: int = 128


@flax.struct.dataclass
class KVCache:
  """Keys and values of tokens already seen, column = position in the row.

  Per layer, keys [B, N, h, C] (rotated) and values [B, N, C, h]; for decoding
  they are cut along C into blocks of `cache_block` columns, a tuple of arrays,
  so that a step reads no further than its longest row.  Both are tuples over
  layers, or have a leading axis L when layers are scanned; axis -4 is always
  the row.  Keys lie with C last: their product with the query then reads them
  in order, four times faster on CPU than [B, N, C, h].  A block may be a
  `low_precision.Int8Block`, whose scales have the same axes with h = 1.
  """

  keys: Any
  values: Any


def init(config: PolicyConfig, key: jax.Array) -> Any:
  """Random parameters as boxed leaves that carry their logical axes."""
  tokens = jnp.zeros((1, 2), jnp.int32)
  positions = jnp.zeros((1, 2), jnp.int32)
  variables = Decoder(config).init(key, tokens, positions, tokens + 1)
  return variables['params']


def forward(
  config: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  segment_ids: jax.Array,
) -> tuple[jax.Array, KVCache]:
  """Runs whole rows, for training and prefill.

  Args:
    config: shape of the policy.
    params: parameters, unboxed.
    tokens: int32 [B, T].
    positions: int32 [B, T], from 0 in every sequence.
    segment_ids: int32 [B, T]; a token attends to earlier tokens of its own
      segment.

  Returns:
    Hidden states [B, T, D], and the keys and values of the T columns.
  """
  return Decoder(config).apply(
    {'params': params}, tokens, positions, segment_ids
  )


def decode(
  config: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  cache: KVCache,
) -> tuple[jax.Array, KVCache]:
  """Runs one more token of every row against the cache.

  Args:
    config: shape of the policy.
    params: parameters, unboxed.
    tokens: int32 [B].
    positions: int32 [B], also the cache columns written; a token attends to
      columns up to its own.
    cache: what the earlier tokens left.

  Returns:
    Hidden states [B, D], and the cache with the new columns.
  """
  hidden, cache = Decoder(config).apply(
    {'params': params}, tokens[:, None], positions[:, None], None, cache
  )
  return hidden[:, 0], cache


def logits_of(config: PolicyConfig, params: Any, hidden: jax.Array):
  """Float32 logits [..., V] of hidden states [..., D]."""
  return _logits(config, _head(config, params), hidden)


def _head(config, params):
  return params['embedding' if config.tie_embeddings else 'lm_head']


def _logits(config, head, hidden):
  kernel = head.T if config.tie_embeddings else head
  return jnp.dot(
    hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32
  )


def fuse_projections(params: Any) -> Any:
  """Joins kernels that share their input, for decoding: q k v and gate up.

  Few rows make small products; joined ones take a third less time on CPU.
  Not for kernels split over a tensor axis: joining would move them.
  """
  if not isinstance(params, dict):
    return params
  joined = {name: fuse_projections(value) for name, value in params.items()}
  for names in (('q', 'k', 'v'), ('gate', 'up')):
    if all(name in joined for name in names):
      kernels = [joined.pop(name) for name in names]
      joined['_'.join(names)] = jnp.concatenate(kernels, axis=-1)
  return joined


def token_logprobs(
  config: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  segment_ids: jax.Array,
  temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Log-probability of every token given those before it, and the entropy.

  Logits exist for `config.logprob_chunk` tokens at a time, forward and
  backward, so memory does not grow with T * V.

  Args:
    config: shape of the policy.
    params: parameters, unboxed.
    tokens: int32 [B, T].
    positions: int32 [B, T].
    segment_ids: int32 [B, T].
    temperature: of the distribution, above 0.

  Returns:
    float32 [B, T] log-probabilities in nats and float32 [B, T] entropies of
    the distributions the tokens were predicted from.  The first column, and
    the first token of a packed sequence, have no prediction: mask them.
  """
  hidden, _ = forward(config, params, tokens, positions, segment_ids)
  B, T = tokens.shape
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    values = _chunked_logprobs(
      config, temperature, _head(config, params), hidden[:, :-1], tokens[:, 1:]
    )
    return jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (1, 0))), values)
  # The last column's prediction falls away; with it, columns divide as before.
  values = _split_logprobs(
    config,
    temperature,
    mesh,
    _head(config, params),
    hidden,
    jnp.roll(tokens, -1, axis=1),
  )
  return jax.tree.map(lambda x: jnp.pad(x[:, :-1], ((0, 0), (1, 0))), values)


def _split_logprobs(config, temperature, mesh, head, hidden, targets):
  """Every device takes its own tokens, and its own part of the vocabulary.

  Chunks of all devices' tokens would be computed by all, one after the other.
  The head is gathered once, and its gradient reduced once.
  """
  rows, columns = (
    sharding.axes_of(name, size)
    for name, size in zip(('batch', 'sequence'), targets.shape, strict=True)
  )
  local = jax.sharding.PartitionSpec(rows, columns)
  axes = (*(rows or ()), *(columns or ()))

  def of_device(head, hidden, targets):
    # Its own to begin with, or every chunk's gradient would be reduced.
    head = jax.lax.pcast(head, axes, to='varying')
    return _chunked_logprobs(config, temperature, head, hidden, targets)

  return jax.shard_map(
    of_device,
    mesh=mesh,
    in_specs=(jax.sharding.PartitionSpec(), local, local),
    out_specs=local,
    axis_names={*axes},
  )(head, hidden, targets)


def _chunked_logprobs(config, temperature, head, hidden, targets):
  """Log-probabilities of [B, T] targets, and entropies, by chunks of tokens."""
  shape = targets.shape
  hidden = hidden.reshape(-1, hidden.shape[-1])
  targets = targets.reshape(-1)
  chunk = min(config.logprob_chunk, len(targets))
  padding = -len(targets) % chunk
  hidden = jnp.pad(hidden, ((0, padding), (0, 0))).reshape(
    -1, chunk, hidden.shape[-1]
  )
  targets = jnp.pad(targets, (0, padding)).reshape(-1, chunk)

  def one_chunk(hidden_targets):
    hidden, targets = hidden_targets
    logits = _logits(config, head, hidden) / temperature
    log_z = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    probs = jax.lax.stop_gradient(jnp.exp(logits - log_z[:, None]))
    entropy = log_z - jnp.sum(probs * logits, axis=-1)
    return chosen - log_z, jax.lax.stop_gradient(entropy)

  if len(hidden) == 1:
    values = one_chunk((hidden[0], targets[0]))
  else:
    # Recomputed in the backward pass, or all chunks' logits would be kept.
    values = jax.lax.map(jax.checkpoint(one_chunk), (hidden, targets))
  count = math.prod(shape)
  return jax.tree.map(lambda x: x.reshape(-1)[:count].reshape(shape), values)


def empty_cache(
  config: PolicyConfig, rows: int, columns: int, dtype: str = ''
) -> KVCache:
  """A cache of zeros for `rows` sequences of up to `columns` tokens.

  It is kept in `dtype`, that of the activations if empty, or 'int8'.
  """
  dtype = dtype or config.dtype
  N, h, L = config.num_kv_heads, config.head_dim, config.num_layers

  block = config.cache_block
  widths = [min(block, columns - c) for c in range(0, columns, block)]

  def zeros(shape_of, axis):
    lead = (L,) if config.scan_layers else ()
    blocks = tuple(
      jax.tree.map(
        constrain_cache,
        low_precision.zeros((*lead, *shape_of(w)), dtype, axis),
      )
      for w in widths
    )
    if config.scan_layers:
      return blocks
    return tuple(jax.tree.map(jnp.copy, blocks) for _ in range(L))

  return KVCache(
    keys=zeros(lambda width: (rows, N, h, width), -2),
    values=zeros(lambda width: (rows, N, width, h), -1),
  )


def constrain_cache(x: jax.Array) -> jax.Array:
  """Lays slots and key-value heads of a cache array over the mesh."""
  lead = (None,) * (x.ndim - 4)
  return sharding.constrain(x, (*lead, 'slots', 'kv_heads', None, None))


class RMSNorm(nn.Module):
  """x / rms(x) * scale over the last axis, computed in float32."""

  eps: float
  param_dtype: str
  axis_name: str = 'norm'

  @nn.compact
  def __call__(self, x):
    scale = self.param(
      'scale',
      nn.with_logical_partitioning(nn.initializers.ones, (self.axis_name,)),
      (x.shape[-1],),
      jnp.dtype(self.param_dtype),
    )
    x32 = x.astype(jnp.float32)
    x32 *= jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
    return (x32 * scale).astype(x.dtype)


class Attention(nn.Module):
  """Grouped-query attention with rotary positions."""

  config: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, segment_ids, cache):
    c = self.config
    wide, narrow = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    query, key, value = _projections(
      self,
      x,
      dict(q=(wide, 'heads'), k=(narrow, 'kv_heads'), v=(narrow, 'kv_heads')),
      use_bias=c.qkv_bias,
    )
    query, key, value = (
      y.reshape(*y.shape[:-1], -1, c.head_dim) for y in (query, key, value)
    )
    if c.qk_norm:
      query = RMSNorm(c.rms_norm_eps, c.param_dtype, name='q_norm')(query)
      key = RMSNorm(c.rms_norm_eps, c.param_dtype, name='k_norm')(key)
    turns = rope_of(c)
    query = rope.rotate(query, positions, *turns)
    key = rope.rotate(key, positions, *turns)
    B, T = positions.shape
    query = query.reshape(B, T, c.num_kv_heads, -1, c.head_dim)
    query = query.transpose(0, 2, 3, 1, 4)  # [B, N, G, T, h]
    key, value = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    if cache is None:
      cache = (key, value)
      out = attention.attend(query, key, value, segment_ids, c.attention)
    else:
      keys, values, layer = cache
      column = positions[:, 0]
      cache = write_cache(
        keys, values, key[..., 0], value[:, :, 0], column, layer
      )
      out = attend_cache(query[:, :, :, 0], *cache, column, layer)
      out = out[:, :, :, None]
    out = out.transpose(0, 3, 1, 2, 4).reshape(B, T, c.num_heads * c.head_dim)
    kernel = self.param(
      'o',
      nn.with_logical_partitioning(_initializer(), ('heads', 'embed')),
      (c.num_heads * c.head_dim, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    return matmul(out, kernel.astype(out.dtype)), cache


class Block(nn.Module):
  """One layer: attention and SwiGLU, each behind a norm and a residual."""

  config: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, segment_ids, cache):
    c = self.config
    y = RMSNorm(c.rms_norm_eps, c.param_dtype, name='attention_norm')(x)
    y, cache = Attention(c, name='attention')(y, positions, segment_ids, cache)
    x = sharding.constrain(x + y, ('batch', 'sequence', None))
    y = RMSNorm(c.rms_norm_eps, c.param_dtype, name='mlp_norm')(x)
    gate, up = _projections(
      self, y, dict(gate=(c.d_ff, 'mlp'), up=(c.d_ff, 'mlp'))
    )
    y = sharding.constrain(jax.nn.silu(gate) * up, ('batch', 'sequence', 'mlp'))
    kernel = self.param(
      'down',
      nn.with_logical_partitioning(_initializer(), ('mlp', 'embed')),
      (c.d_ff, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    x = x + matmul(y, kernel.astype(y.dtype))
    return sharding.constrain(x, ('batch', 'sequence', None)), cache


class Decoder(nn.Module):
  """Embedding, the layers, and the last norm; `logits_of` is the head."""

  config: PolicyConfig

  @nn.compact
  def __call__(self, tokens, positions, segment_ids, cache=None):
    c = self.config
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
        nn.with_logical_partitioning(_initializer(), ('embed', 'vocab')),
        (c.d_model, c.vocab_size),
        jnp.dtype(c.param_dtype),
      )
    x = embedding[tokens].astype(jnp.dtype(c.dtype))
    x = sharding.constrain(x, ('batch', 'sequence', None))
    x, cache = self._layers(x, positions, segment_ids, cache)
    x = RMSNorm(c.rms_norm_eps, c.param_dtype, name='norm')(x)
    return x, cache

  def _layers(self, x, positions, segment_ids, cache):
    c = self.config
    block = _remat(Block, c.remat)
    if c.scan_layers and cache is not None:
      return self._decode_layers(x, positions, cache)
    if c.scan_layers:
      layers = nn.scan(
        block,
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
        out_axes=0,
        length=c.num_layers,
        metadata_params={nn.PARTITION_NAME: 'layers'},
      )(c, name='layers')
      x, (keys, values) = layers(x, positions, segment_ids, None)
      return x, KVCache(keys, values)
    pairs = []
    for i in range(c.num_layers):
      pair = None if cache is None else (cache.keys[i], cache.values[i], None)
      x, pair = block(c, name=f'layer_{i}')(x, positions, segment_ids, pair)
      pairs.append(pair)
    keys, values = zip(*pairs, strict=True)
    return x, KVCache(keys, values)

  def _decode_layers(self, x, positions, cache):
    """Scanned layers, the cache carried and changed in place.

    As what is scanned over and comes out, it would be there twice, and all of
    it would be copied for every token.
    """
    block = Block(self.config, parent=None)

    def one_layer(carry, params_and_layer):
      x, keys, values = carry
      params, layer = params_and_layer
      x, pair = block.apply(
        {'params': params}, x, positions, None, (keys, values, layer)
      )
      return (x, *pair), None

    stacked = self.get_variable('params', 'layers')
    (x, keys, values), _ = jax.lax.scan(
      one_layer,
      (x, cache.keys, cache.values),
      (stacked, jnp.arange(self.config.num_layers)),
    )
    return x, KVCache(keys, values)


@jax.custom_vjp
def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x @ kernel, [..., D] and [D, F] -> [..., F].

  The gradients are written out because XLA derives that of the kernel as a
  transpose, for which it rereads x by columns: a sixth of a training step on
  CPU.
  """
  return jnp.dot(x, kernel)


def _matmul_forward(x, kernel):
  return matmul(x, kernel), (x, kernel)


def _matmul_backward(residuals, dy):
  x, kernel = residuals
  axes = tuple(range(x.ndim - 1))
  return jnp.dot(dy, kernel.T), jnp.tensordot(x, dy, (axes, axes))


matmul.defvjp(_matmul_forward, _matmul_backward)


def rope_of(config: PolicyConfig) -> tuple[np.ndarray, float]:
  """Frequencies float64 [h / 2] and magnitude of the rotary positions.

  Raises:
    ValueError: an unknown `rope_scaling`.
  """
  c = config
  frequencies = rope.base_frequencies(c.head_dim, c.rope_theta)
  scaling = c.rope_factor, c.rope_original_length
  if c.rope_scaling == 'none':
    return frequencies, 1.0
  if c.rope_scaling == 'llama3':
    bounds = c.rope_low_freq_factor, c.rope_high_freq_factor
    return rope.llama3_frequencies(frequencies, *scaling, *bounds), 1.0
  if c.rope_scaling == 'yarn':
    bounds = c.rope_beta_fast, c.rope_beta_slow, c.rope_truncate
    frequencies = rope.yarn_frequencies(
      frequencies, c.rope_theta, *scaling, *bounds
    )
    magnitude = c.rope_attention_factor or rope.yarn_magnitude(c.rope_factor)
    return frequencies, magnitude
  raise ValueError(
    f"rope_scaling is {c.rope_scaling!r}, not 'none', 'llama3' or 'yarn'"
  )


def write_cache(key_blocks, value_blocks, key, value, positions, layer=None):
  """Writes one column a row; key and value are [B, N, h], positions [B].

  Blocks with a leading axis L are changed in `layer`.
  """
  rows = jnp.arange(len(positions))
  lead = () if layer is None else (layer,)
  key = low_precision.encode(key, key_blocks[0], -1)
  value = low_precision.encode(value, value_blocks[0], -1)
  keys, values, start = [], [], 0
  for old_keys, old_values in zip(key_blocks, value_blocks, strict=True):
    width = old_keys.shape[-1]
    inside = (positions >= start) & (positions < start + width)
    column = jnp.where(inside, positions - start, width)
    every = slice(None)
    keys.append(_put(old_keys, (*lead, rows, every, every, column), key))
    values.append(_put(old_values, (*lead, rows, every, column), value))
    start += width
  return tuple(keys), tuple(values)


def _put(old, where, new):
  """Sets these places, of numbers and scales alike; others are dropped."""
  return jax.tree.map(
    lambda old, new: constrain_cache(old.at[where].set(new, mode='drop')),
    old,
    new,
  )


def attend_cache(
  query, key_blocks, value_blocks, positions, layer=None
) -> jax.Array:
  """Attention of one token a row to the cache columns up to its position.

  A block that no row has reached is skipped, and of one that few rows have
  reached only these are read: a long response pays for itself alone.  Every
  block is two branches and two writes of the program: 1,024 of 128 columns
  would take an accelerator's compiler hours, while 8 of 16,384 read at most
  16,383 columns too many, 1/16 of 131,072 in the mean.

  Args:
    query: [B, N, G, h].
    key_blocks: [B, N, h, C'] each, or [L, B, N, h, C'] with a layer; see
      `KVCache`.
    value_blocks: [B, N, C', h] each, or [L, B, N, C', h].
    positions: int32 [B].
    layer: int32 [], which of L, or None.

  Returns:
    [B, N, G, h].
  """
  query = query * query.shape[-1] ** -0.5
  starts = np.cumsum([0] + [keys.shape[-1] for keys in key_blocks])
  # One by one, rows take 1.5 times as long as all at once (CPU); rows on other
  # devices would have to be fetched.
  few = len(query) // 2 if jax.sharding.get_abstract_mesh().size <= 1 else 0
  longest_first = jnp.argsort(-positions)

  def of_layer(block):
    if layer is None:
      return block
    return jax.tree.map(
      lambda x: (
        x
        if x.ndim == 4
        else jax.lax.dynamic_index_in_dim(x, layer, keepdims=False)
      ),
      block,
    )

  def score(i, keys, query, positions):
    keys, scales = low_precision.decode(of_layer(keys), query.dtype)
    scores = jnp.einsum(
      'bngh,bnhc->bngc', query, keys, preferred_element_type=jnp.float32
    )
    if scales is not None:
      scores *= scales
    columns = jnp.arange(starts[i], starts[i + 1])
    seen = columns <= positions[:, None]
    return jnp.where(seen[:, None, None], scores, -1e30)

  def mix(i, values, probs):
    values, scales = low_precision.decode(of_layer(values), query.dtype)
    weights = probs[..., starts[i] : starts[i + 1]]
    if scales is not None:
      weights = weights * scales.swapaxes(-1, -2)
    return jnp.einsum('bngc,bnch->bngh', weights.astype(query.dtype), values)

  def of_rows(i, compute, empty, block, *others):
    """compute(i, block, *others), [B, ...], where the block is reached."""
    if i == 0:
      return compute(i, block, *others)
    reached = jnp.sum(positions >= starts[i])

    def nothing(*_):
      return jnp.full(*empty)

    def one_by_one(block, *others):
      def add(n, rows):
        row = longest_first[n]
        pick = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=1)
        own = [
          jax.tree.map(lambda x: pick(x, row, axis=x.ndim - 4), block),
          *(pick(x, row) for x in others),
        ]
        return jax.lax.dynamic_update_slice_in_dim(
          rows, compute(i, *own), row, axis=0
        )

      return jax.lax.fori_loop(0, reached, add, jnp.full(*empty))

    return jax.lax.cond(
      reached > few,
      functools.partial(compute, i),
      one_by_one if few else nothing,
      block,
      *others,
    )

  scores = [
    of_rows(
      i,
      score,
      ((*query.shape[:-1], keys.shape[-1]), -1e30, jnp.float32),
      keys,
      query,
      positions,
    )
    for i, keys in enumerate(key_blocks)
  ]
  probs = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
  return sum(
    of_rows(i, mix, (query.shape, 0, query.dtype), values, probs)
    for i, values in enumerate(value_blocks)
  )


def _initializer():
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')


def _projections(module, x, widths, use_bias=False):
  """x @ kernel for every name -> (width, logical axis), as one if fused."""
  c = module.config
  fused = '_'.join(widths)
  if module.has_variable('params', fused):
    y = jnp.dot(x, module.get_variable('params', fused).astype(x.dtype))
    ends = np.cumsum([width for width, _ in widths.values()])
    ys = jnp.split(y, ends[:-1], axis=-1)
  else:
    ys = []
    for name, (width, axis) in widths.items():
      kernel = module.param(
        name,
        nn.with_logical_partitioning(_initializer(), ('embed', axis)),
        (x.shape[-1], width),
        jnp.dtype(c.param_dtype),
      )
      ys.append(matmul(x, kernel.astype(x.dtype)))
  if use_bias:
    for i, (name, (width, axis)) in enumerate(widths.items()):
      bias = module.param(
        f'{name}_bias',
        nn.with_logical_partitioning(nn.initializers.zeros, (axis,)),
        (width,),
        jnp.dtype(c.param_dtype),
      )
      ys[i] += bias.astype(x.dtype)
  return ys


def _remat(block, mode):
  if mode == 'none':
    return block
  policies = jax.checkpoint_policies
  policy = policies.save_only_these_names(chunked_attention.SAVED)
  if mode == 'dots':
    policy = policies.save_from_both_policies(
      policy, policies.dots_with_no_batch_dims_saveable
    )
  return nn.remat(block, policy=policy, prevent_cse=False)
