"""One bit, one place, one type make another fingerprint; a layout does not."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.devices import fingerprints
from k15.devices import sharding

HERE = sharding.make_mesh(1, 8, 1)
THERE = sharding.make_mesh(2, 1, 4)


def test_fingerprints_see_one_bit_its_place_and_the_type():
  x = jnp.arange(6.0).reshape(2, 3)
  prints = {
    fingerprints.of_params({'a': x}),
    fingerprints.of_params({'b': x}),
    fingerprints.of_params({'a': x.at[1, 2].add(1e-6)}),
    fingerprints.of_params({'a': x[::-1]}),
    fingerprints.of_params({'a': x.reshape(6)}),
    fingerprints.of_params({'a': x.astype(jnp.bfloat16)}),
    fingerprints.of_params({'a': -x}),
  }
  assert len(prints) == 7
  assert fingerprints.of_params({'a': x + 0}) == fingerprints.of_params(
    {'a': x}
  )


def test_a_fingerprint_stays_what_it_was():
  """Prompt sets on disk name the weights that were asked."""
  x = jnp.arange(6.0).reshape(2, 3)
  params = {'a': x, 'b': x.astype(jnp.bfloat16)}
  assert fingerprints.of_params(params) == '12c864f991a35536d7a67a12'


def test_fingerprints_are_those_of_any_layout():
  mesh = jax.make_mesh((4,), ('x',))
  layout = jax.sharding.NamedSharding(mesh, jax.P('x'))
  x = jnp.arange(8.0)
  spread = jax.device_put(x, layout)
  assert fingerprints.of_params([spread]) == fingerprints.of_params([x])


def test_a_checksum_does_not_depend_on_the_layout():
  rng = np.random.default_rng(0)
  for dtype in (np.float32, jnp.bfloat16, np.int8, np.bool_):
    values = (100 * rng.normal(size=(16, 8))).astype(dtype)
    sums = set()
    for mesh in (HERE, THERE, sharding.make_mesh(1, 1, 1)):
      where = NamedSharding(mesh, PartitionSpec('fsdp', 'tensor'))
      array = jax.device_put(values, where)
      sums.add(fingerprints.of_copies([array], 5).tobytes())
    assert len(sums) == 1
    (low, high), version = fingerprints.of_copies([array], 5)
    assert low == high and version.tolist() == [5, 5]


def test_a_checksum_by_hand():
  where = NamedSharding(HERE, PartitionSpec('fsdp'))
  array = jax.device_put(np.arange(8, dtype=np.uint32) * 3, where)

  def mixed(word, position):
    h = word ^ position * 0x9E3779B9 % 2**32
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16

  expected = sum(mixed(3 * i, i) for i in range(8)) % 2**32
  assert fingerprints.of_copies([array], 0)[0].tolist() == [expected] * 2


def test_exchanged_elements_and_other_values_have_other_sums():
  where = NamedSharding(HERE, PartitionSpec())
  values = np.zeros(1 << 17, np.float32)
  values[0], values[1 << 16] = 1.0, 2.0
  swapped = values.copy()
  swapped[0], swapped[1 << 16] = 2.0, 1.0
  sums = {
    fingerprints.of_copies([jax.device_put(v, where)], 0).tobytes()
    for v in (values, swapped, -values, np.roll(values, 1))
  }
  assert len(sums) == 4


def test_models_on_disk_are_told_apart_by_their_ends(tmp_path):
  path = tmp_path / 'model.safetensors'
  content = bytearray(3 << 20)
  path.write_bytes(content)
  (tmp_path / 'config.json').write_text('{}')
  prints = [fingerprints.of_model(tmp_path)]
  assert fingerprints.of_model(tmp_path) == prints[0]
  (tmp_path / 'notes.txt').write_text('no part of a model')
  assert fingerprints.of_model(tmp_path) == prints[0]
  for place in (0, -1):
    content[place] ^= 1
    path.write_bytes(content)
    prints.append(fingerprints.of_model(tmp_path))
  path.write_bytes(content + b' ')
  prints.append(fingerprints.of_model(tmp_path))
  path.rename(tmp_path / 'another.safetensors')
  prints.append(fingerprints.of_model(tmp_path))
  assert len(set(prints)) == 5
