"""Prompts in, texts out, whatever the order in which they finish."""

import types

import numpy as np

from k15.rollout import texts
from k15.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()


class Echo:
  """A rollout that answers the last request first, in capitals."""

  def __init__(self):
    self.seen = []

  def generate(self, requests):
    self.seen += requests
    for request in reversed(requests):
      text = TOKENIZER.decode(request.prompt).upper()
      tokens = np.append(TOKENIZER.encode(text), TOKENIZER.eos_id)
      yield types.SimpleNamespace(request=request, tokens=tokens)


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
  assert names == [(0, 0), (1, 0), (0, 1)]
  assert {(r.budget, r.temperature) for r in rollout.seen} == {(9, 0.5)}


def test_too_long_a_prompt_is_not_asked():
  rollout = Echo()
  generate = texts.make_generate(rollout, TOKENIZER, 5, 9, 0.5)
  assert generate(['a', '123456', 'b']) == ['A', '', 'B']
  assert [r.group_id for r in rollout.seen] == [0, 2]
