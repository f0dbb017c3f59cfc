"""Weights on their way to a worker: checksummed shards, all of them or none.

A trainer takes a `Snapshot` of its parameters and sends the same messages to
every worker.  A worker collects them in a `Receiver`, on the host and beside
the weights that serve, and has a new tree only if every byte is there and
right.  Weights on disk are models, which `k15.checkpoints.models` reads.

Parameters are named by their path in the tree, 'Block_0/Attention_0/kernel',
and cut into shards of at most `SHARD_BYTES`.  Whose weights are newer is
decided by (trainer, version): a trainer that was started later replaces one
that was started earlier, whatever their versions are.
"""

import dataclasses
import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from k15.serving import rollout_pb2 as pb

SHARD_BYTES = 1 << 20  # with its description below any message limit


class Damaged(ValueError):
  """What arrived is not what was sent; sending it again may help."""


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
  """A copy of parameters on the host, and the header that announces it."""

  header: pb.WeightsHeader
  arrays: dict[str, np.ndarray]

  def messages(self) -> Iterator[pb.WeightsRequest]:
    """The header and all shards, in order."""
    yield pb.WeightsRequest(header=self.header)
    for index, (name, array, offset, data) in enumerate(_cut(self.arrays)):
      yield pb.WeightsRequest(
        shard=pb.Shard(
          index=index,
          name=name,
          dtype=array.dtype.name,
          shape=array.shape,
          offset=offset,
          data=bytes(data),
          crc32=zlib.crc32(data),
        )
      )


def snapshot(
  params: Any, trainer: int, version: int, live_requests: str = 'interrupt'
) -> Snapshot:
  """Copies parameters, whose buffers an optimizer may reuse afterwards.

  Args:
    params: pytree of arrays.
    trainer: uint64, larger for a trainer that was started later.
    version: of the parameters, not below that of earlier ones.
    live_requests: 'interrupt', 'drain' or 'in_flight'.
  """
  arrays = {
    # Of a CPU `device_get` may return the device's own memory, and a snapshot
    # is sent again whenever a worker comes back: it needs memory of its own.
    name: np.array(array, order='C')
    for name, array in named(jax.device_get(params)).items()
  }
  checksum, count = hashlib.sha256(), 0
  for _, _, _, data in _cut(arrays):
    checksum.update(data)
    count += 1
  header = pb.WeightsHeader(
    trainer=trainer,
    version=version,
    live_requests=live_requests,
    num_shards=count,
    total_bytes=sum(array.nbytes for array in arrays.values()),
    sha256=checksum.digest(),
  )
  return Snapshot(header, arrays)


def named(tree: Any) -> dict[str, Any]:
  """The leaves by their paths, in order of the tree."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf
    for path, leaf in leaves
  }


def unnamed(arrays: dict[str, Any], like: Any) -> Any:
  """The inverse of `named`, in the structure of `like`.

  Raises:
    ValueError: a name, shape or dtype is not that of `like`.
  """
  expected = named(like)
  different = sorted(expected.keys() ^ arrays.keys())
  if different:
    which = 'missing' if different[0] in expected else 'unknown'
    raise ValueError(
      f'{len(arrays)} parameters for the {len(expected)} of this policy:'
      f' {different[0]!r} is {which}'
    )
  for name, array in arrays.items():
    _check_kind(name, array, expected[name])
  leaves = [arrays[name] for name in expected]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def place(tree: Any, layout: Any) -> Any:
  """Puts host arrays where a layout wants them; waits until they are there.

  Args:
    tree: pytree of numpy arrays.
    layout: the same tree of `jax.ShapeDtypeStruct`s with shardings.
  """
  shardings = jax.tree.map(lambda x: x.sharding, layout)
  return jax.block_until_ready(jax.device_put(tree, shardings))


class Receiver:
  """Collects the shards of one update."""

  def __init__(self, header: pb.WeightsHeader, layout: Any):
    """Expects what the header announces; never more than the policy holds.

    Args:
      layout: pytree of `jax.ShapeDtypeStruct`, the worker's parameters.

    Raises:
      ValueError: the announced size is not that of the policy.
    """
    self._header, self._layout = header, layout
    self._kinds = named(layout)
    size = sum(_nbytes(kind) for kind in self._kinds.values())
    if header.total_bytes != size:
      raise ValueError(
        f'an update of {header.total_bytes} bytes for a policy of {size} bytes'
      )
    self._buffers, self._filled = {}, {}
    self._checksum, self._count = hashlib.sha256(), 0

  def add(self, shard: pb.Shard) -> None:
    """Takes the next shard.

    Raises:
      Damaged: it is out of order, or not as it was sent.
      ValueError: it is not of this policy.
    """
    name, data = shard.name, shard.data
    # The sum of each shard tells at once that it is damaged; that of the whole,
    # in the end, that none is missing, doubled or of another update.
    if shard.index != self._count:
      raise Damaged(f'shard {shard.index} where {self._count} was expected')
    if zlib.crc32(data) != shard.crc32:
      raise Damaged(f'shard {shard.index} of {name!r} is damaged: its crc32')
    kind = self._kinds.get(name)
    if kind is None:
      raise ValueError(f'{name!r} is no parameter of this policy')
    if name not in self._buffers:
      _check_names(name, shard, kind)
      self._buffers[name] = np.empty(_nbytes(kind), np.uint8)
      self._filled[name] = 0
    start, end = self._filled[name], self._filled[name] + len(data)
    if shard.offset != start or end > _nbytes(kind):
      raise Damaged(
        f'shard {shard.index} holds bytes {shard.offset} to'
        f' {shard.offset + len(data)} of {name!r}, where {start} of'
        f' {_nbytes(kind)} had come'
      )
    self._buffers[name][start:end] = np.frombuffer(data, np.uint8)
    self._filled[name] = end
    self._checksum.update(data)
    self._count += 1

  def finish(self) -> Any:
    """The whole tree of numpy arrays.

    Raises:
      Damaged: something is missing, or the whole is not what was sent.
    """
    filled = sum(self._filled.values())
    if (self._count, filled) != (
      self._header.num_shards,
      self._header.total_bytes,
    ):
      raise Damaged(
        f'the update ended after {self._count} of {self._header.num_shards}'
        f' shards, {filled} of {self._header.total_bytes} bytes'
      )
    if self._checksum.digest() != self._header.sha256:
      raise Damaged('the update as a whole is damaged: its sha256')
    arrays = {
      # A parameter without elements has no shard that would bring it.
      name: np.empty(0, np.uint8) if _nbytes(kind) == 0 else self._buffers[name]
      for name, kind in self._kinds.items()
    }
    arrays = {
      name: arrays[name].view(kind.dtype).reshape(kind.shape)
      for name, kind in self._kinds.items()
    }
    return unnamed(arrays, self._layout)


def _cut(arrays):
  """(name, array, offset, uint8 view) of every shard."""
  for name, array in arrays.items():
    raw = array.reshape(-1).view(np.uint8)
    for offset in range(0, len(raw), SHARD_BYTES):
      yield name, array, offset, raw[offset : offset + SHARD_BYTES]


def _nbytes(kind):
  return (
    int(np.prod(kind.shape, dtype=np.int64)) * np.dtype(kind.dtype).itemsize
  )


def _check_kind(name, array, kind):
  if array.shape != kind.shape or array.dtype != kind.dtype:
    raise ValueError(
      f'{name!r} is {array.dtype}{list(array.shape)}, and this policy has'
      f' {kind.dtype}{list(kind.shape)}'
    )


def _check_names(name, shard, kind):
  shape = tuple(shard.shape)
  if shape != kind.shape or shard.dtype != np.dtype(kind.dtype).name:
    raise ValueError(
      f'{name!r} is sent as {shard.dtype}{list(shape)}, and this policy has'
      f' {kind.dtype}{list(kind.shape)}'
    )
