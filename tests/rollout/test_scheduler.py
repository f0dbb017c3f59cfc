"""Slots, weights and endings, on a backend that is only arithmetic."""

import fake_backend
import numpy as np
import pytest
from fake_backend import FakeBackend

from k15.rollout import requests as requests_lib
from k15.rollout.requests import Request, Stop
from k15.rollout.scheduler import Scheduler


def request(group_id=0, sample_index=0, length=4, budget=10, **changes):
  settings = dict(
    group_id=group_id,
    sample_index=sample_index,
    prompt=np.full(length, 2 + group_id, np.int32),
    response=np.zeros(0, np.int32),
    budget=budget,
    stop_ids=(96,),
  )
  return Request(**settings | changes)


def make(requests=(), version=0, **shape):
  backend = FakeBackend(**shape)
  scheduler = Scheduler(backend)
  scheduler.set_params(100 * version, version)
  for r in requests:
    scheduler.submit(r)
  return scheduler, backend


def finish(scheduler, chunks=(), calls=200):
  """Completions by (group, sample) of these chunks and all still to come."""
  works, done = {}, {}
  chunks = list(chunks)
  while True:
    for chunk in chunks:
      asked = chunk.request
      work = works.setdefault(asked, requests_lib.Work(asked, asked))
      work.chunks.append(chunk)
      if work.is_done:
        key = asked.group_id, asked.sample_index
        assert key not in done
        done[key] = works.pop(asked).completion()
    if scheduler.is_idle:
      return done
    assert calls, 'no end'
    calls -= 1
    chunks = scheduler.step()


def mixed():
  return [
    request(g, s, length=3 + 5 * g, budget=2 + 3 * g + s)
    for g in range(6)
    for s in range(2)
  ]


def versions(completion):
  """(version, number of tokens) of each segment."""
  return [(s.policy_version, len(s.tokens)) for s in completion.segments]


def test_every_request_is_answered_once_whatever_the_shape():
  expected = None
  for shape in ((3, 4, 2), (1, 1, 1), (16, 8, 8), (2, 32, 3)):
    scheduler, _ = make(mixed(), **dict(zip(
      ('num_slots', 'tokens_per_call', 'prefill_batch'), shape, strict=True
    )))  # fmt: skip
    done = {k: c.tokens.tolist() for k, c in finish(scheduler).items()}
    expected = expected or done
    assert done == expected
    assert len(done) == 12


def test_slots_are_refilled_at_once_and_no_call_is_wasted():
  # Budgets 2, 8, 8, 4 in 3 slots, 4 tokens a call: the first call returns
  # after 2 steps, as a slot is free and one request waits.
  requests = [request(g, budget=b) for g, b in enumerate((2, 8, 8, 4))]
  scheduler, backend = make(requests, num_slots=3, prefill_batch=4)
  finish(scheduler)
  # Then 4 steps (all of the fourth), and the last 2 of the others.
  assert backend.calls == [2, 4, 2]
  stats = scheduler.stats()
  assert stats['generate_calls'] == 3
  assert stats['decode_steps'] == 8
  assert stats['tokens'] == 2 + 8 + 8 + 4
  assert stats['prefill_calls'] == 1
  assert stats['prefill_tokens'] == 16
  assert (stats['slots'], stats['live'], stats['queued']) == (3, 0, 0)
  assert stats['decode_seconds'] >= 0 and stats['prefill_seconds'] >= 0
  assert scheduler.step() == []
  assert backend.calls == [2, 4, 2]


def test_samples_share_a_prefill_even_if_they_come_late():
  scheduler, backend = make([request(0, s) for s in range(5)])
  scheduler.step()
  scheduler.submit(request(0, 5))
  assert len(finish(scheduler)) == 6
  assert backend.prefills == [[4]]


def test_contexts_of_one_bucket_are_prefilled_together():
  lengths = (4, 20, 6, 22, 8)
  requests = [request(g, length=n) for g, n in enumerate(lengths)]
  scheduler, backend = make(requests, num_slots=8)
  finish(scheduler)
  assert backend.prefills == [[4, 6], [20, 22], [8]]


def test_nothing_starts_before_there_are_weights():
  backend = FakeBackend()
  scheduler = Scheduler(backend)
  scheduler.submit(request())
  assert scheduler.step() == []
  assert not scheduler.has_work and not scheduler.is_idle
  scheduler.set_params(300, 3)
  assert versions(finish(scheduler)[0, 0]) == [(3, 10)]


@pytest.mark.parametrize('late', [False, True])
def test_interrupt_makes_a_segment_border(late):
  requests = [request(g, budget=10) for g in range(4)]
  scheduler, backend = make(requests, num_slots=2)
  chunks = scheduler.step()
  scheduler.set_params(100, 1, live='interrupt')
  assert scheduler.version == 1
  if late:
    scheduler.set_params(200, 2, live='interrupt')  # before any call
  newest = 2 if late else 1
  done = finish(scheduler, chunks)
  # One call of 4 tokens, then all the rest under the newest weights.
  assert versions(done[0, 0]) == versions(done[1, 0]) == [(0, 4), (newest, 6)]
  assert versions(done[2, 0]) == versions(done[3, 0]) == [(newest, 10)]
  assert [8, 8] in backend.prefills
  for segment in done[0, 0].segments:
    weight = 100 * segment.policy_version
    np.testing.assert_array_equal(segment.behavior_logprobs, weight)
  # Tokens follow from their position, as if nothing had happened.
  assert done[0, 0].tokens.tolist() == [
    fake_backend.token_of(requests[0], 4 + i, 0 if i < 4 else 100 * newest)
    for i in range(10)
  ]
  assert scheduler.stats()['renewed'] == (2 if not late else 2)


def test_in_flight_keeps_what_was_prefilled_for_live_responses_alone():
  # Four samples of one prompt in two slots: two wait, prefilled.
  requests = [request(0, s) for s in range(4)]
  scheduler, backend = make(requests, num_slots=2)
  chunks = scheduler.step()
  scheduler.set_params(100, 1, live='in_flight')
  chunks += scheduler.step()
  assert backend.kv == {0: 0, 1: 0}
  done = finish(scheduler, chunks)
  assert versions(done[0, 0]) == [(0, 4), (1, 6)]
  assert versions(done[0, 3]) == [(1, 10)]
  assert backend.prefills == [[4], [4]]  # Again for those that waited.


def test_drain_finishes_what_has_started_and_starts_nothing():
  requests = [request(0, budget=3), request(1, budget=10), request(2)]
  scheduler, backend = make(requests, num_slots=2)
  chunks = scheduler.step()  # Returns after 3 steps: request 0 is done.
  scheduler.set_params(100, 1, live='drain')
  assert scheduler.version == 0
  chunks += scheduler.step()
  assert scheduler.stats()['live'] == 1
  # Nothing may start, so no call returns early for it: 3 + 4 + 3 tokens.
  chunks += scheduler.step()
  assert backend.calls == [3, 4, 3]
  assert scheduler.version == 1
  done = finish(scheduler, chunks)
  assert versions(done[1, 0]) == [(0, 10)]
  assert versions(done[2, 0]) == [(1, 10)]


def test_weights_that_wait_are_overtaken_and_released_by_endings():
  slow = request(0)
  scheduler, _ = make([slow, request(1, budget=1)], num_slots=1)
  scheduler.step()
  scheduler.set_params(100, 1, live='drain')
  scheduler.set_params(100, 1, live='interrupt')  # A repeat changes nothing.
  assert scheduler.version == 0
  scheduler.set_params(200, 2, live='drain')
  with pytest.raises(ValueError, match='version 1 comes after version 2'):
    scheduler.set_params(100, 1)
  scheduler.cancel([slow])
  assert scheduler.version == 2
  assert versions(finish(scheduler)[1, 0]) == [(2, 1)]


def test_late_and_repeated_versions_change_no_weights():
  scheduler, backend = make([request()], version=4)
  chunks = scheduler.step()
  for live in ('drain', 'interrupt', 'in_flight'):
    scheduler.set_params(-1, 4, live)
    with pytest.raises(ValueError, match='version 3 comes after version 4'):
      scheduler.set_params(-1, 3, live)
  with pytest.raises(
    ValueError, match="live='now' is none of interrupt, drain"
  ):
    scheduler.set_params(-1, 5, 'now')
  assert versions(finish(scheduler, chunks)[0, 0]) == [(4, 10)]
  assert backend.prefills == [[4]]


def test_interrupt_and_resume_equal_one_go():
  whole, _ = make(mixed())
  expected = {k: c.tokens.tolist() for k, c in finish(whole).items()}
  requests, got = mixed(), {}
  while requests:
    scheduler, _ = make(requests)
    chunks = scheduler.step() + scheduler.step()
    chunks += scheduler.interrupt()
    assert scheduler.is_idle
    requests = []
    for key, c in finish(scheduler, chunks).items():
      r = c.request
      grown = requests_lib.join([r.response, c.tokens], np.int32)
      if c.stop is Stop.INTERRUPTED:
        budget = r.budget - len(c.tokens)
        changes = dict(length=len(r.prompt), budget=budget, response=grown)
        requests.append(request(*key, **changes))
      else:
        got[key] = grown.tolist()
  assert got == expected


def test_some_are_stopped_and_the_others_do_not_notice():
  requests = mixed()
  scheduler, _ = make(requests)
  chunks = scheduler.step()
  live = chunks[1].request  # The first has ended after two tokens.
  ended = scheduler.cancel([live, requests[-1], request(99)])
  assert [(c.request, c.stop) for c in ended] == [
    (live, Stop.CANCELLED),
    (requests[-1], Stop.CANCELLED),
  ]
  assert scheduler.cancel([live]) == []
  (stopped,) = scheduler.interrupt([requests[-2]])
  assert stopped.stop is Stop.INTERRUPTED and not len(stopped.tokens)
  assert scheduler.pop_ended() == [*ended, stopped]
  assert scheduler.pop_ended() == []
  done = finish(scheduler, [*chunks, *ended, stopped])
  alone, _ = make(mixed())
  expected = finish(alone)
  assert set(done) == set(expected)
  untouched = [k for k, c in done.items() if c.stop <= Stop.REPEATED]
  assert len(untouched) == 9
  for key in untouched:
    assert done[key].tokens.tolist() == expected[key].tokens.tolist()


def test_pause_keeps_everything():
  scheduler, backend = make([request(g) for g in range(4)])
  chunks = scheduler.step()
  scheduler.pause()
  assert scheduler.is_paused and not scheduler.has_work
  assert scheduler.step() == [] and len(backend.calls) == 1
  scheduler.submit(request(4))
  assert {r.group_id: s[0].tokens.tolist() for r, s in (
    scheduler.partials().items()
  )} == {c.request.group_id: c.tokens.tolist() for c in chunks}  # fmt: skip
  scheduler.unpause()
  assert len(finish(scheduler, chunks)) == 5
  assert scheduler.partials() == {}


def test_partials_outlive_new_weights():
  scheduler, _ = make([request()])
  scheduler.step()
  scheduler.set_params(100, 1)  # It waits, to be prefilled again.
  (segment,) = scheduler.partials()[next(iter(scheduler.partials()))]
  assert len(segment.tokens) == 4
  scheduler.step()
  ((first, second),) = scheduler.partials().values()
  assert (first.policy_version, second.policy_version) == (0, 1)


def test_refused_requests_leave_the_others_alone():
  scheduler, _ = make([request(0)])
  for bad in (dict(budget=0), dict(length=60), dict(temperature=float('nan'))):
    with pytest.raises(ValueError, match='response 9/0'):
      scheduler.submit(request(9, **bad))
  good = request(1)
  scheduler.submit(good)
  with pytest.raises(ValueError, match='response 1/0 is submitted already'):
    scheduler.submit(good)
  assert len(finish(scheduler)) == 2


def test_events_say_what_each_slot_did():
  events = []
  scheduler = Scheduler(FakeBackend(num_slots=1), events.append)
  scheduler.set_params(0, 3)
  scheduler.submit(request(5, 6, budget=6))
  scheduler.step()
  scheduler.step()
  scheduler.submit(request(7))
  scheduler.step()
  scheduler.interrupt()
  assert [
    (e.slot, e.kind, e.group_id, e.sample_index, e.version, e.tokens, e.stop)
    for e in events
  ] == [
    (0, 'prefill', 5, 6, 3, 4, Stop.RUNNING),
    (0, 'decode', 5, 6, 3, 4, Stop.RUNNING),
    (0, 'decode', 5, 6, 3, 2, Stop.EXHAUSTED),
    (0, 'prefill', 7, 0, 3, 4, Stop.RUNNING),
    (0, 'decode', 7, 0, 3, 4, Stop.RUNNING),
    (0, 'decode', 7, 0, 3, 0, Stop.INTERRUPTED),
  ]
  times = [t for e in events for t in (e.start, e.end)]
  assert times == sorted(times)
