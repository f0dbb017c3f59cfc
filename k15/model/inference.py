"""The layers once more, for sampling on a CPU: nothing is differentiated.

The numbers are those of `policy`, laid out otherwise.  Kernels that share their
input are one and lie [out, in]; activations lie [D, M], a column for each of M
tokens.  A product of few tokens then reads its kernel in order and as it is,
while the other way round packs it anew for every product.  `decode` takes the
next token of every row, `prefill` the tokens of prompts, behind each other in
chunks: padding is not computed, tokens that a row begins with like the first
one are computed once, and what a row gets depends on the row alone.

In bfloat16, the kernels and what is multiplied with them have 16 bits, and all
else is float32, keys and values too.  XLA has fast products of bfloat16 on CPU
with float32 results; for nearly all else it converts whole arrays, there and
back.

Axes: D width, M tokens, B rows, N key-value heads, G query heads of each,
h head width, P prompts, W columns of the longest that fits, V vocabulary.
"""

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from k15.model import attention
from k15.model import kv_cache
from k15.model import policy
from k15.model import precision
from k15.model import rope

# From this width on.  With 576, decode steps of 64 rows take a twelfth less and
# prompts of 65 tokens in a bucket of 128 two fifths less; with 256, steps of 16
# rows take a twelfth more, and the programs a second more to compile.
FROM_WIDTH = 512
# Tokens of one product of `prefill`: the last chunk is half empty in the mean,
# 64 tokens of a call, and with 64 a chunk products take a tenth longer.
CHUNK = 128
# Queries, and keys, of one step of its attention.
BLOCK = 64


@flax.struct.dataclass
class Weights:
  """What `weights_of` makes.

  Attributes:
    embedding: [V, D].
    head: [V, D]; the embedding, if they are tied.
    norm: [D], scale of the last norm.
    layers: a dict for each: `attention_norm`, `mlp_norm` [D], `q_norm`,
      `k_norm` [h] if the policy has them, kernels [out, in] `q_k_v`, `o`,
      `gate_up`, `down`, and the bias `q_k_v_bias` [out] if it has one.
  """

  embedding: jax.Array
  head: jax.Array
  norm: jax.Array
  layers: tuple[dict[str, jax.Array], ...]


def fits(shape: policy.PolicyConfig) -> bool:
  """Whether this page is for this policy where the program will run."""
  mesh = jax.sharding.get_abstract_mesh()
  is_alone = mesh.empty or mesh.size == 1
  is_wide = shape.d_model >= FROM_WIDTH and not shape.scan_layers
  is_plain = shape.vision is None and not shape.banned_ids
  is_plain &= not shape.product_dtype
  on_cpu = attention.target_platform() == 'cpu'
  return is_alone and is_wide and is_plain and on_cpu


def weights_of(shape: policy.PolicyConfig, params: Any) -> Weights:
  """Lays the parameters of a policy out, kernels in the policy's dtype.

  The embedding stays where it is if it has that dtype.
  """
  embedding = precision.cast(params['embedding'], shape.dtype)
  laid = _lay_out(shape, {k: v for k, v in params.items() if k != 'embedding'})
  return Weights(embedding=embedding, **dict(head=embedding) | laid)


@functools.partial(jax.jit, static_argnums=0)
def _lay_out(shape, params):
  dtype = jnp.dtype(shape.dtype)
  laid = dict(
    norm=params['norm']['scale'],
    layers=tuple(
      _lay_layer_out(params[f'layer_{i}'], dtype)
      for i in range(shape.num_layers)
    ),
  )
  if not shape.tie_embeddings:
    laid['head'] = params['lm_head'].astype(dtype).T
  return laid


def _lay_layer_out(params, dtype):
  attention = params['attention']

  def lie(*kernels):
    return jnp.concatenate([k.astype(dtype).T for k in kernels])

  layer = dict(
    attention_norm=params['attention_norm']['scale'],
    mlp_norm=params['mlp_norm']['scale'],
    q_k_v=lie(attention['q'], attention['k'], attention['v']),
    o=lie(attention['o']),
    gate_up=lie(params['gate'], params['up']),
    down=lie(params['down']),
  )
  if 'q_norm' in attention:
    layer |= {name: attention[name]['scale'] for name in ('q_norm', 'k_norm')}
  if 'q_bias' in attention:
    biases = [attention[f'{name}_bias'].astype(dtype) for name in 'qkv']
    layer['q_k_v_bias'] = jnp.concatenate(biases)
  return layer


def decode(
  shape: policy.PolicyConfig,
  weights: Weights,
  tokens: jax.Array,
  positions: jax.Array,
  cache: kv_cache.KVCache,
) -> tuple[jax.Array, kv_cache.KVCache]:
  """As `policy.decode`, but for hidden states, float32, that lie [D, B]."""
  x = _embed(weights, tokens)
  turns = _turns(shape, positions)
  pairs = []
  for layer, keys, values in zip(
    weights.layers, cache.keys, cache.values, strict=True
  ):
    query, key, value = _projections(shape, layer, x, turns)
    query = query.transpose(3, 0, 1, 2)  # [B, N, G, h]
    key, value = key.transpose(2, 0, 1), value.transpose(2, 0, 1)
    pairs.append(kv_cache.write(keys, values, key, value, positions))
    mixed = kv_cache.attend(query, *pairs[-1], positions)
    mixed = mixed.transpose(1, 2, 3, 0).reshape(-1, len(tokens))
    x = _rest(shape, layer, x, mixed)
  hidden = _norm(x, weights.norm, shape.rms_norm_eps)
  return hidden, kv_cache.KVCache(*zip(*pairs, strict=True))


def logits_of(weights: Weights, hidden: jax.Array) -> jax.Array:
  """Float32 logits [B, V] of hidden states [D, B]; they lie [V, B]."""
  return _product(weights.head, hidden).T


def prefill(
  shape: policy.PolicyConfig,
  weights: Weights,
  tokens: jax.Array,
  lengths: jax.Array,
) -> kv_cache.KVCache:
  """Keys and values of prompts, for no more tokens than there are.

  Args:
    shape: of the policy.
    weights: of `weights_of`.
    tokens: int32 [P, W], padded on the right.
    lengths: int32 [P], tokens in use, 0 to W.

  Returns:
    As of `policy.forward`, but float32: [P, N, h, W] and [P, N, W, h] a layer;
    columns from a row's length on are finite and mean nothing.
  """
  c, (P, W) = shape, tokens.shape
  chunk = min(CHUNK, P * W)
  size = P * W + -(P * W) % chunk
  shared = _shared(tokens, lengths)
  begins, places = _places(lengths, shared, size)
  flat = tokens[places[0], places[1]].reshape(-1, chunk)
  turns = _turns(c, places[1].reshape(-1, chunk))  # [h / 2, n, chunk]
  count = (jnp.sum(lengths - shared) + chunk - 1) // chunk
  # A row is read and written as W columns from its start.
  room = size + W + -W % min(BLOCK, W)
  heads = c.num_kv_heads, c.num_heads // c.num_kv_heads, c.head_dim
  x = _embed(weights, flat)  # [n, D, chunk]
  query = jnp.zeros((*heads, room))
  key = value = jnp.zeros((heads[0], heads[2], room))
  mixed, pairs = query, []

  def of_chunk(last, layer, j, carry):
    """Ends the layer before on a chunk of tokens, and begins this one."""
    x, *wholes = carry
    here, own = j * chunk, x[j]
    if last is not None:
      added = jax.lax.dynamic_slice_in_dim(mixed, here, chunk, axis=-1)
      own = _rest(c, last, own, added.reshape(-1, chunk))
      x = x.at[j].set(own)
    parts = _projections(c, layer, own, [turn[:, j] for turn in turns])
    wholes = [
      jax.lax.dynamic_update_slice_in_dim(whole, part, here, axis=-1)
      for whole, part in zip(wholes, parts, strict=True)
    ]
    return x, *wholes

  for i, layer in enumerate(weights.layers):
    last = weights.layers[i - 1] if i else None
    x, query, key, value = jax.lax.fori_loop(
      0,
      count,
      functools.partial(of_chunk, last, layer),
      (x, query, key, value),
    )
    is_last = i == len(weights.layers) - 1  # whose queries nobody asks for
    mixed, *pair = _attend_rows(
      None if is_last else query,
      key,
      value,
      mixed,
      begins,
      shared,
      lengths,
      W,
    )
    pairs.append(pair)
  return kv_cache.KVCache(*zip(*pairs, strict=True))


def hidden_of(
  shape: policy.PolicyConfig,
  weights: Weights,
  tokens: jax.Array,
  length: jax.Array,
) -> jax.Array:
  """Hidden states [D, W] of one row, float32, as `policy.forward` has them.

  Args:
    shape: of the policy.
    weights: of `weights_of`.
    tokens: int32 [W], padded on the right to a multiple of `BLOCK`.
    length: int32 [], tokens in use; columns from there on mean nothing.
  """
  x = _embed(weights, tokens)
  turns = _turns(shape, jnp.arange(len(tokens)))
  for layer in weights.layers:
    parts = _projections(shape, layer, x, turns)
    mixed = _attend(*parts, 0, length)
    x = _rest(shape, layer, x, mixed.reshape(-1, len(tokens)))
  return _norm(x, weights.norm, shape.rms_norm_eps)


def _shared(tokens, lengths):
  """Of each row, how many tokens it begins with are those of the first row.

  They are computed once: 0 of the first row itself.
  """
  columns = jnp.arange(tokens.shape[1])
  both = jnp.minimum(lengths, lengths[0])
  is_same = (tokens == tokens[0]) & (columns < both[:, None])
  shared = jnp.sum(jnp.cumprod(is_same, axis=1, dtype=jnp.int32), axis=1)
  return shared.at[0].set(0)


def _places(lengths, shared, size):
  """Where rows would begin among the tokens, had they their shared ones before
  their own, and of each token its row and column."""
  own = lengths - shared
  ends = jnp.cumsum(own)
  index = jnp.arange(size)
  rows = jnp.searchsorted(ends, index, side='right')
  rows = jnp.minimum(rows, len(lengths) - 1)
  begins = ends - own - shared
  return begins, (rows, index - begins[rows])


def _attend_rows(query, key, value, mixed, begins, shared, lengths, columns):
  """Attention row by row: what it mixes, and keys and values as a cache.

  Args:
    query: [N, G, h, M], or None: nothing is mixed.
    key, value: [N, h, M].
    mixed: [N, G, h, M], written to.
    begins, shared: int32 [P], see `_places` and `_shared`.
    lengths: int32 [P].
    columns: W, at most from where a row begins to M.
  """
  N, h, _ = key.shape
  P, wide = len(begins), columns + -columns % min(BLOCK, columns)

  def of_row(p, carry):
    mixed, keys, values = carry
    is_shared = jnp.arange(wide) < shared[p]

    def cut(x):
      return jax.lax.dynamic_slice_in_dim(x, begins[p], wide, axis=-1)

    own_key, own_value = (
      jnp.where(is_shared, x[..., :wide], cut(x)) for x in (key, value)
    )
    keys = keys.at[p].set(own_key[..., :columns])
    values = values.at[p].set(own_value[..., :columns].swapaxes(-1, -2))
    if query is not None:
      own = _attend(cut(query), own_key, own_value, shared[p], lengths[p])
      # What is shared is there.  What goes beyond this row's end is where the
      # next ones have their own.
      own = jnp.where(is_shared, cut(mixed), own)
      mixed = jax.lax.dynamic_update_slice_in_dim(mixed, own, begins[p], -1)
    return mixed, keys, values

  used = jnp.max(jnp.where(lengths > 0, jnp.arange(1, P + 1), 0))
  keys = jnp.zeros((P, N, h, columns), key.dtype)
  return jax.lax.fori_loop(
    0, used, of_row, (mixed, keys, keys.reshape(P, N, columns, h))
  )


def _attend(query, key, value, first, length):
  """Causal attention in blocks, of one row: [N, G, h, W] and [N, h, W].

  Only blocks with tokens are read, those before the row's length, and only
  those with queries from the first on are computed.
  """
  N, G, h, W = query.shape
  block = min(BLOCK, W)
  query = query * h**-0.5
  ones = jnp.ones((N, 1, W), value.dtype)
  # With a line of ones, mixing sums the weights too.
  value = jnp.concatenate([value, ones], axis=1)
  lines = jnp.arange(block)
  is_seen = jnp.tile(
    lines[:, None] <= lines, (1, G)
  )  # keys, queries of a block

  def cut(x, i):
    return jax.lax.dynamic_slice_in_dim(x, i * block, block, axis=-1)

  def of_queries(i, out):
    own = cut(query, i).transpose(0, 2, 1, 3).reshape(N, h, G * block)

    def add_keys(j, carry):
      top, mixed = carry
      scores = _dot('nhk,nhq->nkq', cut(key, j), own)
      scores = jnp.where((j < i) | is_seen, scores, -1e30)
      new_top = jnp.maximum(top, jnp.max(scores, axis=1, keepdims=True))
      weights = jnp.exp(scores - new_top).astype(value.dtype)
      added = _dot('nhk,nkq->nhq', cut(value, j), weights)
      return new_top, mixed * jnp.exp(top - new_top) + added

    top = jnp.full((N, 1, G * block), -1e30, jnp.float32)
    mixed = jnp.zeros((N, h + 1, G * block), jnp.float32)
    _, mixed = jax.lax.fori_loop(0, i + 1, add_keys, (top, mixed))
    mixed = (mixed[:, :h] / mixed[:, h:]).astype(out.dtype)
    mixed = mixed.reshape(N, h, G, block).transpose(0, 2, 1, 3)
    return jax.lax.dynamic_update_slice_in_dim(out, mixed, i * block, axis=-1)

  count = (length + block - 1) // block
  return jax.lax.fori_loop(
    first // block, count, of_queries, jnp.zeros_like(query)
  )


def _projections(c, layer, x, turns):
  """Query [N, G, h, M], key and value [N, h, M] of activations [D, M]."""
  x = _norm(x, layer['attention_norm'], c.rms_norm_eps)
  y = _product(layer['q_k_v'], x)
  if 'q_k_v_bias' in layer:
    y += layer['q_k_v_bias'][:, None]
  y = y.reshape(-1, c.head_dim, x.shape[-1])
  query, key, value = jnp.split(
    y, [c.num_heads, c.num_heads + c.num_kv_heads]
  )  # fmt: skip
  if 'q_norm' in layer:
    query = _norm(query, layer['q_norm'], c.rms_norm_eps)
    key = _norm(key, layer['k_norm'], c.rms_norm_eps)
  query, key = (rope.turn(y, *turns, axis=-2) for y in (query, key))
  return query.reshape(c.num_kv_heads, -1, *query.shape[1:]), key, value


def _rest(c, layer, x, mixed):
  """What comes after attention: [D, M], of [D, M] and of mixed [H * h, M]."""
  x += _product(layer['o'], mixed)
  y = _norm(x, layer['mlp_norm'], c.rms_norm_eps)
  gate, up = jnp.split(_product(layer['gate_up'], y), 2)
  return x + _product(layer['down'], jax.nn.silu(gate) * up)


def _product(kernel, x):
  """Float32 [out, M] of a kernel [out, in] and of [in, M], in its dtype."""
  return jnp.dot(
    kernel, x.astype(kernel.dtype), preferred_element_type=jnp.float32
  )


def _embed(weights, tokens):
  """Float32 [..., D, M] of tokens [..., M]."""
  # Gathered as it is to lie: after a transposition XLA takes the products for
  # those of columns, and multiplies in float32.  Out of a loop it would take
  # the conversion of the whole embedding, unless a barrier keeps that inside.
  embedding, tokens = jax.lax.optimization_barrier((weights.embedding, tokens))
  columns = jax.lax.gather(
    embedding,
    tokens[..., None],
    jax.lax.GatherDimensionNumbers((tokens.ndim - 1,), (0,), (0,)),
    (1, embedding.shape[1]),
    mode='clip',
  )
  return columns.astype(jnp.float32)


def _norm(x, scale, eps):
  """`policy.RMSNorm` over the last axis but one."""
  x32 = x.astype(jnp.float32)
  x32 *= jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-2, keepdims=True) + eps)
  return (x32 * scale[:, None]).astype(x.dtype)


def _turns(c, positions):
  """Sines and cosines [h / 2, ...] of positions."""
  return rope.sines(positions, *rope.turns_of(c), axis=0)


def _dot(equation, a, b):
  return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)
