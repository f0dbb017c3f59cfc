"""What is refused, and chunks that become completions."""

import dataclasses

import numpy as np
import pytest

from k15.rollout import requests
from k15.rollout.requests import Chunk, Request, Stop

NAN = float('nan')


def request(**changes):
  settings = dict(
    group_id=7,
    sample_index=2,
    prompt=np.arange(5, dtype=np.int32),
    response=np.zeros(0, np.int32),
    budget=3,
  )
  return Request(**settings | changes)


def test_what_just_fits_is_taken():
  largest = request(
    group_id=2**31 - 1,
    sample_index=2**31 - 1,
    seed=2**64 - 1,
    prompt=np.array([0, 9]),
    response=np.array([9, 0]),
    budget=4,
    stop_ids=(0, 9, 9, 3),
  )
  requests.check(largest, columns=8, vocab_size=10)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(prompt=np.zeros(0, np.int32)), 'response 7/2 has an empty prompt'),
    (dict(prompt=np.array([0, 10])), 'the prompt has id 10, outside .0, 10.'),
    (dict(prompt=np.array([-1])), 'the prompt has id -1, outside .0, 10.'),
    (dict(response=np.array([3, 2**40])), 'the response has id 1099511627776'),
    (dict(prompt=np.array([1.0])), 'the prompt holds float64, not integers'),
    (dict(prompt=np.array([2**70])), 'the prompt holds object, not integers'),
    (dict(prompt=np.zeros((1, 2), int)), 'the prompt has 2 dimensions, not 1'),
    (dict(budget=0), 'has a budget of 0 tokens'),
    (dict(budget=-(2**70)), 'a budget of -1180591620717411303424 tokens'),
    (dict(budget=NAN), 'a budget of nan tokens'),
    (dict(budget=4), '5 tokens and a budget of 4 do not fit in 8 columns'),
    (dict(budget=2**70), 'do not fit in 8 columns'),
    (dict(prompt=np.zeros(10**6, np.int32)), '1000000 tokens .* 8 columns'),
    (dict(temperature=-1.0), 'has temperature -1.0'),
    (dict(top_p=0.0), r'has top_p 0.0, outside \(0, 1\]'),
    (dict(top_p=1.5), 'has top_p 1.5'),
    (dict(top_p=NAN), 'has top_p nan'),
    (dict(temperature=NAN), 'has temperature nan'),
    (dict(temperature=float('inf')), 'has temperature inf'),
    (dict(temperature=1e-50), 'has temperature 1e-50'),  # 0 as float32
    (dict(stop_ids=(1, 2, 3, 4, 5)), 'has 5 stop ids, more than 4'),
    (dict(stop_ids=(1, 10)), 'stop_ids has id 10, outside'),
    (dict(seed=-1), r'seed -1 is outside \[0, 2\^64\)'),
    (dict(seed=2**64), 'seed 18446744073709551616 is outside'),
    (dict(group_id=2**31), 'group_id 2147483648 is outside'),
    (dict(sample_index=-1), 'sample_index -1 is outside'),
    (dict(sample_index=NAN), 'sample_index nan is outside'),
  ],
)
def test_refusals_name_the_numbers(changes, message):
  with pytest.raises(ValueError, match=message):
    requests.check(request(**changes), columns=8, vocab_size=10)


def chunk(asked, tokens, version, stop=Stop.RUNNING, error=''):
  tokens = np.array(tokens, np.int32)
  logprobs = -tokens.astype(np.float32)
  return Chunk(asked, tokens, logprobs, version, stop, error)


def test_chunks_of_mixed_requests_become_completions():
  a, b = request(), request()  # equal in every field, and still two
  works = {each: requests.Work(each, each) for each in (a, b)}

  def add(part):
    work = works[part.request]
    work.chunks.append(part)
    return work.completion() if work.is_done else None

  assert add(chunk(a, [1, 2], 3)) is None
  assert add(chunk(b, [9], 3)) is None
  assert add(chunk(a, [3], 3)) is None
  assert add(chunk(a, [4], 5)) is None
  done = add(chunk(a, [], 6, Stop.INTERRUPTED))
  assert done.request is a
  assert done.stop is Stop.INTERRUPTED
  # Versions 3 and 3 are one segment; the empty chunk of version 6 is none.
  assert [s.policy_version for s in done.segments] == [3, 5]
  assert [s.tokens.tolist() for s in done.segments] == [[1, 2, 3], [4]]
  assert done.tokens.tolist() == [1, 2, 3, 4]
  assert done.logprobs.tolist() == [-1, -2, -3, -4]
  assert done.tokens.dtype == np.int32
  assert done.logprobs.dtype == np.float32
  nothing = add(dataclasses.replace(chunk(b, [], 3), stop=Stop.ENDED))
  assert nothing.tokens.tolist() == [9]


def test_a_failure_is_raised():
  asked = request()
  failed = chunk(asked, [], 0, Stop.FAILED, 'no memory')
  work = requests.Work(asked, asked, [failed])
  with pytest.raises(RuntimeError, match='response 7/2 failed: no memory'):
    work.completion()
