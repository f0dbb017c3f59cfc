"""Memory of the host: arrays that wait there, and what its allocator keeps.

A `Shelf` holds arrays while the devices decode.  Every process moves its own
shards, to memory that the devices can reach directly ('pinned_host') where the
backend has it, or else to numpy.  They come back bit by bit.
"""

import collections
import contextlib
import ctypes
import sys
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

# Options of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


class Shelf:
  """Holds one tree of arrays off the devices."""

  def __init__(self, memory_kind: str = 'pinned_host'):
    """`memory_kind` is used where devices have it, and numpy elsewhere."""
    self._kind = memory_kind
    self._tree, self._leaves = None, None
    self._metrics = collections.Counter()

  def put(self, tree: Any) -> None:
    """Takes a tree of arrays off the devices, whose memory is freed."""
    start = time.perf_counter()
    leaves, self._tree = jax.tree.flatten(tree)
    self._leaves = [self._away(leaf) for leaf in leaves]
    jax.block_until_ready([shards for _, _, shards in self._leaves])
    # Only when all copies are complete; `delete` frees the devices now, however
    # many others still refer to the arrays.
    for leaf in leaves:
      leaf.delete()
    self._count(start)

  def take(self) -> Any:
    """The tree again, where it was; the shelf is empty then."""
    start = time.perf_counter()
    leaves = [_back(*leaf) for leaf in self._leaves]
    jax.block_until_ready(leaves)
    self._count(start)
    tree, self._tree, self._leaves = self._tree, None, None
    return jax.tree.unflatten(tree, leaves)

  def pop_metrics(self) -> dict[str, float]:
    """Seconds and bytes, there and back, since the last call, if any."""
    metrics, self._metrics = dict(self._metrics), collections.Counter()
    return metrics

  def _away(self, leaf):
    """Shape, sharding and the shards of this process, each with its device."""
    shards = []
    for shard in leaf.addressable_shards:
      kinds = [memory.kind for memory in shard.device.addressable_memories()]
      if self._kind in kinds:
        where = SingleDeviceSharding(shard.device, memory_kind=self._kind)
        data = jax.device_put(shard.data, where)
      else:
        data = np.array(shard.data)
      shards.append((shard.device, data))
    return leaf.shape, leaf.sharding, shards

  def _count(self, start):
    self._metrics['offload/seconds'] += time.perf_counter() - start
    self._metrics['offload/bytes'] += sum(
      data.nbytes for _, _, shards in self._leaves for _, data in shards
    )


def drop(tree: Any) -> None:
  """Frees the devices of arrays that nobody will ask for again."""
  for leaf in jax.tree.leaves(tree):
    leaf.delete()


def _back(shape, sharding, shards):
  return jax.make_array_from_single_device_arrays(
    shape,
    sharding,
    [
      jax.device_put(data, SingleDeviceSharding(device))
      for device, data in shards
    ],
  )


def keep_freed(threads_compute: bool = False) -> None:
  """Lets glibc keep what XLA frees: on CPU, a third of a step is page faults.

  XLA allocates the temporaries of every call anew; returned to the system,
  they come back as untouched pages each time.  To be called before the first
  device is asked for.  Does nothing where the C library is another one.

  What glibc keeps has to be memory that has no end, which is the main thread's
  alone: other threads have parts of 64 MB, and what does not fit is a mapping,
  unmapped when it is freed.  So on CPU whoever calls a program computes it, and
  allocates, instead of a thread of XLA.

  Args:
    threads_compute: whether other threads than the main one call programs.
      Then all threads share its memory, and wait for each other where they
      allocate: compiling takes an eighth longer, small steps a twentieth.
      Libraries whose threads run already keep what they have.
  """
  if not sys.platform.startswith('linux'):
    return
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is None:
    return
  # Large blocks otherwise are mappings of their own, unmapped when freed, and
  # the end of the heap is trimmed.
  mallopt(_MMAP_MAX, 0)
  mallopt(_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(_TOP_PAD, 64 * 2**20)
  if threads_compute:
    mallopt(_ARENA_MAX, 1)
    return
  with contextlib.suppress(AttributeError):  # A later jax may have no such key.
    jax.config.update('jax_cpu_enable_async_dispatch', False)
