"""Who gets which request, and that each is answered exactly once."""

import dataclasses

import numpy as np
import small_engine

from k15.rollout import remote
from k15.rollout.requests import Chunk, Stop


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
