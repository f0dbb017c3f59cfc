"""A backend without a policy: tokens are arithmetic, calls are noted."""

import types

import numpy as np

from k15.rollout import requests as requests_lib
from k15.rollout.features import NO_COUNTS
from k15.rollout.requests import Stop

COLUMNS, VOCAB, EOS = 64, 97, 1


def token_of(request, position, weight):
  """What follows `position` tokens of context; a sum mixes what counts."""
  number = 31 * request.seed + 7 * request.group_id + 13 * request.sample_index
  return (number + 5 * position + weight) % VOCAB


class FakeBackend:
  """Its weights are one integer, which the log-probabilities repeat.

  `kv` holds, per slot, the weight that prefilled it.
  """

  def __init__(self, num_slots=3, tokens_per_call=4, prefill_batch=2):
    self.num_slots = num_slots
    self.prefill_batch = prefill_batch
    self._tokens_per_call = tokens_per_call
    self._weight = None
    self._live = {}  # slot -> [request, tokens made]
    self.kv = {}
    self.counts = NO_COUNTS
    self.calls = []  # steps of every generate
    self.prefills = []  # lengths of the contexts of every prefill
    self.error = None
    self.before_generate = lambda: None

  def check(self, request):
    requests_lib.check(request, COLUMNS, VOCAB)

  def bucket_of(self, context):
    return 16 if len(context.tokens) <= 16 else COLUMNS

  def set_params(self, params):
    self._weight = params

  def prefill(self, contexts):
    assert 1 <= len(contexts) <= self.prefill_batch
    assert len({self.bucket_of(c) for c in contexts}) == 1
    self.prefills.append([len(c.tokens) for c in contexts])
    return [(c.tokens.tolist(), self._weight) for c in contexts]

  def insert(self, prefix, rows, requests, slots):
    for row, request, slot in zip(rows, requests, slots, strict=True):
      assert slot not in self._live
      context, weight = prefix[row]
      assert context == [*request.prompt, *request.response]
      assert weight == self._weight, 'keys and values of older weights'
      self._live[slot] = [request, 0]
      self.kv[slot] = weight

  def wait(self):
    pass

  def free(self, slots):
    for slot in slots:
      del self._live[slot]

  def generate(self, stop_when_free):
    self.before_generate()
    if self.error:
      raise self.error
    assert self._live, 'a call that decodes nothing'
    shape = self.num_slots, self._tokens_per_call
    tokens, logprobs = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    counts, stop = np.zeros((2, self.num_slots), np.int32)
    steps = 0
    while (
      steps < self._tokens_per_call
      and self._live
      and np.sum(stop != Stop.RUNNING) < stop_when_free
    ):
      for slot, (request, made) in list(self._live.items()):
        position = len(request.prompt) + len(request.response) + made
        token = token_of(request, position, self._weight)
        tokens[slot, steps], logprobs[slot, steps] = token, self._weight
        counts[slot] += 1
        self._live[slot][1] += 1
        if token in (request.stop_ids or (EOS,)):
          stop[slot] = Stop.ENDED
        elif made + 1 == request.budget:
          stop[slot] = Stop.EXHAUSTED
        if stop[slot]:
          del self._live[slot]
      steps += 1
    self.calls.append(steps)
    return types.SimpleNamespace(
      tokens=tokens, logprobs=logprobs, counts=counts, stop=stop, steps=steps
    )
