"""One thread, many callers: nothing lost, nothing that ends the process."""

import contextlib
import functools
import queue
import threading

import jax
import numpy as np
import pytest
import small_engine
from fake_backend import FakeBackend

from k15.devices import sharding
from k15.rollout import backend as backend_lib
from k15.rollout import driver as driver_lib
from k15.rollout.requests import Stop
from k15.rollout.scheduler import Scheduler

PATIENCE = 300  # seconds until a test that hangs fails


class Reader:
  """Collects the chunks of many requests."""

  def __init__(self, requests):
    self._left = set(requests)
    self.chunks = []
    self.done = {}
    self.all_done = threading.Event()

  def __call__(self, chunk):
    self.chunks.append(chunk)
    if chunk.stop is Stop.RUNNING:
      return
    key = chunk.request.group_id, chunk.request.sample_index
    mine = [c for c in self.chunks if c.request is chunk.request]
    tokens = [t for c in mine for t in c.tokens.tolist()]
    assert key not in self.done
    self.done[key] = chunk.stop, tokens
    self._left.remove(chunk.request)
    if not self._left:
      self.all_done.set()

  def wait(self):
    assert self.all_done.wait(PATIENCE)
    return self.done


@pytest.fixture
def make():
  """Drivers over a backend that is only arithmetic."""
  drivers = []

  def make(backend=None, params=0, **settings):
    backend = backend or FakeBackend()
    scheduler = Scheduler(backend)
    if params is not None:
      scheduler.set_params(params, 0)
    driver = driver_lib.RolloutDriver(
      scheduler, contextlib.nullcontext, **settings
    )
    drivers.append(driver)
    return driver, backend

  yield make
  for driver in drivers:
    driver.stop()


def request(group_id=0, sample_index=0, **changes):
  settings = dict(prompt=np.full(4, 2 + group_id, np.int32), stop_ids=(96,))
  return small_engine.request(
    group_id, sample_index, **settings | dict(seed=0) | changes
  )


def ask(driver, requests, deliver=None):
  reader = deliver or Reader(requests)
  driver.submit_all(requests, reader)
  return reader


def test_requests_from_many_threads_are_answered_once(make):
  driver, backend = make()
  groups = [[request(g, s) for s in range(4)] for g in range(8)]
  readers = [Reader(group) for group in groups]
  threads = [
    threading.Thread(target=driver.submit_all, args=pair)
    for pair in zip(groups, readers, strict=True)
  ]
  for thread in threads:
    thread.start()
  for group, reader in zip(groups, readers, strict=True):
    done = reader.wait()
    assert len(done) == 4
    assert all(len(tokens) <= 12 for _, tokens in done.values())
    assert {c.request for c in reader.chunks} == set(group)
  assert len(backend.prefills) <= 8  # One for the samples of a prompt.
  for thread in threads:
    thread.join()


def test_a_bad_request_is_refused_at_once_and_alone(make):
  driver, _ = make()
  good = request(1)
  with pytest.raises(ValueError, match='response 2/0 has a budget of -1'):
    driver.submit_all([good, request(2, budget=-1)], print)
  reader = ask(driver, [good])
  driver.command(lambda s: s.pause()).result(PATIENCE)
  held = request(3)
  ask(driver, [held])
  with pytest.raises(ValueError, match='response 3/0 is submitted already'):
    driver.submit(held, print)
  with pytest.raises(ValueError, match='response 4/0 is submitted already'):
    driver.submit_all([request(4)] * 2, print)
  driver.command(lambda s: s.unpause()).result(PATIENCE)
  assert reader.wait()[1, 0][0] is Stop.EXHAUSTED


def test_too_many_requests_are_refused_whole(make):
  driver, _ = make(max_requests=5, params=None)  # Nothing starts.
  first = ask(driver, [request(g) for g in range(4)])
  with pytest.raises(queue.Full, match='2 requests on top of 4; 5 are'):
    driver.submit_all([request(8), request(9)], print)
  second = ask(driver, [request(5)])
  driver.command(lambda s: s.set_params(0, 3)).result(PATIENCE)
  assert len(first.wait()) == 4 and len(second.wait()) == 1
  assert {c.policy_version for c in first.chunks} == {3}


def test_commands_run_between_calls_and_their_endings_are_delivered(make):
  started, go_on = threading.Event(), threading.Event()
  backend = FakeBackend()

  def hold():
    started.set()
    assert go_on.wait(PATIENCE)

  backend.before_generate = hold
  driver, _ = make(backend)
  requests = [request(g) for g in range(5)]
  reader = ask(driver, requests)
  assert started.wait(PATIENCE)
  interrupted = driver.command(lambda s: s.interrupt())
  broken = driver.command(lambda s: 1 // 0)
  stats = driver.command(lambda s: s.stats())
  assert not interrupted.done()
  go_on.set()
  assert len(interrupted.result(PATIENCE)) == 5
  assert reader.all_done.is_set()  # Delivered before the result is there.
  # After one call, of 4 tokens in 3 slots; no response is over by then.
  assert backend.calls == [4]
  counts = [len(tokens) for _, tokens in reader.done.values()]
  assert sorted(counts) == [0, 0, 4, 4, 4]
  assert {stop for stop, _ in reader.done.values()} == {Stop.INTERRUPTED}
  with pytest.raises(ZeroDivisionError):
    broken.result(PATIENCE)
  assert stats.result(PATIENCE)['interrupted'] == 5
  assert driver.is_alive


def test_a_reader_that_fails_is_dropped_alone(make):
  driver, _ = make()
  calls = []

  def fails(chunk):
    calls.append(chunk)
    raise OSError('the reader is gone')

  bad, good = [request(0, budget=12)], [request(1)]
  ask(driver, bad, fails)
  done = ask(driver, good).wait()
  assert len(done) == 1 and len(calls) == 1
  assert driver.command(lambda s: s.is_idle).result(PATIENCE)
  assert driver.is_alive


def test_a_failure_is_told_to_everybody(make):
  backend = FakeBackend()
  driver, _ = make(backend, params=None)
  reader = ask(driver, [request(g) for g in range(5)])
  backend.error = MemoryError('no memory left')
  driver.command(lambda s: s.set_params(0, 0)).result(PATIENCE)
  assert {stop for stop, _ in reader.wait().values()} == {Stop.FAILED}
  assert {c.error for c in reader.chunks} == {'MemoryError: no memory left'}
  assert driver.error is backend.error
  assert not driver.is_alive
  for call in (lambda: driver.submit(request(9), print),
               lambda: driver.command(lambda s: None)):  # fmt: skip
    with pytest.raises(RuntimeError, match='the driver ended: no memory left'):
      call()
  driver.stop()


def test_stopping_ends_what_is_left(make):
  driver, _ = make(params=None)
  reader = ask(driver, [request(0)])
  driver.stop()
  assert reader.wait() == {(0, 0): (Stop.FAILED, [])}
  assert reader.chunks[0].error == 'the driver was stopped'
  with pytest.raises(RuntimeError, match='the driver was stopped'):
    driver.submit(request(1), print)
  driver.stop()  # Twice is once.


@pytest.fixture(scope='module')
def real():
  """A driver of the tiny policy, its weights at version 2."""
  slots = backend_lib.SlotBackend(small_engine.make_decoder())
  scheduler = Scheduler(slots)
  scheduler.set_params(small_engine.make_params(), 2)
  mesh = sharding.make_mesh(1, 1, 1)
  driver = driver_lib.RolloutDriver(
    scheduler, functools.partial(sharding.use_mesh, mesh)
  )
  yield driver
  driver.stop()


def test_the_policy_is_not_disturbed_by_interruptions_and_versions(real):
  requests = [small_engine.request(g, budget=20) for g in range(4)]
  whole = ask(real, requests)
  expected = whole.wait()
  # Now with everything that may happen between two calls.
  again = [small_engine.request(g, budget=20) for g in range(4)]
  reader = ask(real, again)
  same = jax.tree.map(lambda x: x + 0, small_engine.make_params())
  for i, live in enumerate(('in_flight', 'interrupt', 'drain')):
    real.command(
      lambda s, i=i, live=live: s.set_params(same, 3 + i, live)
    ).result(PATIENCE)
  got = reader.wait()
  assert got == expected
  logprobs = {}
  for r in (whole, reader):
    for c in r.chunks:
      parts = logprobs.setdefault((r, c.request.group_id), [])
      parts.extend(c.logprobs)
  for g in range(4):
    np.testing.assert_allclose(
      logprobs[reader, g], logprobs[whole, g], atol=1e-5
    )
  stopped = real.command(lambda s: s.version).result(PATIENCE)
  assert stopped == 5


@pytest.fixture
def patient(monkeypatch):
  """Drivers that wait for minutes for who may come, once a step was made."""
  monkeypatch.setattr(driver_lib, '_GAP', 1e9)
  monkeypatch.setattr(driver_lib, '_MOST', 1e9)


def test_who_comes_before_a_step_is_in_it(make, patient):
  """As many as the last step ended: then nobody else is waited for."""
  driver, backend = make(FakeBackend(num_slots=3, tokens_per_call=8))
  ask(driver, [request(i, budget=4) for i in range(3)]).wait()
  wave = [request(3 + i, budget=8) for i in range(3)]
  reader = Reader(wave)
  for each in wave:
    driver.submit(each, reader)
  reader.wait()
  assert backend.calls == [4, 8]


def test_neither_a_command_nor_the_end_waits_for_who_may_come(make, patient):
  driver, _ = make()
  ask(driver, [request(i, budget=4) for i in range(3)]).wait()
  late = request(3)
  reader = ask(driver, [late])
  ended = driver.command(lambda s: s.cancel([late]))
  assert ended.result(PATIENCE)
  assert reader.wait() == {(3, 0): (Stop.CANCELLED, [])}
  reader = ask(driver, [request(4)])
  driver.stop()
  assert reader.wait() == {(4, 0): (Stop.FAILED, [])}
