"""What waits in host memory comes back bit by bit, and to its place."""

import ctypes
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.devices import host_memory
from k15.devices import sharding

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _tree():
  mesh = sharding.make_mesh(2, 2, 2)
  values = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
  values[0, 0], values[1, 0] = np.nan, -0.0
  specs = dict(rows=PartitionSpec('fsdp', 'tensor'), whole=PartitionSpec())
  tree = {
    name: jax.device_put(values, NamedSharding(mesh, spec))
    for name, spec in specs.items()
  }
  tree['half'] = tree['rows'].astype(jnp.bfloat16)
  tree['count'] = jnp.array(3, jnp.int32)  # On one device, of no mesh.
  return tree


# No device has memory of the second kind: numpy takes its place.
@pytest.mark.parametrize('kind', ['pinned_host', 'none such'])
def test_there_and_back(kind):
  tree = _tree()
  before = jax.tree.map(lambda x: (np.asarray(x).tobytes(), x.sharding), tree)
  shelf = host_memory.Shelf(kind)
  shelf.put(tree)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(tree))
  after = shelf.take()
  assert (
    jax.tree.map(lambda x: (np.asarray(x).tobytes(), x.sharding), after)
    == before
  )
  assert {leaf.sharding.memory_kind for leaf in jax.tree.leaves(after)} == {
    'device'
  }
  metrics = shelf.pop_metrics()
  # 8 devices hold 1/4 of 128 bytes, all of it, 1/4 of half of it; one 4 bytes:
  # 256 + 1024 + 128 + 4, there and back.
  assert metrics['offload/bytes'] == 2 * 1412
  assert metrics['offload/seconds'] > 0
  assert shelf.pop_metrics() == {}


def test_what_is_dropped_is_gone():
  tree = _tree()
  host_memory.drop(tree)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(tree))


# What man 3 malloc_info says: a heap for each arena.
ARENAS = """
import ctypes, pathlib, sys
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
from experiments import arithmetic
from k15 import main
from k15.runtime import preparation
import jax
folder = pathlib.Path(sys.argv[1])
preparation.prepare(folder / 'run', arithmetic.get_config('smoke'))
jax.numpy.ones(8).block_until_ready()
path = folder / 'arenas.xml'
file = ctypes.c_void_p(libc.fopen(str(path).encode(), b'w'))
libc.malloc_info(0, file)
libc.fclose(file)
print(path.read_text().count('<heap nr='))
"""


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'malloc_info'), reason='needs glibc'
)
def test_all_threads_of_a_run_share_one_arena(tmp_path):
  """In another, all above 64 MB would be mapped and unmapped in every step."""
  command = [sys.executable, '-c', ARENAS, str(tmp_path)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.split()[-1:] == ['1'], done.stdout + done.stderr
