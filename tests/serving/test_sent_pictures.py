"""Pictures on workers: sent once, checked, sent again to whoever lost them."""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib

import grpc
import jax
import numpy as np
import pytest
import rollout_servers
import small_engine
import small_pictures
import small_tower

from experiments import vision
from k15.devices import sharding
from k15.rollout import backend
from k15.rollout import local as local_lib
from k15.runtime import weights
from k15.runtime import worker
from k15.runtime.context import Layout
from k15.serving import access as access_lib
from k15.serving import engine as engine_lib
from k15.serving import remote
from k15.serving import rollout_pb2 as pb
from k15.serving import server as server_lib
from k15.serving import wire
from k15.serving import workers
from k15.serving.access import Access
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.sent_pictures import SentPictures

SHELF = small_pictures.Shelf()
FIRST, SECOND, LARGE = SHELF.add(1, 2), SHELF.add(1, 2, 1), SHELF.add(2, 3)
CONFIG = small_tower.config_of('deep')


@functools.cache
def params():
  return jax.tree.map(jax.numpy.asarray, small_tower.random_params(CONFIG))


def layout():
  return weights.param_layout(Layout(CONFIG, sharding.make_mesh(1, 1, 1)))


def start(port=0):
  decoder = small_pictures.make_decoder(num_slots=3)
  engine = engine_lib.PolicyEngine(decoder, small_engine.TOKENIZER)
  driver = JetStreamDriver([engine], [engine], [None], [None])
  server = server_lib.RolloutServer(
    driver, decoder, layout(), port=port, pictures=engine.pictures
  )
  server.start()
  return server, engine.pictures


@contextlib.contextmanager
def rollout_on(port, pictures=SHELF, local=False):
  decoder = small_pictures.make_decoder()
  settings = wire.settings_of(decoder)
  several = [
    workers.RemoteWorker(f'127.0.0.1:{port}', settings, pictures=pictures)
  ]
  if local:
    mesh = functools.partial(sharding.use_mesh, sharding.make_mesh(1, 1, 1))
    several.append(workers.LocalWorker(decoder, mesh, pictures=pictures))
  check = backend.SlotBackend(decoder, pictures).check
  rollout = remote.RemoteRollout(several, rollout_servers.KEY, check, 120.0)
  rollout.set_params(params(), 4)
  yield rollout
  rollout.close()


def asked():
  return [
    small_pictures.request(image, sample_index=i, group_id=g)
    for g, image in enumerate((FIRST, SECOND, LARGE))
    for i in range(3)
  ] + [small_pictures.request(group_id=9)]


@pytest.fixture(scope='module')
def expected():
  rollout = local_lib.LocalRollout(
    small_pictures.make_decoder(), rollout_servers.KEY, pictures=SHELF
  )
  rollout.set_params(params(), 4)
  return rollout_servers.by_name(rollout.generate(asked()))


@pytest.fixture(scope='module')
def server():
  found, sent = start()
  yield found, sent
  found.stop()


def assert_same(completions, expected):
  found = rollout_servers.by_name(completions)
  assert found.keys() == expected.keys()
  for name, completion in found.items():
    np.testing.assert_array_equal(completion.tokens, expected[name].tokens)
    np.testing.assert_allclose(
      completion.logprobs, expected[name].logprobs, atol=1e-5
    )


def test_workers_are_sent_pictures_and_answer_the_same(server, expected):
  found, sent = server
  with rollout_on(found.port, local=True) as rollout:
    assert_same(rollout.generate(asked()), expected)
    assert rollout.pop_stats()['images_encoded'] >= 3
  assert sent.refs.keys() <= SHELF.keys()


def test_a_worker_that_was_killed_is_sent_them_again(expected):
  first, sent = start()
  port, died = first.port, []
  with rollout_on(port) as rollout:
    put = workers.RemoteWorker._put_pictures

    def dies_after_the_put(self, *args):
      goes_on = put(self, *args)
      if not died:  # Between the pictures and the samples that show them.
        died.append(dict(sent.refs))
        first.stop()
        died.append(start(port))
      return goes_on

    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(workers.RemoteWorker, '_put_pictures', dies_after_the_put)
      assert_same(rollout.generate(asked()), expected)
  before, (second, again) = died
  assert before and again.refs.keys() == SHELF.keys()
  second.stop()


def test_what_another_took_the_room_of_is_sent_again(server, expected):
  found, sent = server
  with rollout_on(found.port) as rollout:
    rollout.warm_up()
    assert_same(rollout.generate(asked()), expected)
    sent.refs.clear()
    sent._pixels.clear()
    assert_same(rollout.generate(asked()), expected)
  assert sent.refs.keys() == SHELF.keys()


@pytest.fixture(scope='module')
def stub(server):
  address = f'127.0.0.1:{server[0].port}'
  return wire.Stub(access_lib.open_channel(address, Access()))


def message(image=FIRST, data=None, **changes):
  fields = dict(
    digest=bytes.fromhex(image.digest), height=image.height, width=image.width,
    data=SHELF[image.digest].tobytes() if data is None else data,
  )  # fmt: skip
  return pb.Image(**fields | changes)


def refusal(call, *args):
  with pytest.raises(grpc.RpcError) as caught:
    reply = call(*args)
    if isinstance(reply, grpc.Call):
      list(reply)
  return caught.value.code(), caught.value.details()


def test_a_picture_is_what_its_digest_says(stub):
  data = bytearray(SHELF[FIRST.digest].tobytes())
  data[17] ^= 1
  code, sentence = refusal(stub.PutImages, iter([message(data=bytes(data))]))
  assert code is grpc.StatusCode.INVALID_ARGUMENT
  assert sentence.startswith(f'picture {FIRST.digest} shows ')
  # As many bytes of other sides are another picture.
  turned = message(height=FIRST.width, width=FIRST.height)
  assert 'shows' in refusal(stub.PutImages, iter([turned]))[1]
  short = message(data=bytes(data[:-1]))
  _, sentence = refusal(stub.PutImages, iter([short]))
  assert sentence == f'the last picture ended after {len(data) - 1} bytes'
  _, sentence = refusal(stub.PutImages, iter([message(data=bytes(data) * 2)]))
  assert sentence == f'{2 * len(data)} bytes for 4 x 8 pixels'
  _, sentence = refusal(stub.PutImages, iter([message(height=-1)]))
  assert sentence == 'a picture of -1 x 8 pixels'


def test_a_group_names_the_picture_that_is_not_here(stub):
  lost = small_pictures.Shelf().add(1, 2, 77)
  (group,) = wire.groups_of([small_pictures.request(lost)])
  asked = pb.SubmitRequest(groups=[group])
  code, sentence = refusal(stub.Submit, iter([asked]))
  assert code is grpc.StatusCode.FAILED_PRECONDITION
  assert f'group 1: the picture {lost.digest} is not here' in sentence


def test_pictures_come_in_pieces():
  shelf = SentPictures()
  data = SHELF[LARGE.digest].tobytes()

  async def pieces():
    for start in range(0, len(data), 100):
      yield message(LARGE, data[start : start + 100])
    yield message(FIRST)

  asyncio.run(shelf.receive(pieces(), list))
  np.testing.assert_array_equal(shelf[LARGE.digest], SHELF[LARGE.digest])
  assert shelf.refs.keys() == {LARGE.digest, FIRST.digest}
  (first, *_) = wire.images_of({LARGE.digest: SHELF[LARGE.digest]})
  assert first == message(LARGE)


def test_a_worker_holds_so_much_and_what_is_in_use():
  size = SHELF[FIRST.digest].nbytes
  shelf = SentPictures(most_bytes=2 * size)

  def put(image, in_use=()):
    async def one():
      yield message(image)

    asyncio.run(shelf.receive(one(), lambda: in_use))

  third = SHELF.add(1, 2, 2)
  put(FIRST)
  put(SECOND)
  put(FIRST)  # It was put last.
  put(third)
  assert shelf.refs.keys() == {FIRST.digest, third.digest}
  put(SECOND, in_use=[FIRST.digest])
  assert shelf.refs.keys() == {FIRST.digest, SECOND.digest}
  with pytest.raises(wire.Refused, match=f'{size} bytes of a picture beside'):
    put(third, in_use=[FIRST.digest, SECOND.digest])
  del SHELF[third.digest]


def test_a_wrong_picture_of_the_trainer_ends_the_run(server):
  wrong = small_pictures.Shelf(SHELF)
  image = wrong.add(1, 2, 5)
  wrong[image.digest] = np.zeros_like(wrong[image.digest])
  with (
    rollout_on(server[0].port, wrong) as rollout,
    pytest.raises(ValueError, match=f'picture {image.digest} shows'),
  ):
    list(rollout.generate([small_pictures.request(image)]))


def test_text_has_the_bytes_it_had_before_there_were_pictures():
  asked = [small_engine.request(2, s, stop_ids=(7,)) for s in range(3)]
  (group,) = wire.groups_of(asked)
  found = hashlib.sha256(group.SerializeToString(deterministic=True))
  assert found.hexdigest()[:16] == '93052f71d00b34bb'


def test_a_worker_is_made_of_an_experiment_that_reads():
  """It needs no files of its stages, nor problems."""
  server = worker.make(vision.get_config('smoke'), '127.0.0.1', 0)
  assert server.port
  server.stop()


def test_workers_of_another_processor_are_other_workers():
  sight = small_pictures.sight_of(CONFIG)
  smaller = dataclasses.replace(sight.processor, max_pixels=64)
  other = dataclasses.replace(sight, processor=smaller)
  names = [
    wire.settings_of(small_pictures.make_decoder(sight=s))
    for s in (sight, other, None, dataclasses.replace(sight, cache_bytes=9))
  ]
  assert len(set(names)) == 3 and names[3] == names[0]
