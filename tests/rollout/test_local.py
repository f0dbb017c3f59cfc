"""Continuous batching: the same tokens, whatever shares the machine."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15.model import heads
from k15.model import inference
from k15.model import policy
from k15.rollout import backend
from k15.rollout import local
from k15.rollout import slots as slots_lib
from k15.rollout.requests import Context, Request, Stop

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=1,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
)
EOS, PAD = 1, 0
COLUMNS = 48


@functools.cache
def make_decoder(num_slots=3, tokens_per_call=4, prefill_batch=2):
  return slots_lib.SlotDecoder(
    config=CONFIG,
    num_slots=num_slots,
    columns=COLUMNS,
    tokens_per_call=tokens_per_call,
    prefill_batch=prefill_batch,
    eos_ids=(EOS,),
    repetition_count=4,
    repetition_max_period=4,
    repetition_min_tokens=12,
  )


class Spy:
  """An engine that notes the decode steps of every call."""

  def __init__(self, engine):
    self._engine = engine
    self.steps = []

  def __getattr__(self, name):
    return getattr(self._engine, name)

  def generate(self, params, state, *wanted):
    assert np.asarray(state.is_live).any()
    state, made = self._engine.generate(params, state, *wanted)
    self.steps.append(int(made.steps))
    return state, made


@pytest.fixture(scope='module')
def params():
  boxed = policy.boxed(CONFIG)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
    nn.unbox(boxed),
  )


def request(group_id, sample_index, length=5, budget=12, **changes):
  rng = np.random.default_rng([group_id, length])
  settings = dict(
    group_id=group_id,
    sample_index=sample_index,
    prompt=rng.integers(2, 64, length).astype(np.int32),
    response=np.zeros(0, np.int32),
    budget=budget,
    temperature=1.5,
  )
  return Request(**settings | changes)


def mixed_requests():
  """Six prompts of both buckets, two samples each, budgets 3 to 14."""
  return [
    request(g, s, length=(1, 5, 9, 30, 33, 34)[g], budget=3 + g + 6 * s)
    for g in range(6)
    for s in range(2)
  ]


def make_rollout(params, decoder=None):
  rollout = local.LocalRollout(decoder or make_decoder(), jax.random.key(5))
  rollout.set_params(params, version=4)
  return rollout


def name(item):
  return item.group_id, item.sample_index


def answer(params, requests, decoder=None):
  completions = make_rollout(params, decoder).generate(requests)
  return {name(c.request): c for c in completions}


@pytest.fixture(scope='module')
def alone(params):
  """Every mixed request on its own, with nothing beside it."""
  out = {}
  for r in mixed_requests():
    out |= answer(params, [r])
  return out


def assert_same(completions, expected):
  assert set(completions) == set(expected)
  for key, completion in completions.items():
    assert completion.stop == expected[key].stop
    assert [s.policy_version for s in completion.segments] == [4]
    np.testing.assert_array_equal(completion.tokens, expected[key].tokens)
    np.testing.assert_allclose(
      completion.logprobs, expected[key].logprobs, atol=1e-5
    )


def test_nothing_changed_since_the_tokens_were_written_down(params):
  # Of the first version of this page: (group, sample) in order of completion.
  completions = answer(params, mixed_requests())
  order = [
    '00',
    '10',
    '11',
    '01',
    '20',
    '21',
    '40',
    '30',
    '31',
    '50',
    '41',
    '51',
  ]
  assert [f'{g}{s}' for g, s in completions] == order
  expected = {
    (0, 1): [31, 57, 22, 29, 33, 27, 18, 24, 35],
    (2, 1): [45, 6, 44, EOS],
    (3, 1): [25, 62, 48, 56, 55, 7, 47, 43, 13, 33, 24, 61],
    (5, 1): [47, 3, 7, 62, 52, 55, 56, 58, 38, 16, 43, 20, 62, 11],
  }
  for key, tokens in expected.items():
    assert completions[key].tokens.tolist() == tokens


def test_slots_are_reused_and_leak_nothing(params, alone):
  # Twelve requests in three slots: each slot serves about four.
  assert_same(answer(params, mixed_requests()), alone)


@pytest.mark.parametrize(
  'shape', [(1, 4, 2), (16, 4, 2), (3, 1, 2), (3, 32, 1), (5, 7, 8)], ids=str
)
def test_shapes_of_the_engine_change_no_token(params, alone, shape):
  assert_same(answer(params, mixed_requests(), make_decoder(*shape)), alone)


@pytest.mark.parametrize('seed', range(2))
def test_the_order_of_requests_changes_no_token(params, alone, seed):
  order = np.random.default_rng(seed).permutation(12)
  requests = mixed_requests()
  assert_same(answer(params, [requests[i] for i in order]), alone)


def test_laid_out_for_inference_neighbours_change_no_bit(
  params, alone, monkeypatch
):
  monkeypatch.setattr(inference, 'FROM_WIDTH', 0)
  requests = mixed_requests()
  together = answer(params, requests)
  assert_same(together, alone)
  for order in (range(11, -1, -1), np.random.default_rng(2).permutation(12)):
    moved = answer(params, [requests[i] for i in order])
    for key, completion in together.items():
      np.testing.assert_array_equal(moved[key].tokens, completion.tokens)
      np.testing.assert_array_equal(moved[key].logprobs, completion.logprobs)


def test_samples_of_a_prompt_differ_and_share_one_prefill(params):
  rollout = make_rollout(params)
  requests = [request(0, s, length=7) for s in range(8)]
  completions = list(rollout.generate(requests))
  assert len({tuple(c.tokens) for c in completions}) == 8
  stats = rollout.pop_stats()
  assert stats['prefill_calls'] == 1
  assert stats['prefill_tokens'] == 7
  assert stats['tokens'] == sum(len(c.tokens) for c in completions)
  assert not rollout.pop_stats()  # Popped is popped.


def test_prompts_of_one_bucket_are_prefilled_together(params):
  rollout = make_rollout(params)
  # Lengths 1, 5, 9, 30 fit in the bucket of 32, 33 and 34 in that of 48; two
  # prompts a call.
  list(rollout.generate(mixed_requests()))
  stats = rollout.pop_stats()
  assert stats['prefill_calls'] == 3
  assert stats['prefill_tokens'] == 1 + 5 + 9 + 30 + 33 + 34


def test_no_call_decodes_nothing(params):
  spy = Spy(make_decoder())
  rollout = make_rollout(params, spy)
  completions = list(rollout.generate(mixed_requests()))
  assert min(spy.steps) >= 1
  stats = rollout.pop_stats()
  assert stats['generate_calls'] == len(spy.steps)
  assert stats['decode_steps'] == sum(spy.steps)
  # With more responses than slots waiting, slots stand free at the end only.
  longest = max(len(c.tokens) for c in completions)
  assert sum(spy.steps) <= stats['tokens'] / 3 + longest
  assert list(rollout.generate([])) == []
  assert not rollout.pop_stats()


def test_a_segmented_run_equals_one_in_one_go(params):
  whole = answer(params, [request(g, 0, budget=23) for g in range(5)])
  for g in range(5):
    tokens, logprobs = np.zeros(0, np.int32), np.zeros(0, np.float32)
    stop = Stop.EXHAUSTED
    while stop == Stop.EXHAUSTED and len(tokens) < 23:
      budget = min(5, 23 - len(tokens))
      segment = request(g, 0, response=tokens, budget=budget)
      ((_, piece),) = answer(params, [segment]).items()
      assert 1 <= len(piece.tokens) <= budget
      tokens = np.concatenate([tokens, piece.tokens])
      logprobs = np.concatenate([logprobs, piece.logprobs])
      stop = piece.stop
    np.testing.assert_array_equal(tokens, whole[g, 0].tokens)
    np.testing.assert_allclose(logprobs, whole[g, 0].logprobs, atol=1e-5)
    assert stop == whole[g, 0].stop


def test_logprobs_are_those_of_the_training_forward(params):
  temperature = 3.0  # so that rare ids are sampled too
  requests = [
    request(g, 0, length=6, budget=COLUMNS - 6, temperature=temperature)
    for g in range(24)
  ]
  completions = answer(params, requests, make_decoder(16, 32, 2)).values()
  rows = np.zeros((3, 24, COLUMNS), np.int32)
  for row, completion in enumerate(completions):
    length = 6 + len(completion.tokens)
    rows[0, row, :6] = completion.request.prompt
    rows[0, row, 6:length] = completion.tokens
    rows[1, row, :length] = np.arange(length)
    rows[2, row, :length] = 1
  logprobs, _ = jax.jit(heads.token_logprobs, static_argnums=0)(
    CONFIG, params, *rows, temperature
  )
  sampled = set()
  for row, completion in enumerate(completions):
    end = 6 + len(completion.tokens)
    np.testing.assert_allclose(
      completion.logprobs, logprobs[row, 6:end], atol=1e-5
    )
    sampled |= set(completion.tokens.tolist())
  assert {PAD, EOS} <= sampled


def test_completions_say_what_happened(params, alone):
  for (group_id, sample_index), completion in alone.items():
    budget = 3 + group_id + 6 * sample_index
    assert completion.tokens.dtype == np.int32
    assert completion.logprobs.dtype == np.float32
    assert len(completion.tokens) == len(completion.logprobs) <= budget
    assert (completion.logprobs < 0).all()
    ended = completion.tokens[-1] == EOS
    assert ended == (completion.stop == Stop.ENDED)
    if completion.stop == Stop.EXHAUSTED:
      assert len(completion.tokens) == budget
    assert EOS not in completion.tokens[:-1]


def test_temperatures_belong_to_requests(params):
  cold = [request(0, s, temperature=1e-4) for s in range(3)]
  hot = [request(0, s, temperature=1.5) for s in range(3, 6)]
  completions = answer(params, cold + hot, make_decoder(16, 4, 2))
  assert len({tuple(completions[0, s].tokens) for s in range(3)}) == 1
  assert len({tuple(completions[0, s].tokens) for s in range(3, 6)}) == 3


def test_greedy_and_nucleus_beside_the_whole(params):
  whole = [request(1, s) for s in range(3)]
  greedy = [request(0, s, temperature=0.0) for s in range(2)]
  cold = [request(0, 5, temperature=1e-4)]
  narrow = [request(0, 6, top_p=1e-6)]
  alone = answer(params, whole, make_decoder(16, 4, 2))
  both = answer(params, whole + greedy + cold + narrow, make_decoder(4, 4, 2))
  for name, completion in alone.items():
    np.testing.assert_array_equal(both[name].tokens, completion.tokens)
  # The likeliest token is all there is of a narrow nucleus or a cold one.
  ways = {tuple(both[0, s].tokens) for s in (0, 1, 5, 6)}
  assert len(ways) == 1


def test_slots_leave_the_program_of_parts_when_they_are_done(params):
  slots = backend.SlotBackend(make_decoder(4, 4, 2))
  slots.set_params(params)
  asked = [request(0, 0, budget=3, temperature=0.0), request(1, 0, budget=9)]
  for i, r in enumerate(asked):
    slots.insert(slots.prefill([Context(r.prompt)]), [0], [r], [i])
  assert slots._of_parts == {0}
  slots.generate(9)
  assert not slots._of_parts
  again = dataclasses.replace(asked[0], top_p=0.5, temperature=1.0)
  slots.insert(slots.prefill([Context(again.prompt)]), [0], [again], [0])
  slots.free([0])
  assert not slots._of_parts


def test_new_weights_count_from_the_next_call(params):
  rollout = make_rollout(params)
  stream = rollout.generate([request(0, s, budget=6) for s in range(4)])
  first = next(stream)
  rollout.set_params(jax.tree.map(lambda x: -x, params), version=5)
  segments = [s for c in (first, *stream) for s in c.segments]
  assert [s.policy_version for s in segments] == [4] * 4
  (after,) = rollout.generate([request(0, 0, budget=6)])
  assert [s.policy_version for s in after.segments] == [5]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(prompt=np.zeros(0, np.int32)), 'response 7/2 has an empty prompt'),
    (dict(budget=0), 'response 7/2 has a budget of 0 tokens'),
    (dict(budget=-3), 'a budget of -3 tokens'),
    (dict(top_p=0.0), 'response 7/2 has top_p 0.0'),
    (dict(temperature=-1.0), 'temperature -1.0'),
    (dict(temperature=float('nan')), 'temperature nan'),
    (
      dict(length=40, budget=9),
      'response 7/2: 40 tokens and a budget of 9 do not fit in 48 columns',
    ),
    (
      dict(length=30, budget=9, response=np.zeros(10, np.int32)),
      '40 tokens and a budget of 9 do not fit in 48 columns',
    ),
  ],
)
def test_refused_requests(params, changes, message):
  rollout = make_rollout(params)
  good, bad = request(0, 0), request(7, 2, **changes)
  with pytest.raises(ValueError, match=message):
    next(rollout.generate([good, bad]))
  assert not rollout.pop_stats()  # Refused before anything was computed.


def test_the_last_column_is_used(params):
  completions = answer(params, [request(9, 0, length=44, budget=4)])
  assert 1 <= len(completions[9, 0].tokens) <= 4


def test_without_weights_there_is_no_answer(params):
  rollout = local.LocalRollout(make_decoder(), jax.random.key(0))
  with pytest.raises(ValueError, match='generate before set_params'):
    next(rollout.generate([request(0, 0)]))
  rollout.set_params(params, version=0)
  rollout.close()
  with pytest.raises(ValueError, match='there are no weights'):
    next(rollout.generate([request(0, 0)]))
