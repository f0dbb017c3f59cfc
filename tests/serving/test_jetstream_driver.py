"""JetStream around our driver: its servers, its calls, its engines."""

import asyncio
import dataclasses
import time

import grpc
import numpy as np
import portpicker
import pytest
import small_engine
import stock_engine
from fake_backend import FakeBackend

from k15.rollout import backend
from k15.rollout import scheduler as scheduler_lib
from k15.rollout.requests import Request, Stop
from k15.serving import jetstream_adapter
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.jetstream_driver import StockBackend

pb2 = jetstream_adapter.jetstream_pb2
PATIENCE = 300  # seconds until a test that hangs fails


@pytest.fixture
def driver():
  """A driver of the tiny policy."""
  engine = stock_engine.make_engine()
  params = engine.load_params()
  driver = JetStreamDriver([engine], [engine], [params], [params])
  yield driver
  driver.stop()


def test_engines_it_does_not_drive():
  engine = stock_engine.make_engine()
  with pytest.raises(ValueError, match='not 2 and 1, is_ray_backend=False'):
    JetStreamDriver([engine] * 2, [engine], [None] * 2, [None])
  with pytest.raises(ValueError, match='is_ray_backend=True'):
    JetStreamDriver([engine], [engine], [None], [None], is_ray_backend=True)


class Server:
  """JetStream's own server and a client of it."""

  def __init__(self, driver):
    port = portpicker.pick_unused_port()
    self._server = jetstream_adapter.JetStreamServer(
      driver, 4, port, grpc.local_server_credentials()
    )
    self._server.start()
    self._channel = grpc.secure_channel(
      f'localhost:{port}', grpc.local_channel_credentials()
    )
    self.stub = jetstream_adapter.jetstream_pb2_grpc.OrchestratorStub(
      self._channel
    )

  def decode(self, **content):
    """Text and token ids of all responses of a call."""
    call = self.stub.Decode(pb2.DecodeRequest(**content), timeout=PATIENCE)
    samples = [r.stream_content.samples[0] for r in call]
    ids = [t for s in samples for t in s.token_ids]
    return ''.join(s.text for s in samples), ids

  def close(self):
    self._channel.close()
    self._server.stop()


def test_stock_clients_are_served(driver):
  server = Server(driver)
  text = pb2.DecodeRequest.TextContent
  tokens = pb2.DecodeRequest.TokenContent
  try:
    assert server.stub.HealthCheck(pb2.HealthCheckRequest()).is_live
    written, ids = server.decode(text_content=text(text='1+1='), max_tokens=9)
    decoded = small_engine.TOKENIZER.decode(np.array(ids))
    assert written == decoded and 1 <= len(ids) <= 9
    nothing, ids = server.decode(
      token_content=tokens(token_ids=[49, 43]), max_tokens=5
    )
    assert nothing == '' and 1 <= len(ids) <= 5
    for bad in (dict(text='x' * 40), dict(text='')):
      with pytest.raises(grpc.RpcError, match='columns|empty prompt'):
        server.decode(text_content=text(**bad), max_tokens=5)
    with pytest.raises(grpc.RpcError, match='id 9999, outside'):
      server.decode(token_content=tokens(token_ids=[9999]), max_tokens=5)
    assert server.decode(text_content=text(text='a'), max_tokens=0) == ('', [])
    driver.max_requests = 0
    with pytest.raises(grpc.RpcError) as refused:
      server.decode(text_content=text(text='a'), max_tokens=5)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    driver.command(lambda s: setattr(s, 'step', None)).result(PATIENCE)
    driver.max_requests = 9
    with pytest.raises(grpc.RpcError, match='not callable|the driver ended'):
      server.decode(text_content=text(text='a'), max_tokens=5)
    assert not server.stub.HealthCheck(pb2.HealthCheckRequest()).is_live
  finally:
    server.close()


def test_readers_whose_loop_is_closed_are_dropped(monkeypatch):
  # A backend that is only arithmetic: no response ends with its first token.
  monkeypatch.setattr(backend, 'SlotBackend', lambda *_: FakeBackend())
  engine = stock_engine.make_engine()
  driver = JetStreamDriver([engine], [engine], [0], [0])

  async def leave_after_one():
    channel = jetstream_adapter.AsyncMultifuture()
    driver.place_request_on_prefill_queue(
      jetstream_adapter.ActiveRequest(
        max_tokens=30,
        return_channel=channel,
        prefill_content=[5, 6, 7],
        is_client_side_tokenization=True,
      )
    )
    async for samples in channel:
      assert samples[0].token_ids
      break

  for _ in range(20):
    asyncio.run(leave_after_one())
  deadline = time.monotonic() + PATIENCE
  while not driver.command(lambda s: s.is_idle).result(PATIENCE):
    assert time.monotonic() < deadline
  assert driver.is_alive and driver.error is None
  driver.stop()


def request(group_id, budget, stop_ids=()):
  # With the ids and the seed that the engine gives to its first prompts.
  prompt = small_engine.request(group_id, length=4 + group_id).prompt
  return Request(
    group_id, 0, prompt, prompt[:0], budget, seed=9, stop_ids=stop_ids
  )


def run(slots, params, requests):
  scheduler = scheduler_lib.Scheduler(slots)
  scheduler.set_params(params, 0)
  for r in requests:
    scheduler.submit(r)
  # Joined by hand: completions want log-probabilities, which such an engine
  # does not have.
  tokens, done, logprobs = {}, {}, None
  while not scheduler.is_idle:
    for chunk in scheduler.step():
      group, logprobs = chunk.request.group_id, chunk.logprobs
      tokens.setdefault(group, []).extend(chunk.tokens.tolist())
      if chunk.stop is not Stop.RUNNING:
        done[group] = chunk.stop, tokens[group]
  return done, logprobs


def test_budgets_and_stop_tokens_are_watched_from_outside():
  params = small_engine.make_params()
  ours = backend.SlotBackend(small_engine.make_decoder())
  free, _ = run(ours, params, [request(0, 12)])
  _, tokens = free[0]
  stop_ids = (tokens[6],)  # In the second call of four tokens.
  requests = [request(0, 12, stop_ids), request(1, 7), request(2, 5)]
  expected, _ = run(ours, params, requests)
  engines = stock_engine.make_engine(), stock_engine.make_engine()
  stock = StockBackend(*engines, transfer=True)
  done, logprobs = run(stock, (params, params), requests)
  assert done == expected
  assert done[0][0] is Stop.ENDED
  assert done[0][1][-1] == tokens[6] and len(done[0][1]) <= 7
  assert [len(done[g][1]) for g in (1, 2)] == [7, 5]
  assert np.isnan(logprobs).all()  # The interface has none.


def test_what_such_an_engine_cannot_take():
  engine = stock_engine.make_engine()
  stock = StockBackend(engine, engine, transfer=False)
  long = Request(0, 0, np.zeros(33, np.int32), np.zeros(0, np.int32), 4)
  with pytest.raises(ValueError, match='33 tokens, and the engine prefills 32'):
    stock.check(long)
  short = dataclasses.replace(long, prompt=np.zeros(3, np.int32), top_p=0.9)
  with pytest.raises(ValueError, match='top_p 0.9 .* the engine knows neither'):
    stock.check(short)

  class Beams(type(engine)):
    samples_per_slot = 4

  beams = Beams(engine.slots, small_engine.TOKENIZER)
  with pytest.raises(ValueError, match='an engine with 4 samples per slot'):
    StockBackend(engine, beams, transfer=False)
