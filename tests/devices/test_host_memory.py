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


# Temporaries of 128 MB; faults of 4 KB pages while calls run that are not the
# first ones.
FAULTS = """
import pathlib, resource, sys
from experiments import arithmetic
from k15.runtime import preparation
import jax
preparation.prepare(pathlib.Path(sys.argv[1]), arithmetic.get_config('smoke'))
x = jax.numpy.ones((4096, 4096))

@jax.jit
def call(x):
  return jax.numpy.cumsum(jax.numpy.sin(x), 1)[::-1].T @ x[:, :8]

def faults_of(calls):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  for _ in range(calls):
    call(x).block_until_ready()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of(4)
print(faults_of(4))
"""
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
config = arithmetic.get_config('smoke')
config.rollout.workers = ('127.0.0.1:9101',)  # which nobody asks
preparation.prepare(folder / 'run', config)
jax.numpy.ones(8).block_until_ready()
path = folder / 'arenas.xml'
file = ctypes.c_void_p(libc.fopen(str(path).encode(), b'w'))
libc.malloc_info(0, file)
libc.fclose(file)
print(path.read_text().count('<heap nr='))
"""


def _last_number_of(script, folder):
  command = [sys.executable, '-c', script, str(folder)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return int(done.stdout.split()[-1])


needs_glibc = pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'malloc_info'), reason='needs glibc'
)


@needs_glibc
def test_calls_of_a_run_reuse_the_pages_of_calls_before(tmp_path):
  """Mapped anew, the temporaries of four calls are 131,072 pages."""
  assert _last_number_of(FAULTS, tmp_path) < 10_000


@needs_glibc
def test_all_threads_of_a_run_with_workers_share_one_arena(tmp_path):
  """In another, all above 64 MB would be mapped and unmapped in every step."""
  assert _last_number_of(ARENAS, tmp_path) == 1
