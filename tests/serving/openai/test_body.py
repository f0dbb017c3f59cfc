"""Fields of a body: read, refused with the numbers, or passed over."""

import json

import pytest

from k15.serving.openai import body
from k15.serving.openai.body import CHAT
from k15.serving.openai.body import COMPLETION


def test_what_is_not_said_is_as_openai_has_it():
  found = body.asked({}, COMPLETION)
  assert (found.n, found.max_tokens, found.temperature) == (1, 16, 1.0)
  assert (found.seed, found.stops, found.alternatives) == (None, (), None)
  assert body.asked({}, CHAT).max_tokens is None
  assert not found.is_scored


def test_fields_are_read():
  found = body.asked(
    dict(
      n=2, max_tokens=5, temperature=0, top_p=0.5, seed=-1, stop='a',
      stream=True, stream_options=dict(include_usage=True), logprobs=0,
      user='me', frequency_penalty=0.0, logit_bias={}, suffix=None,
    ),
    COMPLETION,
  )  # fmt: skip
  assert found.seed == 2**64 - 1 and found.stops == ('a',)
  assert found.counts_at_end and not found.is_scored


@pytest.mark.parametrize(
  'fields, sentence',
  [
    (dict(n=0), r'n is 0, outside \[1, 128\]'),
    (dict(n=True), 'n is True, and has to be a whole number'),
    (dict(n=1.0), 'n is 1.0'),
    (dict(max_tokens=10**400), 'max_tokens is 1000'),
    (dict(max_tokens=0), 'only an echo'),
    (dict(temperature=2.5), r'temperature is 2.5, outside \[0.0, 2.0\]'),
    (dict(temperature='1'), "temperature is '1'"),
    (dict(top_p=10**400), 'top_p is 1000'),
    (dict(stop=['']), 'stop is'),
    (dict(stop=['a'] * 17), 'up to 16'),
    (dict(stop='a' * 129), 'of 1 to 128 characters'),
    (dict(stop=5), 'stop is 5'),
    (dict(seed=2**64), 'seed is 18446744073709551616'),
    (dict(stream='yes'), "stream is 'yes', and has to be true or false"),
    (dict(stream_options=dict(other=1)), "stream_options has 'other'"),
    (dict(stream=True, logprobs=2), 'come when all tokens are there'),
    (dict(logprobs=21), 'logprobs is 21'),
    (dict(tools=[{}]), 'tools is .* not obeyed'),
    (dict(response_format=dict(type='json_object')), 'response_format is'),
    (dict(logit_bias={'5': 1}), 'logit_bias is'),
    (dict(best_of=2), 'best_of is 2'),
    (dict(frequency_penalty=0.5), 'frequency_penalty is 0.5'),
    (dict(min_p=0.1), "'min_p' is not known here"),
    ({'x' * 10**6: 1}, 'is not known here'),
  ],
)
def test_what_is_wrong_is_refused_in_a_short_sentence(fields, sentence):
  with pytest.raises(body.Bad, match=sentence) as refused:
    body.asked(fields, COMPLETION)
  assert len(str(refused.value)) < 400


def test_log_probabilities_of_a_chat():
  assert body.asked(dict(logprobs=True), CHAT).alternatives == 0
  both = dict(logprobs=True, top_logprobs=3)
  assert body.asked(both, CHAT).alternatives == 3
  assert body.asked(dict(logprobs=False), CHAT).alternatives is None
  with pytest.raises(body.Bad, match='top_logprobs is 3, and logprobs false'):
    body.asked(dict(top_logprobs=3), CHAT)
  limit = dict(max_tokens=3, max_completion_tokens=4)
  assert body.asked(limit, CHAT).max_tokens == 4


@pytest.mark.parametrize(
  'data',
  [b'', b'{', b'[]', b'1', b'{"n": NaN}', b'\xff', b'[' * 10**5,
   b'{"n": ' + b'9' * 5000 + b'}'],
)  # fmt: skip
def test_what_is_no_object_is_refused(data):
  with pytest.raises(body.Bad) as refused:
    body.to_object(data)
  assert len(str(refused.value)) < 200
  assert body.to_object(json.dumps(dict(n=1)).encode()) == dict(n=1)
