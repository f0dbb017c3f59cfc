"""The calls of one worker: streams, weights, limits, and who may call."""

import threading

import grpc
import numpy as np
import pytest
import rollout_servers
import small_engine

from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.serving import jetstream_adapter
from k15.serving import rollout_pb2 as pb
from k15.serving import weights
from k15.serving import wire
from k15.serving.access import Access

MESSAGE = 2 << 20


@pytest.fixture(scope='module')
def server():
  server = rollout_servers.start(requests=64, message_bytes=MESSAGE)
  yield server
  server.stop()


@pytest.fixture(scope='module')
def stub(server):
  """With weights of trainer 5, version 3."""
  stub = rollout_servers.stub(server)
  reply = stub.UpdateWeights(messages(small_engine.make_params(), 3))
  assert reply.is_new
  assert (
    reply.bytes
    == weights.snapshot(small_engine.make_params(), 0, 0).header.total_bytes
  )
  return stub


def messages(params, version, trainer=5, **changes):
  taken = list(weights.snapshot(params, trainer, version).messages())
  for name, value in changes.items():
    setattr(taken[0].header, name, value)
  return iter(taken)


def group(samples=(0,), **changes):
  request = small_engine.request()
  (message,) = wire.groups_of([request])
  del message.sample_indices[:]
  message.sample_indices.extend(samples)
  for name, value in changes.items():
    if name == 'stop_ids':
      message.stop_ids.extend(value)
    else:
      setattr(message, name, value)
  return message


def ids(*tokens):
  return np.array(tokens, '<i4').tobytes()


def submit(stub, *groups, **settings):
  """Chunks of all samples: sample -> (tokens, finish, versions)."""
  call = stub.Submit(iter([pb.SubmitRequest(groups=groups, **settings)]))
  return gather(call)


def gather(call):
  samples = {}
  for reply in call:
    for chunk in reply.chunks:
      tokens, _, versions = samples.get(chunk.sample, ([], None, set()))
      tokens += np.frombuffer(chunk.tokens, '<i4').tolist()
      assert len(chunk.tokens) == len(chunk.logprobs)
      versions.add(chunk.policy_version)
      samples[chunk.sample] = tokens, chunk.finish, versions
  return samples


def refusal(call, *args, **kwargs):
  """Status and sentence of a call that is refused."""
  with pytest.raises(grpc.RpcError) as caught:
    reply = call(*args, **kwargs)
    if isinstance(reply, grpc.Call):
      list(reply)
  return caught.value.code(), caught.value.details()


def test_samples_of_one_call(stub):
  before = stub.Stats(pb.Nothing())
  samples = submit(stub, group(samples=(0, 1, 2, 3)))
  after = stub.Stats(pb.Nothing())
  assert set(samples) == {0, 1, 2, 3}
  assert len({tuple(tokens) for tokens, _, _ in samples.values()}) == 4
  assert after.values['prefill_tokens'] - before.values['prefill_tokens'] == 5
  assert (after.requests, after.tokens) == (0, 0)
  for tokens, finish, versions in samples.values():
    assert finish == pb.EXHAUSTED and len(tokens) == 12 and versions == {3}


def test_budget_and_maximum_are_told_apart(stub):
  whole = submit(stub, group(token_budget=12))[0][0]
  assert submit(stub, group(token_budget=4, max_length=12))[0] == (
    whole[:4],
    pb.EXHAUSTED,
    {3},
  )
  # Resumed from those four, eight are left of the maximum.
  rest = submit(
    stub, group(response=ids(*whole[:4]), token_budget=20, max_length=12)
  )
  assert rest[0] == (whole[4:], pb.MAX_LENGTH, {3})
  ended = submit(stub, group(stop_ids=whole[2:3]))[0]
  assert ended == (whole[: whole.index(whole[2]) + 1], pb.ENDED, {3})


def test_how_to_sample_goes_over_the_wire():
  settings = dict(temperature=0.0), dict(top_p=0.25), dict()
  asked = [small_engine.request(**changes) for changes in settings]
  groups = wire.groups_of(asked)
  assert len(groups) == 3
  got = [r for g in groups for r in wire.requests_of(g)]
  assert [(r.temperature, r.top_p) for r in got] == [(0, 1), (1, 0.25), (1, 1)]
  groups[1].ClearField('top_p')
  (whole,) = wire.requests_of(groups[1])
  assert whole.top_p == 1


@pytest.mark.parametrize(
  ('poison', 'sentence'),
  [
    (dict(prompt=b''), 'response 0/0 has an empty prompt'),
    (dict(prompt=ids(*[1] * 40)), '40 tokens and a budget of 12 do not fit'),
    (dict(prompt=ids(1, 1 << 20)), 'id 1048576, outside'),
    (dict(prompt=ids(1, -1)), 'id -1, outside'),
    (dict(prompt=b'abc'), '3 bytes are no int32'),
    (dict(token_budget=-5), 'a budget of -5 tokens'),
    (dict(token_budget=0), 'a budget of 0 tokens'),
    (dict(token_budget=1 << 60), 'do not fit in 32 columns'),
    (dict(max_length=1, response=ids(1, 2)), '2 tokens has reached its max'),
    (dict(temperature=float('nan')), 'temperature nan'),
    (dict(temperature=-1.0), 'temperature -1'),
    (dict(top_p=2.0), 'top_p 2.0, outside'),
    (dict(group_id=1 << 40), 'group_id 1099511627776 is outside'),
    (dict(samples=(-1,)), 'sample_index -1 is outside'),
    (dict(samples=()), 'asks for no sample'),
    (dict(stop_ids=range(5)), '5 stop ids, more than 4'),
    (dict(stop_ids=[-2]), 'stop_ids has id -2'),
  ],
)
def test_poison_harms_nobody_else(stub, poison, sentence):
  good = stub.Submit(iter([pb.SubmitRequest(groups=[group()])]))
  bad = [pb.SubmitRequest(groups=[group(), group(**poison)])]
  code, details = refusal(stub.Submit, iter(bad))
  assert code == grpc.StatusCode.INVALID_ARGUMENT
  assert sentence in details
  ((tokens, _, _),) = gather(good).values()
  assert len(tokens) == 12


def test_messages_that_are_too_long_or_no_messages(server, stub):
  long = pb.SubmitRequest(groups=[group(prompt=bytes(10 << 20))])
  code, details = refusal(stub.Submit, iter([long]))
  assert code == grpc.StatusCode.INVALID_ARGUMENT
  assert str(long.ByteSize()) in details and str(MESSAGE) in details
  raw = grpc.insecure_channel(f'127.0.0.1:{server.port}').unary_unary(
    '/k15.rollout.v1.Rollout/Stats'
  )
  code, details = refusal(raw, b'\xff\xff')
  assert code == grpc.StatusCode.INVALID_ARGUMENT
  assert details == '2 bytes that are no k15.rollout.v1.Nothing'
  assert submit(stub, group())[0][1] == pb.EXHAUSTED


def test_ten_thousand_requests_at_once(stub):
  good = stub.Submit(iter([pb.SubmitRequest(groups=[group()])]))
  flood = pb.SubmitRequest(groups=[group(samples=range(10_000))])
  code, details = refusal(stub.Submit, iter([flood]))
  assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
  assert '10000 requests of 170000 tokens' in details
  assert 'takes 64 of' in details
  assert gather(good)[0][1] == pb.EXHAUSTED
  assert stub.Stats(pb.Nothing()).requests == 0


def test_interrupt_cancel_partials_and_pause(stub):
  stub.Pause(pb.Nothing())
  running = stub.Submit(
    iter([pb.SubmitRequest(groups=[group(samples=(0, 1, 2))])])
  )
  while stub.Stats(pb.Nothing()).requests < 3:
    pass
  name = pb.Name(group_id=0, sample_index=1)
  assert stub.Cancel(pb.Names(names=[name])).count == 1
  assert stub.Cancel(pb.Names(names=[name])).count == 0
  assert not list(stub.GetPartials(pb.Names()))  # Nothing is sampled yet.
  assert stub.Interrupt(pb.Names()).count == 2
  stub.Unpause(pb.Nothing())
  samples = gather(running)
  finishes = [samples[i][1] for i in range(3)]
  assert finishes == [pb.INTERRUPTED, pb.CANCELLED, pb.INTERRUPTED]


def test_a_stream_that_breaks_frees_its_samples(stub):
  stub.Pause(pb.Nothing())
  call = stub.Submit(iter([pb.SubmitRequest(groups=[group(samples=range(9))])]))
  while stub.Stats(pb.Nothing()).requests < 9:
    pass
  call.cancel()
  while stub.Stats(pb.Nothing()).requests:
    pass
  stub.Unpause(pb.Nothing())
  assert stub.Stats(pb.Nothing()).tokens == 0


def test_heartbeats(stub):
  stub.Pause(pb.Nothing())
  call = stub.Submit(
    iter([pb.SubmitRequest(groups=[group()], heartbeat_seconds=0.05)])
  )
  assert not next(call).chunks and not next(call).chunks
  stub.Unpause(pb.Nothing())
  assert gather(call)[0][1] == pb.EXHAUSTED


def test_promised_weights(stub):
  promise = dict(trainer=5, min_version=4, wait_seconds=0.01)
  request = pb.SubmitRequest(groups=[group()], **promise)
  code, details = refusal(stub.Submit, iter([request]))
  assert code == grpc.StatusCode.FAILED_PRECONDITION
  assert 'version 4 of trainer 5 was promised' in details
  assert 'has 3 of trainer 5' in details
  # One that waits long enough starts when they come, and under them alone.
  request.wait_seconds = 60
  waiting = stub.Submit(iter([request]))
  stub.UpdateWeights(messages(small_engine.make_params(2), 4))
  assert gather(waiting)[0][2] == {4}


def damaged(params, version):
  taken = list(messages(params, version))
  taken[2].shard.data = taken[2].shard.data[:-1] + b'!'
  return iter(taken)


def test_updates_that_are_torn_late_or_double_change_nothing(stub):
  old = submit(stub, group())
  new = small_engine.make_params(7)
  torn = iter(list(messages(new, 9))[:-1])
  code, details = refusal(stub.UpdateWeights, torn)
  assert code == grpc.StatusCode.DATA_LOSS and 'the update ended' in details
  code, details = refusal(stub.UpdateWeights, damaged(new, 9))
  assert code == grpc.StatusCode.DATA_LOSS and 'damaged: its crc32' in details
  code, details = refusal(stub.UpdateWeights, messages(new, 1))
  assert code == grpc.StatusCode.FAILED_PRECONDITION
  assert 'version 1 of trainer 5 comes too late' in details
  code, _ = refusal(stub.UpdateWeights, messages(new, 50, trainer=4))
  assert code == grpc.StatusCode.FAILED_PRECONDITION
  code, details = refusal(stub.UpdateWeights, iter([]))
  assert code == grpc.StatusCode.INVALID_ARGUMENT
  code, details = refusal(
    stub.UpdateWeights, messages(new, 9, live_requests='maybe')
  )
  assert code == grpc.StatusCode.INVALID_ARGUMENT and "'maybe'" in details
  assert submit(stub, group()) == old
  version = stub.Stats(pb.Nothing()).version
  again = small_engine.make_params(2)
  assert not stub.UpdateWeights(messages(again, version)).is_new
  # The same version with other weights is no double.
  code, _ = refusal(stub.UpdateWeights, messages(new, version))
  assert code == grpc.StatusCode.FAILED_PRECONDITION
  assert submit(stub, group()) == old


def test_an_update_cut_off_and_sent_again(stub):
  new = small_engine.make_params(3)
  taken, go_on = list(messages(new, 10)), threading.Event()

  def hesitate():
    yield from taken[:2]
    go_on.wait()
    yield from taken[2:]

  slow = stub.UpdateWeights.future(hesitate())
  reply = stub.UpdateWeights(iter(taken))
  assert reply.is_new and reply.version == 10
  go_on.set()
  # Overtaken by its double, or come after it: refused or without effect.
  assert slow.exception() or not slow.result().is_new
  assert submit(stub, group())[0][2] == {10}


@pytest.mark.parametrize('live', ['interrupt', 'drain', 'in_flight'])
def test_weights_that_change_under_live_samples(stub, live):
  number = stub.Stats(pb.Nothing()).version + 1
  call = stub.Submit(
    iter([pb.SubmitRequest(groups=[group(token_budget=24, samples=(0, 1, 2))])])
  )
  first = next(call)  # They are live.
  stub.UpdateWeights(
    messages(small_engine.make_params(number), number, live_requests=live)
  )
  samples = gather([first, *call])
  assert len(samples) == 3
  for tokens, finish, versions in samples.values():
    assert finish == pb.ENDED or len(tokens) == 24
    assert versions <= {number - 1, number}
    assert live != 'drain' or versions == {number - 1}


def test_weights_from_a_path(stub, tmp_path):
  params = small_engine.make_params()
  version = stub.Stats(pb.Nothing()).version + 1
  path = tmp_path / 'model'
  hf.export(
    path, small_engine.CONFIG, params, hf_config.Generation(32), 'float32'
  )
  header = pb.WeightsHeader(trainer=5, version=version, path=str(path))
  assert stub.UpdateWeights(iter([pb.WeightsRequest(header=header)])).is_new
  header.path, header.version = str(tmp_path / 'no'), version + 1
  code, details = refusal(
    stub.UpdateWeights, iter([pb.WeightsRequest(header=header)])
  )
  assert code == grpc.StatusCode.INVALID_ARGUMENT
  assert 'does not exist' in details


def decode(server, text=None, ids=None):
  """All replies of JetStream's Decode."""
  messages = jetstream_adapter.jetstream_pb2
  content = {}
  if text is not None:
    content['text_content'] = messages.DecodeRequest.TextContent(text=text)
  if ids is not None:
    content['token_content'] = messages.DecodeRequest.TokenContent(
      token_ids=ids
    )
  channel = grpc.insecure_channel(f'127.0.0.1:{server.port}')
  stub = jetstream_adapter.jetstream_pb2_grpc.OrchestratorStub(channel)
  return list(stub.Decode(messages.DecodeRequest(max_tokens=5, **content)))


@pytest.mark.parametrize(
  ('content', 'sentence'),
  [
    (dict(), 'needs text_content or token_content'),
    (dict(text='x' * 40), '40 tokens'),
    (dict(text=''), 'empty prompt'),
    (dict(ids=[]), 'empty prompt'),
    (dict(ids=[9999]), 'id 9999, outside'),
    (dict(ids=[-1]), 'id -1, outside'),
  ],
)
def test_wrong_calls_of_decode_are_refused(
  server, stub, capfd, content, sentence
):
  del stub  # There are weights.
  code, details = refusal(decode, server, **content)
  assert code == grpc.StatusCode.INVALID_ARGUMENT and sentence in details
  assert capfd.readouterr() == ('', '')  # No traceback in the log.
  assert decode(server, text='a')


def test_a_later_trainer_takes_over(stub):
  stub.Pause(pb.Nothing())
  left = stub.Submit(iter([pb.SubmitRequest(groups=[group()])]))
  while not stub.Stats(pb.Nothing()).requests:
    pass
  params = small_engine.make_params()
  stub.UpdateWeights(messages(params, 0, trainer=6))
  assert gather(left)[0][1] == pb.CANCELLED
  stub.Unpause(pb.Nothing())
  assert submit(stub, group(), trainer=6)[0][2] == {0}
  code, _ = refusal(
    stub.Submit, iter([pb.SubmitRequest(groups=[group()], trainer=5)])
  )
  assert code == grpc.StatusCode.FAILED_PRECONDITION


def test_the_token():
  access = Access(token='secret')
  server = rollout_servers.start(access=access)
  stub = rollout_servers.stub(server)
  for metadata in ((), (('authorization', 'Bearer secreT'),)):
    code, details = refusal(stub.Stats, pb.Nothing(), metadata=metadata)
    assert code == grpc.StatusCode.UNAUTHENTICATED and 'token' in details
    code, _ = refusal(
      stub.Submit, iter([pb.SubmitRequest()]), metadata=metadata
    )
    assert code == grpc.StatusCode.UNAUTHENTICATED
  health = grpc.insecure_channel(f'127.0.0.1:{server.port}').unary_unary(
    '/jetstream_proto.Orchestrator/HealthCheck'
  )
  code, _ = refusal(health, b'')
  assert code == grpc.StatusCode.UNAUTHENTICATED
  assert not stub.Stats(pb.Nothing(), metadata=access.metadata).has_weights
  assert health(b'', metadata=access.metadata) == b'\x08\x01'  # is_live
  server.stop()
  assert not server.driver.is_alive


def test_samples_of_a_worker_that_stops_get_a_status():
  server = rollout_servers.start()
  call = rollout_servers.stub(server).Submit(
    iter([pb.SubmitRequest(groups=[group()], wait_seconds=60)])
  )
  stats = rollout_servers.stub(server).Stats(pb.Nothing())
  assert not stats.has_weights and stats.slots == 3
  code, details = refusal(decode, server, text='a')
  assert code == grpc.StatusCode.UNAVAILABLE and 'no weights yet' in details
  server.stop()
  with pytest.raises(grpc.RpcError) as caught:
    list(call)
  assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
