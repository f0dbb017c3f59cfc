"""A damaged, torn or foreign update is refused, in a sentence."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15.serving import rollout_pb2 as pb
from k15.serving import weights

SHARD = weights.SHARD_BYTES


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return dict(
    # One full shard and 4 bytes of a second.
    big=rng.normal(size=SHARD // 4 + 1).astype(np.float32),
    block=dict(
      half=rng.normal(size=(3, 5)).astype(jnp.bfloat16),
      count=np.int32(7),
      none=np.zeros((0, 4), np.float32),
    ),
  )


@pytest.fixture(scope='module')
def layout(params):
  one = jax.sharding.SingleDeviceSharding(jax.devices()[1])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), params
  )


@pytest.fixture
def messages(params):
  return list(weights.snapshot(params, trainer=9, version=4).messages())


def receive(messages, layout):
  header, *shards = messages
  receiver = weights.Receiver(header.header, layout)
  for message in shards:
    receiver.add(message.shard)
  return receiver.finish()


def assert_same(tree, expected):
  assert jax.tree.structure(tree) == jax.tree.structure(expected)
  for one, other in zip(
    jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True
  ):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def test_what_is_sent_arrives_to_the_bit(params, layout, messages):
  header = messages[0].header
  assert (header.trainer, header.version) == (9, 4)
  # Two shards of `big`, one each of `count` and `half`, none of `none`.
  assert header.num_shards == len(messages) - 1 == 4
  assert header.total_bytes == SHARD + 4 + 3 * 5 * 2 + 4
  assert max(m.ByteSize() for m in messages) < SHARD + 200
  sent = [pb.WeightsRequest.FromString(m.SerializeToString()) for m in messages]
  tree = receive(sent, layout)
  assert_same(tree, params)
  placed = weights.place(tree, layout)
  assert_same(placed, params)
  assert placed['big'].devices() == {jax.devices()[1]}


def test_a_snapshot_outlives_its_parameters():
  array = np.ones(3, np.float32)
  taken = weights.snapshot(dict(a=array), trainer=0, version=0)
  array[:] = 2
  (_, shard) = taken.messages()
  assert shard.shard.data == np.ones(3, np.float32).tobytes()


@pytest.mark.parametrize('missing', range(1, 5))
def test_a_missing_shard(layout, messages, missing):
  del messages[missing]
  with pytest.raises(
    weights.Damaged, match='expected|ended after 3 of 4 shards'
  ):
    receive(messages, layout)


def test_a_shard_that_comes_twice(layout, messages):
  with pytest.raises(weights.Damaged, match='shard 1 where 2 was expected'):
    receive([*messages[:3], messages[2], *messages[3:]], layout)


def test_one_bit(layout, messages):
  shard = messages[2].shard
  shard.data = bytes([shard.data[0] ^ 1]) + shard.data[1:]
  with pytest.raises(
    weights.Damaged, match="shard 1 of 'big' is damaged: its crc"
  ):
    receive(messages, layout)


def test_shards_of_two_updates(params, layout, messages):
  # Each shard is whole, but they were never one set of weights.
  other = dict(params, big=params['big'] + 1)
  mixed = list(weights.snapshot(other, trainer=9, version=4).messages())
  mixed[2] = messages[2]
  with pytest.raises(
    weights.Damaged, match='as a whole is damaged: its sha256'
  ):
    receive(mixed, layout)
  assert mixed[0].header.sha256 != messages[0].header.sha256
  assert len(mixed[0].header.sha256) == hashlib.sha256().digest_size


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    (dict(name='bog'), "'bog' is no parameter of this policy"),
    (dict(dtype='float16'), "'big' is sent as float16"),
    (dict(offset=3), "holds bytes 3 to 7 of 'big', where 1048576 of 1048580"),
    (dict(data=b'12345678'), 'holds bytes 1048576 to 1048584'),
  ],
)
def test_foreign_shards(layout, messages, change, sentence):
  index = 1 if 'dtype' in change else 2
  shard = messages[index].shard
  for key, value in change.items():
    setattr(shard, key, value)
  shard.crc32 = weights.zlib.crc32(shard.data)
  with pytest.raises(ValueError, match=sentence):
    receive(messages, layout)


def test_another_shape_of_the_same_size(params, layout):
  turned = dict(params, block=dict(params['block']))
  turned['block']['half'] = params['block']['half'].reshape(5, 3)
  messages = list(weights.snapshot(turned, 0, 0).messages())
  with pytest.raises(ValueError, match=r'as bfloat16\[5, 3\], and this policy'):
    receive(messages, layout)


def test_an_update_of_another_size_is_refused_at_its_header(layout):
  header = pb.WeightsHeader(total_bytes=1 << 50, num_shards=1)
  with pytest.raises(ValueError, match='1125899906842624 bytes for a policy'):
    weights.Receiver(header, layout)


def test_names(params):
  names = weights.named(params)
  assert list(names) == ['big', 'block/count', 'block/half', 'block/none']
  assert_same(weights.unnamed(names, params), params)
  del names['block/half']
  with pytest.raises(ValueError, match="3 parameters .* 'block/half' is miss"):
    weights.unnamed(names, params)
  names['block/whole'] = names['block/half'] = 1
  with pytest.raises(ValueError, match="'block/whole' is unknown"):
    weights.unnamed(names, params)
