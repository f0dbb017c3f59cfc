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
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from k15 import streams
from k15.devices import sharding
from k15.model import attention as attention_lib
from k15.model import chunked_attention
from k15.model import kv_cache
from k15.model import rope


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
  lora_rank: int = 0
  lora_alpha: float = 32.0
  lora_targets: tuple[str, ...] = ()


# Behind the name of a kernel: its adapter, a pair of matrices.
LORA = '_lora'


def lora_scale(shape: PolicyConfig) -> float:
  """Of the product that an adapter adds; see `k15.model.lora`."""
  return shape.lora_alpha / max(shape.lora_rank, 1)


def init(shape: PolicyConfig, key: jax.Array) -> Any:
  """Random parameters as boxed leaves that carry their logical axes."""
  tokens = jnp.zeros((1, 2), jnp.int32)
  positions = jnp.zeros((1, 2), jnp.int32)
  variables = Decoder(shape).init(key, tokens, positions, (tokens + 1, None))
  return variables['params']


def logical_axes(shape: PolicyConfig) -> Any:
  """What each axis of each parameter means: tuples of names, unboxed."""
  boxed = jax.eval_shape(functools.partial(init, shape), streams.key_shape())
  return axes_of(boxed)


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

  Returns:
    Hidden states [B, T, D], and the keys and values of the T columns.
  """
  return Decoder(shape).apply(
    {'params': params}, tokens, positions, (segment_ids, prompt_ids)
  )


def decode(
  shape: PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  cache: kv_cache.KVCache,
) -> tuple[jax.Array, kv_cache.KVCache]:
  """Runs one more token of every row against the cache.

  Args:
    shape: of the policy.
    params: parameters, unboxed.
    tokens: int32 [B].
    positions: int32 [B], also the cache columns written; a token attends to
      columns up to its own.
    cache: what the earlier tokens left.

  Returns:
    Hidden states [B, D], and the cache with the new columns.
  """
  hidden, cache = Decoder(shape).apply(
    {'params': params}, tokens[:, None], positions[:, None], None, cache
  )
  return hidden[:, 0], cache


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
    return (x32 * jnp.broadcast_to(scale, x.shape)).astype(x.dtype)


class Attention(nn.Module):
  """Grouped-query attention with rotary positions."""

  shape: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, ids, cache):
    c = self.shape
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
    turns = rope.turns_of(c)
    query = rope.rotate(query, positions, *turns)
    key = rope.rotate(key, positions, *turns)
    B, T = positions.shape
    query = query.reshape(B, T, c.num_kv_heads, -1, c.head_dim)
    query = query.transpose(0, 2, 3, 1, 4)  # [B, N, G, T, h]
    key, value = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    if cache is None:
      cache = (key, value)
      segment_ids, prompt_ids = ids
      out = attention_lib.attend(
        query, key, value, segment_ids, c.attention, prompt_ids
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
      nn.with_logical_partitioning(_initializer(), ('heads', 'embed')),
      (c.num_heads * c.head_dim, c.d_model),
      jnp.dtype(c.param_dtype),
    )
    return _product(self, out, 'o', kernel), cache


class Block(nn.Module):
  """One layer: attention and SwiGLU, each behind a norm and a residual."""

  shape: PolicyConfig

  @nn.compact
  def __call__(self, x, positions, ids, cache):
    c = self.shape
    y = RMSNorm(c.rms_norm_eps, c.param_dtype, name='attention_norm')(x)
    y, cache = Attention(c, name='attention')(y, positions, ids, cache)
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
    x = x + _product(self, y, 'down', kernel)
    return sharding.constrain(x, ('batch', 'sequence', None)), cache


class Decoder(nn.Module):
  """Embedding, the layers, and the last norm; `logits_of` is the head.

  `ids` are a row's segment_ids and prompt_ids or None; of decoding, None.
  """

  shape: PolicyConfig

  @nn.compact
  def __call__(self, tokens, positions, ids, cache=None):
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
        nn.with_logical_partitioning(_initializer(), ('embed', 'vocab')),
        (c.d_model, c.vocab_size),
        jnp.dtype(c.param_dtype),
      )
    x = embedding[tokens].astype(jnp.dtype(c.dtype))
    x = sharding.constrain(x, ('batch', 'sequence', None))
    x, cache = self._layers(x, positions, ids, cache)
    x = RMSNorm(c.rms_norm_eps, c.param_dtype, name='norm')(x)
    return x, cache

  def _layers(self, x, positions, ids, cache):
    c = self.shape
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
      x, (keys, values) = layers(x, positions, ids, None)
      return x, kv_cache.KVCache(keys, values)
    pairs = []
    for i in range(c.num_layers):
      pair = None if cache is None else (cache.keys[i], cache.values[i], None)
      x, pair = block(c, name=f'layer_{i}')(x, positions, ids, pair)
      pairs.append(pair)
    keys, values = zip(*pairs, strict=True)
    return x, kv_cache.KVCache(keys, values)

  def _decode_layers(self, x, positions, cache):
    """Scanned layers, the cache carried and changed in place.

    As what is scanned over and comes out, it would be there twice, and all of
    it would be copied for every token.
    """
    block = Block(self.shape, parent=None)

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
      (stacked, jnp.arange(self.shape.num_layers)),
    )
    return x, kv_cache.KVCache(keys, values)


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


def _initializer():
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')


def _product(module, x, name, kernel):
  """x @ kernel, and what the adapter of this name adds, if there is one."""
  y = matmul(x, kernel.astype(x.dtype))
  if not module.has_variable('params', name + LORA):
    return y
  pair = module.get_variable('params', name + LORA)
  a, b = pair['a'].astype(x.dtype), pair['b'].astype(x.dtype)
  return y + matmul(matmul(x, a) * lora_scale(module.shape), b)


def _projections(module, x, widths, use_bias=False):
  """x @ kernel for every name -> (width, logical axis), as one if fused."""
  c = module.shape
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
      ys.append(_product(module, x, name, kernel))
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
