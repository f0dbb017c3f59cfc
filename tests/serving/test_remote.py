"""Workers differ in nothing but speed, and may die at any moment.

Who gets which request, and that each is answered exactly once.
"""

import contextlib
import dataclasses
import socket
import threading

import jax
import numpy as np
import pytest
import rollout_servers
import small_engine

from k15.rollout import journal
from k15.rollout.requests import Chunk, Stop
from k15.serving import remote
from k15.serving import rollout_pb2 as pb


@pytest.fixture(scope='module')
def servers():
  """Two that differ in slots and in tokens per call."""
  servers = [rollout_servers.start(3, 4), rollout_servers.start(2, 5)]
  yield servers
  for server in servers:
    server.stop()


@pytest.fixture(scope='module')
def expected():
  requests = rollout_servers.mixed_requests()
  rollout = rollout_servers.local_rollout()
  return rollout_servers.by_name(rollout.generate(requests))


@contextlib.contextmanager
def rollout_on(*ports, version=4, **settings):
  rollout = rollout_servers.remote_rollout(*ports, **settings)
  rollout.set_params(small_engine.make_params(), version)
  yield rollout
  rollout.close()


def assert_same(completions, expected, versions=(4,)):
  completions = rollout_servers.by_name(completions)
  assert set(completions) == set(expected)
  for name, completion in completions.items():
    wanted = expected[name]
    assert completion.stop is wanted.stop
    np.testing.assert_array_equal(completion.tokens, wanted.tokens)
    np.testing.assert_allclose(completion.logprobs, wanted.logprobs, atol=1e-5)
    assert [s.policy_version for s in completion.segments] == list(versions)


class Proxy:
  """Forwards connections, until it cuts or freezes one."""

  def __init__(self, port, freezes=False):
    self._target, self._freezes = port, freezes
    self._left = None  # bytes from the worker to go through before that
    self._listener = socket.create_server(('127.0.0.1', 0))
    self.port = self._listener.getsockname()[1]
    self._run(self._accept)

  def strike_after(self, size):
    self._left = size

  def close(self):
    self._listener.close()

  def _run(self, function, *args):
    threading.Thread(target=function, args=args, daemon=True).start()

  def _accept(self):
    with contextlib.suppress(OSError):
      while True:
        near, _ = self._listener.accept()
        far = socket.create_connection(('127.0.0.1', self._target))
        self._run(self._copy, near, far, False)
        self._run(self._copy, far, near, True)

  def _copy(self, source, sink, is_down):
    with contextlib.suppress(OSError):
      while data := source.recv(4096):
        if is_down and self._left is not None:
          self._left -= len(data)
          if self._left < 0:
            if self._freezes:
              threading.Event().wait()
            self._left = None  # The next connection is a good one.
            break
        sink.sendall(data)
    for end in (source, sink):
      with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
  ('number', 'local'), [(1, False), (2, False), (0, True), (2, True)]
)
def test_the_number_of_workers_changes_no_token(
  servers, expected, number, local
):
  requests = rollout_servers.mixed_requests()
  ports = [server.port for server in servers[:number]]
  with rollout_on(*ports, local=local) as rollout:
    assert_same(rollout.generate(requests), expected)
    stats = rollout.pop_stats()
    tokens = sum(len(c.tokens) for c in expected.values())
    assert stats['tokens'] == tokens and stats['resubmitted'] == 0
    if number:
      assert stats['updates'] == number and stats['update_bytes'] > 0
    assert_same(rollout.generate(requests[::-1]), expected)
    assert 'updates' not in rollout.pop_stats()
    assert list(rollout.generate([])) == []


def test_what_a_journal_has_is_asked_of_no_worker(expected, tmp_path):
  def begin():
    found = journal.Journal(tmp_path)
    found.begin(0, small_engine.make_params())
    return found

  requests = rollout_servers.mixed_requests()
  kept = begin()
  with rollout_on(local=True) as rollout:
    stream = rollout.generate(requests, kept.phase())
    done = rollout_servers.by_name(next(stream) for _ in range(3))
    kept.close()  # As a kill does: nothing that comes later is kept.
    stream.close()
  kept = begin()
  phase = kept.phase()
  with rollout_on(local=True) as rollout:
    assert_same(rollout.generate(requests, phase), expected)
    sampled = rollout.pop_stats()['tokens']
  kept.close()
  known = sum(len(p.tokens) for each in phase.pieces.values() for p in each)
  total = sum(len(c.tokens) for c in expected.values())
  assert sampled == total - known
  assert known >= sum(len(c.tokens) for c in done.values())
  # All of it is known now.
  kept = begin()
  with rollout_on(local=True) as rollout:
    assert_same(rollout.generate(requests, kept.phase()), expected)
    assert not rollout.pop_stats().get('tokens')
  kept.close()


def test_versions_are_those_of_the_caller(servers, expected):
  requests = rollout_servers.mixed_requests()
  with rollout_on(servers[0].port, version=9) as rollout:
    assert_same(rollout.generate(requests), expected, versions=[9])
    rollout.set_params(
      jax.tree.map(lambda x: -x, small_engine.make_params()), 9
    )
    (other,) = rollout.generate(requests[:1])
    assert not np.array_equal(other.tokens, expected[0, 0].tokens)
    # An evaluation may look back.
    rollout.set_params(small_engine.make_params(), 0)
    assert_same(rollout.generate(requests), expected, versions=[0])
    assert rollout.pop_stats()['updates'] == 3


@pytest.mark.parametrize('size', [0, 200])
def test_a_connection_that_is_cut(servers, expected, size):
  proxy = Proxy(servers[0].port)
  with rollout_on(proxy.port) as rollout:
    rollout.warm_up()
    proxy.strike_after(size)
    assert_same(rollout.generate(rollout_servers.mixed_requests()), expected)
    assert rollout.pop_stats()['resubmitted'] > 0
  proxy.close()


def test_a_worker_that_says_nothing(servers, expected):
  proxy = Proxy(servers[0].port, freezes=True)
  with rollout_on(proxy.port, servers[1].port, silence=1.0) as rollout:
    rollout.warm_up()
    proxy.strike_after(200)
    assert_same(rollout.generate(rollout_servers.mixed_requests()), expected)
    assert rollout.pop_stats()['resubmitted'] > 0
  proxy.close()


def test_a_worker_that_ends_and_one_that_comes_back(expected):
  requests = rollout_servers.mixed_requests()
  server = rollout_servers.start()
  with rollout_on(server.port) as rollout:
    stream = rollout.generate(requests)
    first = next(stream)
    server.stop()
    # One in its place, without weights.
    server = rollout_servers.start(num_slots=2, port=server.port)
    assert_same([first, *stream], expected)
    stats = rollout.pop_stats()
    assert stats['updates'] == 2 and stats['resubmitted'] > 0
  server.stop()


def test_a_generate_that_is_left_frees_its_worker(servers):
  with rollout_on(servers[0].port) as rollout:
    stream = rollout.generate(rollout_servers.mixed_requests())
    next(stream)
    stream.close()
    stub = rollout_servers.stub(servers[0])
    while stub.Stats(pb.Nothing()).requests:
      pass


def test_poison_is_named_and_harms_nobody(servers, expected):
  bad = small_engine.request(7, 2, budget=-1)
  requests = rollout_servers.mixed_requests()
  with rollout_on(servers[0].port) as rollout:
    with pytest.raises(ValueError, match='response 7/2 has a budget of -1'):
      next(rollout.generate([*requests, bad]))
    # What only the worker can know.
    rollout._check = lambda request: None
    stream = rollout.generate(requests)
    first = next(stream)
    with pytest.raises(ValueError, match='response 7/2 has a budget of -1'):
      next(rollout.generate([bad]))
    assert_same([first, *stream], expected)


def test_without_any_worker_there_is_one_error():
  with socket.create_server(('127.0.0.1', 0)) as held:
    port = held.getsockname()[1]
  with (
    rollout_on(port, patience=0.3) as rollout,
    pytest.raises(
      remote.NoWorker, match=f'no rollout worker for 0.3 .*:{port}: UNAVAIL'
    ),
  ):
    list(rollout.generate(rollout_servers.mixed_requests()))


def test_without_weights_there_is_no_answer(servers):
  rollout = rollout_servers.remote_rollout(servers[0].port)
  with pytest.raises(ValueError, match='generate before set_params'):
    next(rollout.generate(rollout_servers.mixed_requests()))
  rollout.close()


def test_a_worker_of_another_config_is_not_used(servers, monkeypatch):
  monkeypatch.setattr(rollout_servers, 'settings', lambda: 'other')
  with (
    rollout_on(servers[0].port, patience=0.5) as rollout,
    pytest.raises(remote.NoWorker, match='start it with the same config'),
  ):
    rollout.warm_up()


def make_run(requests, labels=None):
  return remote.Run(requests, seed=3, labels=labels or {})


def chunk(work, tokens=(), stop=Stop.RUNNING, version=1, error=''):
  tokens = np.array(tokens, np.int32)
  logprobs = tokens.astype(np.float32)
  return Chunk(work.request, tokens, logprobs, version, stop, error)


def sizes(run, share):
  return [len(context) for context in run.take(share)]


def requests(groups, samples):
  return [
    small_engine.request(g, s) for g in range(groups) for s in range(samples)
  ]


def test_contexts_stay_whole_and_loads_even():
  run = make_run(requests(groups=6, samples=4))
  big, small = run.join([16, 8])
  # 24 samples in 24 slots, by groups of four.
  assert sizes(run, big) == [4] * 4
  assert sizes(run, small) == [4] * 2


def test_the_rest_waits_for_whoever_is_free():
  run = make_run(requests(groups=10, samples=1))
  one, two = run.join([2, 4])
  # Slots and a quarter more: 3 and 5; two requests wait.
  (first, *_) = [work for (work,) in run.take(one)]
  assert (len(one.works), len(two.works)) == (3, 5)
  run.accept(one, first, chunk(first, [1], Stop.ENDED))
  assert sizes(run, one) == [1]
  (late,) = run.join([4])
  assert sizes(run, late) == [1]


def test_a_context_larger_than_a_worker_is_split():
  run = make_run(requests(groups=1, samples=10))
  one, two = run.join([4, 4])
  # The last two are what the first gets beyond its slots.
  assert (sizes(run, one), sizes(run, two)) == ([4, 2], [4])


def test_a_lost_worker_s_requests_go_on_from_their_tokens():
  (request,) = requests(1, 1)
  run = make_run([request], labels={1: 70, 2: 71})
  (lost,) = run.join([2])
  ((work,),) = run.take(lost)
  assert work.request.seed == 3
  run.accept(lost, work, chunk(work, [5, 6]))
  run.leave(lost)
  assert run.take(lost) == [] and run.resubmitted == 1
  (other,) = run.join([2])
  ((again,),) = run.take(other)
  rest = again.rest()
  np.testing.assert_array_equal(rest.response, [5, 6])
  assert rest.budget == request.budget - 2
  # What the lost worker still says comes too late.
  run.accept(lost, work, chunk(work, [9, 9], Stop.ENDED))
  run.accept(other, again, chunk(again, [7], Stop.ENDED, version=2))
  run.accept(other, again, chunk(again, [7], Stop.ENDED, version=2))
  completion = run.outcomes.get_nowait()
  assert run.outcomes.empty()
  assert completion.request is request and completion.stop is Stop.ENDED
  np.testing.assert_array_equal(completion.tokens, [5, 6, 7])
  assert [s.policy_version for s in completion.segments] == [70, 71]


def test_a_request_that_fails_everywhere_ends_the_run():
  run = make_run(requests(1, 1))
  (share,) = run.join([1])
  for _ in range(3):
    assert run.outcomes.empty()
    ((work,),) = run.take(share)
    run.accept(share, work, chunk(work, stop=Stop.FAILED, error='disk full'))
  error = run.outcomes.get_nowait()
  assert str(error) == 'response 0/0 failed 3 times, at last: disk full'


def test_log_probabilities_that_are_no_numbers_end_the_run():
  run = make_run(requests(1, 1))
  (share,) = run.join([1])
  ((work,),) = run.take(share)
  made = dataclasses.replace(
    chunk(work, [5, 6], Stop.ENDED), logprobs=np.array([-1, np.nan], np.float32)
  )
  run.accept(share, work, made)
  error = run.outcomes.get_nowait()
  assert isinstance(error, FloatingPointError)
  assert 'response 0/0: the log-probabilities of 1 of its 2 tokens' in str(
    error
  )


def test_when_nobody_waits_any_more():
  run = make_run(requests(1, 1))
  (share,) = run.join([1])
  run.finish()
  assert run.take(share) == []
