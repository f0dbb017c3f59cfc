"""What tells weights apart: those on devices, copies of them, and on disk.

Arrays are told apart by one number each,

  sum over elements of h(bits ^ (0x9E3779B9 * position)) mod 2^32,

where h mixes a word and position counts elements in row-major order: it is the
same however the array is laid out over devices, and in whatever order they add
up, as no sum of floats would be.
"""

import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

# Of a file of weights: its header, which says what is where, and its last
# tensors.  To read all of a model of 7B takes minutes, before every stage.
_END_BYTES = 1 << 20


def of_params(params: Any) -> str:
  """24 hexadecimal digits of all weights, whatever devices they lie on."""
  found = [
    [jax.tree_util.keystr(path), list(x.shape), str(x.dtype), int(_sum(x))]
    for path, x in jax.tree_util.tree_leaves_with_path(params)
  ]
  return hashlib.sha256(json.dumps([found]).encode()).hexdigest()[:24]


def of_model(directory: pathlib.Path) -> str:
  """Tells models apart by names, sizes, both ends of each file of weights."""
  digest = hashlib.sha256()
  for path in sorted(directory.iterdir()):
    if path.suffix in ('.json', '.safetensors'):
      digest.update(f'{path.name} {path.stat().st_size} '.encode())
      with path.open('rb') as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        digest.update(file.read())
  return digest.hexdigest()


def of_copies(arrays: Sequence[jax.Array], version: int) -> np.ndarray:
  """Sums every copy of each array, to see that all are what was sent.

  A row holds the least and the largest sum of an array's copies, and the last
  row those of the version.

  Args:
    arrays: of 1, 2, 4 or 8 bytes an element.
    version: as this process knows it.

  Returns:
    uint32 [len(arrays) + 1, 2]; [0, 2] if there are no arrays.
  """
  if not arrays:
    return np.zeros((0, 2), np.uint32)
  shardings = tuple(array.sharding for array in arrays)
  with jax.set_mesh(shardings[0].mesh):  # Another one may be in force.
    sums = _sums_of_copies(list(arrays), np.uint32(version), shardings)
  return np.asarray(sums)


@functools.partial(jax.jit, static_argnums=2)
def _sums_of_copies(arrays, version, shardings):
  mesh = shardings[0].mesh
  specs = [sharding.spec for sharding in shardings]
  everywhere = PartitionSpec()

  def local(version, *blocks):
    sums = [
      _sum_of_copy(block, array.shape, spec, mesh)
      for block, array, spec in zip(blocks, arrays, specs, strict=True)
    ]
    # The version travels with the sums: a process that is one behind is found
    # by the same comparison.
    sums = jnp.stack([*sums, version])
    copies = jax.lax.all_gather(sums, mesh.axis_names)
    return jnp.stack([copies.min(axis=0), copies.max(axis=0)], axis=1)

  return jax.shard_map(
    local,
    mesh=mesh,
    in_specs=(everywhere, *specs),
    out_specs=everywhere,
    check_vma=False,
  )(version, *arrays)


def _sum_of_copy(block, shape, spec, mesh):
  """Sum of the copy of an array that this block is a part of."""
  position = jnp.zeros((), jnp.uint32)
  split = []
  for axis, here in enumerate(block.shape):
    axes = spec[axis] if axis < len(spec) else None
    # Where an axis is split this block begins at its own offset: positions are
    # those of the whole array, so that layouts do not matter.
    axes = () if axes is None else (axes,) if isinstance(axes, str) else axes
    first = jax.lax.axis_index(axes) * here if axes else 0
    index = jax.lax.broadcasted_iota(jnp.uint32, block.shape, axis)
    stride = math.prod(shape[axis + 1 :]) % (1 << 32)
    position += (index + jnp.uint32(first)) * jnp.uint32(stride)
    split += axes
  total = jnp.sum(_mixed(_words(block), position), dtype=jnp.uint32)
  return jax.lax.psum(total, tuple(split)) if split else total


@jax.jit
def _sum(x):
  position = jnp.arange(x.size, dtype=jnp.uint32).reshape(x.shape)
  return jnp.sum(_mixed(_words(x), position), dtype=jnp.uint32)


def _words(block):
  """uint32 words of the elements; those of 8 bytes are folded into one."""
  width = block.dtype.itemsize
  if block.dtype == jnp.bool_:
    return block.astype(jnp.uint32)
  if width == 8:
    halves = jax.lax.bitcast_convert_type(block, jnp.uint32)
    return halves[..., 0] + halves[..., 1] * jnp.uint32(0x85EBCA6B)
  unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[width]
  return jax.lax.bitcast_convert_type(block, unsigned).astype(jnp.uint32)


def _mixed(words, position):
  """Murmur3's finalizer: every bit of word and position moves all others."""
  h = words ^ (position * jnp.uint32(0x9E3779B9))
  h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
  h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
  return h ^ (h >> 16)
