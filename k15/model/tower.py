"""The tower: patches of pictures in, features of the policy's width out.

One definition, of which the towers of Qwen2-VL, 2.5-VL and 3-VL, of Kimi-VL and
of SmolVLM are configurations: patches are embedded, turned by their rows and
columns (2D RoPE) or not, and mixed by Transformer blocks without causality; a
merger makes one feature of merge x merge patches.  Pictures of a row lie behind
each other, and segment ids keep them apart, as do windows within a picture
where a block has them.

Axes: B rows, N patches a row has room for, M = N / merge^2 features, D width of
the tower, F of its MLP, H heads, h head width, E width of the policy.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from k15.devices import sharding
from k15.model import attention as attention_lib
from k15.model import layers
from k15.model import rope
from k15.vision.rows import Images

THETA = 10000.0  # of the 2D RoPE of the towers we know

_ACTIVATIONS = {
  'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
  'quick_gelu': lambda x: x * jax.nn.sigmoid(1.702 * x),
}
MLPS = (*_ACTIVATIONS, 'swiglu')


@dataclasses.dataclass(frozen=True)
class VisionConfig:
  """Shape of a tower, and the tokens that stand for what it sees.

  Attributes:
    num_layers: blocks.
    width: D; heads that are turned are divisible by 4, for rows and columns.
    num_heads: H.
    d_ff: F.
    patch_size: p, pixels of a patch's side.
    merge_size: patches of the side of what becomes one feature.
    temporal_size: frames of a patch; a picture is shown so many times.
    norm: 'layer' or 'rms'.
    mlp: one of MLPS; 'swiglu' has a gate.
    grid: side of a learned table of positions, read between its points; patches
      then have a bias too.  0: 2D RoPE alone says where a patch is.
    rotates: whether 2D RoPE turns heads; otherwise the table alone says it.
    between: how: 'bilinear', the table's corners on the picture's (Qwen3-VL),
      or 'bicubic', its edges on the picture's (MoonViT, arXiv 2504.07491).
    alternates: whether columns and rows take turns in the frequencies of 2D
      RoPE, as in MoonViT; otherwise rows come first.
    window: side of a block's window, in features; 0: blocks see whole pictures.
    full_layers: blocks that do so although there are windows.
    deepstack: blocks behind which a merger of their own feeds the first layers
      of the policy, one each (DeepStack, arXiv 2406.04334).
    final_norm: whether there is one behind the blocks, before the merger's.
    merger_mlp: whether a merger is a norm and an MLP; otherwise it is one
      matrix without a bias (Idefics3, arXiv 2408.12637, section 3.2).
    eps: of all norms.
    mean, std: of red, green and blue in [0, 1], by which pixels are normalized.
    image_id: the token for which features stand.
    video_id: another placeholder of the tokenizer, never fed; -1: none.
    start_ids, end_ids: tokens in front of a picture and behind it.
  """

  num_layers: int
  width: int
  num_heads: int
  d_ff: int
  patch_size: int
  merge_size: int
  temporal_size: int
  norm: str
  mlp: str
  image_id: int
  video_id: int = -1
  start_ids: tuple[int, ...] = ()
  end_ids: tuple[int, ...] = ()
  grid: int = 0
  rotates: bool = True
  between: str = 'bilinear'
  alternates: bool = False
  window: int = 0
  full_layers: tuple[int, ...] = ()
  deepstack: tuple[int, ...] = ()
  final_norm: bool = False
  merger_mlp: bool = True
  eps: float = 1e-6
  mean: tuple[float, ...] = (0.5, 0.5, 0.5)
  std: tuple[float, ...] = (0.5, 0.5, 0.5)


@flax.struct.dataclass
class Features:
  """What a tower makes of the pictures of rows.

  Attributes:
    merged: [B, M, E], in place of embeddings.
    deep: for each of `deepstack` [B, M, E], added behind layers of the policy.
  """

  merged: jax.Array
  deep: tuple[jax.Array, ...]


def one_block(v: VisionConfig) -> Images:
  """A picture of one feature, black: what parameters are drawn for."""
  one, n = jnp.int32, v.merge_size**2
  return Images(
    patches=jnp.zeros((1, n, 3 * v.patch_size**2), jnp.uint8),
    places=jnp.zeros((1, n, 2), one),
    sizes=jnp.ones((1, n, 2), one),
    numbers=jnp.ones((1, n), one),
    index=None,
    positions=None,
  )


def encode(shape: Any, params: Any, images: Images) -> Features:
  """Features of the pictures of rows.

  Args:
    shape: the `PolicyConfig`.
    params: of the tower, unboxed.
    images: the rows'; `index` and `positions` are not read.
  """
  return Tower(shape).apply({'params': params}, images)


class Tower(nn.Module):
  """Patch embedding, blocks and mergers of a `PolicyConfig`'s vision."""

  shape: Any

  @nn.compact
  def __call__(self, images):
    v = self.shape.vision
    x = self._embed(images)
    x, seen = self._blocks(x, images)
    if v.final_norm:
      x = _norm(self.shape, 'norm')(x)
    merged = Merger(self.shape, name='merger')(x)
    deep = tuple(
      # These have their norm behind the joining: Qwen3-VL has it so.
      Merger(self.shape, joins_first=True, name=f'deep_{k}')(seen[layer])
      for k, layer in enumerate(v.deepstack)
    )
    return Features(merged, deep)

  def _embed(self, images):
    c, v = self.shape, self.shape.vision
    p = v.patch_size
    kernel = self.param(
      'patch',
      # As the files have it, so that all its bits come back: frames of a
      # picture are equal, and their kernels are summed here.
      nn.with_logical_partitioning(
        nn.initializers.variance_scaling(
          1.0, 'fan_in', 'normal', in_axis=(1, 2, 3, 4), out_axis=0
        ),
        ('embed', 'pixels', 'pixels', 'pixels', 'pixels'),
      ),
      (v.width, 3, v.temporal_size, p, p),
      jnp.dtype(c.param_dtype),
    )
    pixels = images.patches.astype(jnp.float32) / 255
    mean, std = (np.repeat(np.float32(x), p * p) for x in (v.mean, v.std))
    pixels = ((pixels - mean) / std).astype(jnp.dtype(c.dtype))
    flat = kernel.astype(jnp.float32).sum(axis=2).reshape(v.width, -1).T
    x = layers.matmul(pixels, flat.astype(pixels.dtype))
    if not v.grid:
      return x
    bias = _vector(self, 'patch_bias', v.width, 'norm')
    table = self.param(
      'places',
      nn.with_logical_partitioning(
        nn.initializers.normal(0.02), ('places', 'embed')
      ),
      (v.grid**2, v.width),
      jnp.dtype(c.param_dtype),
    )
    between = _between(table, v, images.places, images.sizes)
    return x + bias.astype(x.dtype) + between.astype(x.dtype)

  def _blocks(self, x, images):
    """Hidden states behind the last block, and behind each of `deepstack`."""
    c, v = self.shape, self.shape.vision
    block = layers.remat(Block, c.remat)
    whole, windows = images.numbers, _windows(v, images) if v.window else None
    if not c.scan_layers:
      seen = {}
      for i in range(v.num_layers):
        ids = windows if v.window and i not in v.full_layers else whole
        x, _ = block(c, name=f'layer_{i}')(x, None, images.places, ids, None)
        if i in v.deepstack:
          seen[i] = x
      return x, seen
    is_full = np.isin(np.arange(v.num_layers), v.full_layers)
    stack = nn.scan(
      block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
      out_axes=0,
      length=v.num_layers,
      metadata_params={nn.PARTITION_NAME: 'layers'},
    )(c, name='layers')
    return stack(x, jnp.asarray(is_full), images.places, whole, windows)


class Block(nn.Module):
  """One layer: attention and an MLP, each behind a norm and a residual."""

  shape: Any

  @nn.compact
  def __call__(self, x, is_full, places, whole, windows):
    """Returns the hidden states, twice where a scan is to keep them.

    `windows` None means that `whole` are the segments of all; `is_full` chooses
    between the two otherwise.
    """
    c, v = self.shape, self.shape.vision
    ids = whole if windows is None else jnp.where(is_full, whole, windows)
    y = _norm(c, 'norm1')(x)
    x = x + self._attend(y, places, ids)
    x = sharding.constrain(x, ('batch', None, None))
    y = _norm(c, 'norm2')(x)
    if v.mlp == 'swiglu':
      gate = _linear(self, 'gate_proj', y, v.d_ff, ('embed', 'mlp'))
      up = _linear(self, 'up_proj', y, v.d_ff, ('embed', 'mlp'))
      y = jax.nn.silu(gate) * up
    else:
      y = _linear(self, 'up_proj', y, v.d_ff, ('embed', 'mlp'))
      y = _ACTIVATIONS[v.mlp](y)
    x = x + _linear(self, 'down_proj', y, v.width, ('mlp', 'embed'))
    x = sharding.constrain(x, ('batch', None, None))
    return x, x if v.deepstack else None

  def _attend(self, x, places, ids):
    c, v = self.shape, self.shape.vision
    (B, N, D), h = x.shape, v.width // v.num_heads
    kernel = self.param(
      'qkv',
      nn.with_logical_partitioning(
        nn.initializers.variance_scaling(
          1.0, 'fan_in', 'normal', batch_axis=(0,)
        ),
        ('qkv', 'embed', 'vision_heads'),
      ),
      (3, D, D),
      jnp.dtype(c.param_dtype),
    )
    bias = self.param(
      'qkv_bias',
      nn.with_logical_partitioning(
        nn.initializers.zeros, ('qkv', 'vision_heads')
      ),
      (3, D),
      jnp.dtype(c.param_dtype),
    )
    query, key, value = (
      (layers.matmul(x, kernel[i].astype(x.dtype)) + bias[i].astype(x.dtype))
      .reshape(B, N, v.num_heads, h)
      for i in range(3)
    )  # fmt: skip
    if v.rotates:
      query, key = (_turned(v, y, places) for y in (query, key))
    out = attention_lib.attend(
      query.transpose(0, 2, 1, 3)[:, :, None],
      key.transpose(0, 2, 3, 1),
      value.transpose(0, 2, 1, 3),
      ids,
      c.attention,
      causal=False,
    )
    out = out[:, :, 0].transpose(0, 2, 1, 3).reshape(B, N, D)
    return _linear(self, 'proj', out, D, ('vision_heads', 'embed'))


class Merger(nn.Module):
  """Joins the patches of a block and maps them to the policy's width."""

  shape: Any
  joins_first: bool = False  # the norm is of what is joined

  @nn.compact
  def __call__(self, x):
    c, v = self.shape, self.shape.vision
    joined = v.merge_size**2 * v.width
    if not v.merger_mlp:
      x = x.reshape(len(x), -1, joined)
      axes = ('mlp', 'embed')
      return _linear(self, 'down_proj', x, c.d_model, axes, use_bias=False)
    if self.joins_first:
      x = x.reshape(len(x), -1, joined)
    x = _norm(c, 'norm')(x).reshape(len(x), -1, joined)
    x = _linear(self, 'up_proj', x, joined, ('embed', 'mlp'))
    x = jax.nn.gelu(x, approximate=False)
    return _linear(self, 'down_proj', x, c.d_model, ('mlp', 'embed'))


class LayerNorm(nn.Module):
  """(x - mean) / std * scale + bias over the last axis, in float32."""

  eps: float
  param_dtype: str

  @nn.compact
  def __call__(self, x):
    scale = _vector(self, 'scale', x.shape[-1], 'norm', nn.initializers.ones)
    bias = _vector(self, 'bias', x.shape[-1], 'norm')
    x32 = x.astype(jnp.float32)
    x32 -= jnp.mean(x32, axis=-1, keepdims=True)
    square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
    x32 *= jax.lax.rsqrt(square + self.eps)
    return (x32 * scale + bias).astype(x.dtype)


def _norm(c, name):
  kind = layers.RMSNorm if c.vision.norm == 'rms' else LayerNorm
  return kind(c.vision.eps, c.param_dtype, name=name)


def _turned(v, x, places):
  """Heads [B, N, H, h] by 2D RoPE."""
  h = x.shape[-1]
  # Half of the frequencies count rows, and the same ones count columns.
  frequencies = rope.base_frequencies(h // 2, THETA)
  if v.alternates:
    frequencies, axes = np.repeat(frequencies, 2), np.tile([1, 0], h // 4)
  else:
    frequencies, axes = np.tile(frequencies, 2), np.repeat([0, 1], h // 4)
  return rope.rotate(x, places, frequencies, axes=axes)


def _linear(module, name, x, width, axes, use_bias=True):
  """x @ kernel + bias."""
  c = module.shape
  kernel = module.param(
    name,
    nn.with_logical_partitioning(layers.initializer(), axes),
    (x.shape[-1], width),
    jnp.dtype(c.param_dtype),
  )
  y = layers.matmul(x, kernel.astype(x.dtype))
  if not use_bias:
    return y
  return y + _vector(module, f'{name}_bias', width, axes[1]).astype(x.dtype)


def _vector(module, name, width, axis, start=nn.initializers.zeros):
  dtype = getattr(module, 'param_dtype', None) or module.shape.param_dtype
  return module.param(
    name,
    nn.with_logical_partitioning(start, (axis,)),
    (width,),
    jnp.dtype(dtype),
  )


def _between(table, v, places, sizes):
  """A table [side^2, D] of VisionConfig v read between its points.

  Of a side of n patches, place i lies at i (side - 1) / (n - 1) in the table
  where corners meet, and at (i + 1 / 2) side / n - 1 / 2 where edges do.  What
  is there is mixed from the two or four points around it, by row and by column:
  float32 [B, N, D].
  """
  side = np.float32(v.grid)
  if v.between == 'bilinear':
    at, offsets = places * (side - 1) / jnp.maximum(sizes - 1, 1), np.arange(2)
  else:
    at, offsets = (places + 0.5) * side / sizes - 0.5, np.arange(-1, 3)
  low = jnp.floor(at)[..., None]
  far = jnp.abs(at[..., None] - low - offsets)
  weights = jnp.maximum(1 - far, 0)
  if v.between == 'bicubic':
    weights = _keys(far)
  index = jnp.clip(low.astype(jnp.int32) + offsets, 0, v.grid - 1)
  total = 0
  for i in range(len(offsets)):
    for j in range(len(offsets)):
      point = table[index[..., 0, i] * v.grid + index[..., 1, j]]
      weight = weights[..., 0, i] * weights[..., 1, j]
      total += point.astype(jnp.float32) * weight[..., None]
  return total


def _keys(x, a=-0.75):
  """Keys' cubic kernel at distances x in [0, 2], with the a of torch."""
  near = ((a + 2) * x - (a + 3)) * x * x + 1
  return jnp.where(x <= 1, near, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a)


def _windows(v, images):
  """int32 [B, N]: a segment id for each window of each picture; 0: padding.

  The windows are those of Qwen2.5-VL, which reorders patches by them: ids need
  no order, and the result is the same.
  """
  window = v.window * v.merge_size  # patches of its side
  place = images.places // window
  columns = -(-images.sizes[..., 1] // window)
  # A picture of n patches has at most n windows, and a row at most N patches.
  ids = images.numbers * (images.numbers.shape[1] + 1)
  ids += place[..., 0] * columns + place[..., 1]
  return jnp.where(images.numbers > 0, ids, 0)
