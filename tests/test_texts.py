"""Prompts in, texts out, whatever the order in which they finish."""

import types

import numpy as np

from k15 import streams
from k15.rollout import requests
from k15.rollout import texts
from k15.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()


class Echo:
  """A rollout that answers the last request first, in capitals."""

  def __init__(self):
    self.seen = []
    self.stop = requests.Stop.ENDED

  def generate(self, asked):
    self.seen += asked
    for request in reversed(asked):
      text = TOKENIZER.decode(request.prompt).upper()
      tokens = np.append(TOKENIZER.encode(text), TOKENIZER.eos_id)
      yield types.SimpleNamespace(
        request=request, tokens=tokens, stop=self.stop
      )


def test_texts_come_in_order_of_the_prompts():
  generate = texts.make_generate(Echo(), TOKENIZER, 5, 9, 0.5)
  assert generate(['a', 'bc', 'a']) == ['A', 'BC', 'A']
  assert generate([]) == []


def test_requests_carry_the_settings_and_every_call_samples_anew():
  rollout = Echo()
  generate = texts.make_generate(rollout, TOKENIZER, 5, 9, 0.5)
  generate(['a', 'a'])
  generate(['a'])
  names = [(r.group_id, r.sample_index) for r in rollout.seen]
  first, second = streams.IDS['texts'][:2]
  assert names == [(first, 0), (second, 0), (first, 1)]
  assert {(r.budget, r.temperature) for r in rollout.seen} == {(9, 0.5)}


def test_too_long_a_prompt_is_not_asked():
  rollout = Echo()
  generate = texts.make_generate(rollout, TOKENIZER, 5, 9, 0.5)
  assert generate(['a', '123456', 'b']) == ['A', '', 'B']
  ids = streams.IDS['texts']
  assert [r.group_id for r in rollout.seen] == [ids[0], ids[2]]


def test_an_encoding_of_ones_own_and_a_later_call():
  rollout = Echo()
  generate = texts.make_generate(
    rollout,
    TOKENIZER,
    5,
    9,
    0.5,
    encode=lambda prompt: TOKENIZER.encode(f'<{prompt}>'),
    first_call=3,
  )
  assert generate(['a', 'abcd']) == ['<A>', '']
  assert [r.sample_index for r in rollout.seen] == [3]


def test_what_is_not_finished_may_be_left_out():
  rollout = Echo()
  rollout.stop = requests.Stop.EXHAUSTED
  generate = texts.make_generate(
    rollout, TOKENIZER, 5, 9, 0.5, finished_only=True
  )
  assert generate(['a']) == ['']
  rollout.stop = requests.Stop.ENDED
  assert generate(['a']) == ['A']
