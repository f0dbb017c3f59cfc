"""Attention of whole rows: within segments, causal or not, by platform.

All take query [B, N, G, T, h] (not scaled), key [B, N, h, T], value
[B, N, T, h] and segment_ids int32 [B, T], 0 for padding, and return
[B, N, G, T, h]; what they return for padding is finite and means nothing.
All but splash also take prompt_ids int32 [B, T], a second segment that a query
sees: the prompt that the responses of a row share.
Axes: B rows, N key-value heads, G query heads of each, T tokens, h head width.

  plain    short rows: scores of all pairs of a block of queries at once
  chunked  long rows on any platform, `k15.model.chunked_attention`
  splash   TPU: the Pallas kernel that comes with jax
  cudnn    GPU: cuDNN's flash attention, bfloat16 and float16
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernels,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as masks,
)
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.devices import sharding
from k15.model import chunked_attention
from k15.model import precision

KINDS = ('auto', 'plain', 'chunked', 'splash', 'cudnn')
# The kernel for TPU compares one id of a query with one of a key, and two make
# a pair of segments; all others make the mask themselves.
SHARES_PROMPTS = ('plain', 'chunked', 'cudnn')
# From here on chunks are faster than all pairs; one core, 2 heads of 32,
# forward and backward in ms, plain and chunked: 12.6 and 14.4 for 1024 tokens,
# 65 and 49 for 2048, 272 and 179 for 4096.
CHUNKED_FROM = 2048
KERNEL_FROM = 256  # shorter rows are not worth a kernel's padding

_QUERY_BLOCK = 128
_SPLASH_BLOCK = 512
_LANES = 128  # splash wants whole ones
# Above it, the mask of a packed row costs cuDNN more memory than it is worth.
_CUDNN_MASK_UP_TO = 8192
_GPU_CHUNK = 1024  # fewer and larger kernels
_HALF = (jnp.bfloat16, jnp.float16)


def attend(
  query, key, value, segment_ids, kind='auto', prompt_ids=None, causal=True
) -> jax.Array:
  """Attention within segments, in the way of `kind`.

  Under a mesh, heads and rows stay on their devices.  If the rules split
  'sequence', every device mixes for its own queries the keys and values of
  all, gathered for the layer.

  Args:
    query, key, value, segment_ids: see the page.
    kind: one of `KINDS`; 'auto' asks `pick`.
    prompt_ids: see the page; None: a query sees its own segment alone.
    causal: whether a query sees no later token; otherwise, as of the patches of
      a picture, it sees all of its segment, and columns are never split.

  Returns:
    [B, N, G, T, h].

  Raises:
    ValueError: prompts that are shared, and a kind that knows none.
  """
  B, N, _, T, _ = query.shape
  kind = pick(kind, T, query.dtype)
  if prompt_ids is not None and kind not in SHARES_PROMPTS:
    raise ValueError(
      f'attention {kind!r} knows no prompts that responses share, as'
      f' {SHARES_PROMPTS} do'
    )
  ids = (segment_ids,) if prompt_ids is None else (segment_ids, prompt_ids)
  mesh = jax.sharding.get_abstract_mesh()
  local = functools.partial(_LOCAL[kind], causal=causal)
  if mesh.empty or mesh.size == 1:
    return local(query, key, value, *ids)
  rows, heads, columns = (
    sharding.axes_of(name, size)
    for name, size in (('batch', B), ('kv_heads', N), ('sequence', T))
  )
  columns = columns if causal else None
  operands, spec = (query, key, value, *ids), PartitionSpec
  specs = (
    spec(rows, heads, None, columns),
    spec(rows, heads, None, columns),
    spec(rows, heads, columns),
    *(spec(rows, columns),) * len(ids),
  )
  if columns and kind == 'splash' and T % (_ways(mesh, columns) * _LANES) == 0:
    kernel = _splash_kernel(
      T, query.shape[1] * query.shape[2] // _ways(mesh, heads),
      _largest_block(T // _ways(mesh, columns)), _ways(mesh, columns),
    )  # fmt: skip
    layout = NamedSharding(mesh, spec(None, columns))
    local = functools.partial(_splash_gathered, axes=columns)
    operands = (*operands, kernel)
    specs = (*specs, kernel.manual_sharding_spec(layout))
  elif columns:
    # Only this way knows of queries that begin in the middle of the keys.
    local = functools.partial(_attend_gathered, axes=columns)
  elif kind not in ('splash', 'cudnn'):  # The compiler splits no kernel.
    return local(query, key, value, *ids)
  return jax.shard_map(
    local,
    mesh=mesh,
    in_specs=specs,
    out_specs=spec(rows, heads, None, columns),
    check_vma=False,
  )(*operands)


def pick(kind: str, length: int, dtype: jnp.dtype) -> str:
  """The way to attend for rows of `length` tokens where the program will run.

  Args:
    kind: one of `KINDS`.
    length: T, tokens of a row.
    dtype: of the queries.

  Raises:
    ValueError: no such kind, or cuDNN for a dtype that it does not take.
  """
  if kind not in KINDS:
    raise ValueError(f'attention {kind!r} is not one of {KINDS}')
  is_half = jnp.dtype(dtype) in _HALF
  if kind == 'cudnn' and not is_half:
    raise ValueError(
      f"attention 'cudnn' takes bfloat16 or float16, not {jnp.dtype(dtype)}"
    )
  if kind != 'auto':
    return kind
  platform = target_platform()
  if platform == 'tpu' and length >= KERNEL_FROM:
    return 'splash'
  if platform in ('gpu', 'cuda') and is_half and length >= KERNEL_FROM:
    return 'cudnn'
  return 'chunked' if length >= CHUNKED_FROM else 'plain'


def plain(
  query, key, value, segment_ids, prompt_ids=None, causal=True
) -> jax.Array:
  """Queries in blocks that see only the keys before their end.

  That halves the work of a causal mask.
  """
  T = query.shape[3]
  query, outs = scaled(query), []
  for start in range(0, T, _QUERY_BLOCK):
    end = min(start + _QUERY_BLOCK, T)
    last = end if causal else T
    scores = jnp.einsum(
      'bngth,bnhs->bngts',
      query[:, :, :, start:end],
      key[..., :last],
      preferred_element_type=jnp.float32,
    )
    seen = segment_ids[:, start:end, None] == segment_ids[:, None, :last]
    if prompt_ids is not None:
      seen |= prompt_ids[:, start:end, None] == segment_ids[:, None, :last]
    if causal:
      earlier = jnp.arange(start, end)[:, None] >= jnp.arange(end)[None]
      seen &= earlier[None]
    scores = jnp.where(seen[:, None, None], scores, -1e30)
    probs = precision.rounded(jax.nn.softmax(scores, axis=-1), value.dtype)
    mixed = jnp.einsum(
      'bngts,bnsh->bngth', probs, value[:, :, :last],
      preferred_element_type=jnp.float32,
    )  # fmt: skip
    outs.append(precision.rounded(mixed, query.dtype))
  return jnp.concatenate(outs, axis=3)


def scaled(query: jax.Array) -> jax.Array:
  """The query over the root of its width, in its dtype, rounded once."""
  scale = query.shape[-1] ** -0.5
  if query.dtype not in _HALF:
    return query * scale
  return precision.rounded(query.astype(jnp.float32) * scale, query.dtype)


def splash(
  query, key, value, segment_ids, interpret=False, causal=True
) -> jax.Array:
  """jax's Pallas kernel for TPU; `interpret` runs it on any platform."""
  _, N, G, T, _ = query.shape
  block = min(_SPLASH_BLOCK, T + -T % _LANES)
  query, key, value, ids = (
    jnp.pad(x, [(0, -T % block if i == axis else 0) for i in range(x.ndim)])
    for x, axis in ((query, 3), (key, 3), (value, 2), (segment_ids, 1))
  )
  kernel = _splash_kernel(
    T + -T % block, N * G, block, interpret=interpret, causal=causal
  )
  return _splash_rows(kernel, query, key, value, ids, ids)[:, :, :, :T]


def cudnn(
  query, key, value, segment_ids, prompt_ids=None, causal=True
) -> jax.Array:
  """cuDNN's flash attention, which knows lengths of rows but no segments.

  Rows of one sequence and padding go to it as they are.  If one row of the
  batch is packed, all take a mask, or chunks where that would be too large.
  """
  B, N, G, T, h = query.shape

  def flash(query, key, value, ids, **options):
    out = jax.nn.dot_product_attention(
      query.transpose(0, 3, 1, 2, 4).reshape(B, T, N * G, h),
      key.transpose(0, 3, 1, 2),
      value.swapaxes(1, 2),
      is_causal=causal,
      implementation='cudnn',
      **options,
    )
    return out.reshape(B, T, N, G, h).transpose(0, 2, 3, 1, 4)

  def one_sequence(*operands):
    lengths = jnp.sum(operands[3] != 0, axis=1, dtype=jnp.int32)
    lengths = jnp.maximum(lengths, 1)  # rows not in use
    return flash(
      *operands, query_seq_lengths=lengths, key_value_seq_lengths=lengths
    )

  def packed(*operands):
    if T > _CUDNN_MASK_UP_TO:
      return chunked_attention.attend(
        *operands, prompt_ids=prompt_ids, chunk=_GPU_CHUNK, causal=causal
      )
    ids = operands[3]
    seen = ids[:, :, None] == ids[:, None]
    if prompt_ids is not None:
      seen |= prompt_ids[:, :, None] == ids[:, None]
    return flash(*operands, mask=seen[:, None])

  # One sequence begins at the first column; padding, if any, is last.
  ids = segment_ids
  is_one = (ids == ids[:, :1]) | ((ids == 0) & (ids[:, -1:] == 0))
  if prompt_ids is not None:
    is_one &= prompt_ids == ids
  return jax.lax.cond(
    jnp.all(is_one), one_sequence, packed, query, key, value, ids
  )


class _CausalMask(masks.CausalMask):
  """jax's own, for which it looks at blocks instead of at all pairs.

  Those are 10 s of a compilation for rows of 32,768 tokens, and 16 times as
  many for 131,072.
  """

  def __getitem__(self, index):
    rows, columns = index
    if rows.start >= columns.stop - 1:
      return np.ones((1, 1), bool)
    if rows.stop <= columns.start:
      return np.zeros((1, 1), bool)
    return super().__getitem__(index)


def _splash_kernel(length, heads, block, parts=1, interpret=False, causal=True):
  """The kernel for rows whose queries are `parts` parts on as many devices."""
  mask = _CausalMask if causal else masks.FullMask
  return kernels.make_splash_mha(
    masks.MultiHeadMask([mask((length, length))] * heads),
    block_sizes=kernels.BlockSizes(*(block,) * 8),
    head_shards=1,
    q_seq_shards=parts,
    residual_checkpoint_name=chunked_attention.SAVED,
    interpret=interpret,
  )


def _splash_rows(kernel, query, key, value, ids, key_ids):
  B, N, G, T, h = query.shape
  out = jax.vmap(kernel)(
    query.reshape(B, N * G, T, h) * h**-0.5,
    key.swapaxes(2, 3),
    value,
    kernels.SegmentIds(ids, key_ids),
  )
  return out.reshape(query.shape)


def _splash_gathered(query, key, value, segment_ids, kernel, axes):
  """`_attend_gathered` by a kernel that knows where the queries begin."""
  gather = functools.partial(jax.lax.all_gather, axis_name=axes, tiled=True)
  return _splash_rows(
    kernel,
    query,
    gather(key, axis=3),
    gather(value, axis=2),
    segment_ids,
    gather(segment_ids, axis=1),
  )


def _largest_block(length):
  """The largest of whole lanes that divides the length, a multiple of them."""
  sizes = range(_LANES, _SPLASH_BLOCK + 1, _LANES)
  return max(size for size in sizes if length % size == 0)


def _ways(mesh, axes):
  return math.prod(mesh.shape[axis] for axis in axes or ())


def _attend_gathered(query, key, value, segment_ids, prompt_ids=None, *, axes):
  """What one device does whose columns are one of the parts of a row."""
  gather = functools.partial(jax.lax.all_gather, axis_name=axes, tiled=True)
  return chunked_attention.attend(
    query,
    gather(key, axis=3),
    gather(value, axis=2),
    segment_ids,
    gather(segment_ids, axis=1),
    first_column=jax.lax.axis_index(axes) * query.shape[3],
    prompt_ids=prompt_ids,
  )


def target_platform() -> str:
  """Where the mesh in force is, or else jax's first choice."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  platform = getattr(device, 'platform', None)
  return platform or jax.default_backend()


def _chunked(query, key, value, segment_ids, prompt_ids=None, causal=True):
  return chunked_attention.attend(
    query, key, value, segment_ids, prompt_ids=prompt_ids, causal=causal
  )


_LOCAL = {
  'plain': plain,
  'chunked': _chunked,
  'splash': splash,
  'cudnn': cudnn,
}
