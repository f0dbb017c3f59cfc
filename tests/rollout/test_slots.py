"""Slots, stops and shapes of the decode loop."""

import dataclasses
import functools
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import repetition_oracle

from k15.devices import sharding
from k15.model import inference
from k15.model import policy
from k15.rollout import local
from k15.rollout import repetition
from k15.rollout import slots as slots_lib
from k15.rollout.requests import MAX_STOP_IDS, Request, Stop

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=2,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
)
NEVER = -1  # an end-of-sequence token that is never sampled
KEY = jax.random.key(5)


@functools.cache
def make_decoder(**changes):
  settings = dict(
    config=CONFIG,
    num_slots=4,
    columns=48,
    tokens_per_call=8,
    prefill_batch=2,
    eos_ids=(NEVER,),
  )
  return slots_lib.SlotDecoder(**settings | changes)


def boxed_params():
  return policy.boxed(CONFIG)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
    nn.unbox(boxed_params()),
  )


def prompt(length, seed=0):
  rng = np.random.default_rng([seed, length])
  return rng.integers(0, 64, length).astype(np.int32)


def request(sample_index=0, length=5, budget=20, **changes):
  settings = dict(
    group_id=3,
    sample_index=sample_index,
    prompt=prompt(length),
    response=np.zeros(0, np.int32),
    budget=budget,
  )
  return Request(**settings | changes)


def answer(decoder, params, *requests):
  """Completions in the order of the requests."""
  rollout = local.LocalRollout(decoder, KEY)
  rollout.set_params(params, version=0)
  done = {id(c.request): c for c in rollout.generate(requests)}
  return [done[id(r)] for r in requests]


def slots_of(decoder, slots, budgets, rows=(0, 1)):
  P = decoder.repetition_max_period
  return slots_lib.SlotRequest(
    rows=np.array(rows, np.int32),
    slots=np.array(slots, np.int32),
    seeds=np.zeros((2, 2), np.uint32),
    group_ids=np.array([1, 2], np.int32),
    sample_indices=np.zeros(2, np.int32),
    budgets=np.array(budgets, np.int32),
    temperatures=np.ones(2, np.float32),
    top_ps=np.ones(2, np.float32),
    stop_ids=np.full((2, MAX_STOP_IDS), -1, np.int32),
    runs=np.zeros((2, P), np.int32),
    recent=np.full((2, P), repetition.NO_TOKEN, np.int32),
  )


def prefix_of(decoder, params):
  """Two prompts, of 5 and of 9 tokens."""
  tokens = np.zeros((2, 32), np.int32)
  tokens[0, :5], tokens[1, :9] = prompt(5), prompt(9)
  return decoder.prefill(params, tokens, np.array([5, 9], np.int32))


@pytest.mark.parametrize(
  ('columns', 'buckets'),
  [
    (16, (16,)),
    (32, (32,)),
    (48, (32, 48)),
    (600, (32, 128, 512, 600)),
  ],
)
def test_buckets_grow_fourfold_up_to_the_columns(columns, buckets):
  decoder = make_decoder(columns=columns)
  assert decoder.buckets == buckets
  for length in (1, *buckets):
    assert decoder.bucket_of(length) == min(b for b in buckets if b >= length)
  with pytest.raises(ValueError, match=f'{columns + 1} tokens .* {columns} '):
    decoder.bucket_of(columns + 1)


def test_prefill_leaves_the_last_token_to_the_first_step(params):
  prefix = prefix_of(make_decoder(), params)
  np.testing.assert_array_equal(prefix.tokens, [prompt(5)[-1], prompt(9)[-1]])
  np.testing.assert_array_equal(prefix.positions, [4, 8])


@pytest.mark.parametrize('is_laid_out', [True, False])
def test_weights_prepared_once_change_no_token(
  params, is_laid_out, monkeypatch
):
  decoder = make_decoder()
  monkeypatch.setattr(inference, 'fits', lambda shape: is_laid_out)
  prepared = decoder.prepare(params)
  again = decoder.prepare(prepared)
  if is_laid_out:
    assert isinstance(prepared, inference.Weights)
  else:
    assert 'q_k_v' in prepared['layer_1']['attention']
    assert prepared['embedding'] is params['embedding']
  assert jax.tree.all(jax.tree.map(lambda x, y: x is y, prepared, again))
  made = []
  for weights in (params, prepared):
    state = decoder.insert(
      prefix_of(decoder, weights),
      decoder.init_decode_state(),
      slots_of(decoder, slots=[2, 0], budgets=[8, 8]),
    )
    made.append(decoder.generate(weights, state, np.int32(99))[1])
  np.testing.assert_array_equal(made[0].tokens, made[1].tokens)
  np.testing.assert_allclose(made[0].logprobs, made[1].logprobs, atol=1e-5)


def test_slots_count_down_their_budgets_alone(params):
  decoder = make_decoder()
  state = decoder.insert(
    prefix_of(decoder, params),
    decoder.init_decode_state(),
    slots_of(decoder, slots=[2, 0], budgets=[3, 11]),
  )
  np.testing.assert_array_equal(state.is_live, [True, False, True, False])
  state, made = decoder.generate(params, state, np.int32(99))
  np.testing.assert_array_equal(made.counts, [8, 0, 3, 0])
  assert made.stop.tolist() == [
    Stop.RUNNING,
    Stop.RUNNING,  # free, and it stays free
    Stop.EXHAUSTED,
    Stop.RUNNING,
  ]
  assert made.steps == 8
  assert not made.tokens[1].any()
  assert not made.logprobs[2, 3:].any()
  state, made = decoder.generate(params, state, np.int32(99))
  np.testing.assert_array_equal(made.counts, [3, 0, 0, 0])
  assert made.steps == 3  # Nothing is live any more.
  state, made = decoder.generate(params, state, np.int32(99))
  assert made.steps == 0


def test_generate_returns_as_soon_as_a_slot_is_free(params):
  decoder = make_decoder()
  state = decoder.insert(
    prefix_of(decoder, params),
    decoder.init_decode_state(),
    slots_of(decoder, slots=[1, 3], budgets=[2, 6]),
  )
  state, made = decoder.generate(params, state, np.int32(1))
  assert made.steps == 2
  state, made = decoder.generate(params, state, np.int32(1))
  assert made.steps == 4


def test_a_slot_out_of_range_is_no_slot(params):
  decoder = make_decoder()
  state = decoder.insert(
    prefix_of(decoder, params),
    decoder.init_decode_state(),
    slots_of(decoder, slots=[1, decoder.num_slots], budgets=[3, 3]),
  )
  np.testing.assert_array_equal(state.is_live, [False, True, False, False])


@pytest.fixture(scope='module')
def unstopped(params):
  """20 tokens of one response that nothing ends."""
  (completion,) = answer(make_decoder(), params, request())
  assert completion.stop == Stop.EXHAUSTED
  return completion.tokens


def test_the_end_of_sequence_ends_it_and_is_kept(params, unstopped):
  position = 12
  eos = int(unstopped[position])
  position = unstopped.tolist().index(eos)
  decoder = make_decoder(eos_ids=(eos,))
  whole, exact, short = answer(
    decoder,
    params,
    request(),
    request(budget=position + 1),
    request(budget=position),
  )
  np.testing.assert_array_equal(whole.tokens, unstopped[: position + 1])
  assert whole.stop == Stop.ENDED
  # At its last token the budget is spent too; the end counts.
  np.testing.assert_array_equal(exact.tokens, unstopped[: position + 1])
  assert exact.stop == Stop.ENDED
  np.testing.assert_array_equal(short.tokens, unstopped[:position])
  assert short.stop == Stop.EXHAUSTED


def test_loops_are_cut_where_the_rule_says(params):
  # At a low temperature this policy soon runs in a loop.
  settings = dict(count=3, max_period=8, min_tokens=10)
  requests = [
    request(i, length=4 + i, budget=36, temperature=0.05) for i in range(4)
  ]
  free = answer(make_decoder(repetition_max_period=8), params, *requests)
  decoder = make_decoder(
    **{f'repetition_{name}': value for name, value in settings.items()}
  )
  stopped = answer(decoder, params, *requests)
  seen = set()
  for a, b in zip(free, stopped, strict=True):
    length = repetition_oracle.first_repetition(a.tokens, **settings)
    expected = a.tokens if length < 0 else a.tokens[:length]
    np.testing.assert_array_equal(b.tokens, expected)
    is_loop = b.stop == Stop.REPEATED
    assert is_loop == (length >= 0)
    seen.add(is_loop)
    if is_loop:
      # Resumed in the middle of the loop, it is cut at the same place.
      resumed = dataclasses.replace(
        b.request,
        response=a.tokens[: length - 2],
        budget=36 - (length - 2),
      )
      (rest,) = answer(decoder, params, resumed)
      np.testing.assert_array_equal(rest.tokens, a.tokens[length - 2 : length])
      assert rest.stop == Stop.REPEATED
  assert True in seen


def test_nothing_compiles_after_warm_up(params, caplog):
  decoder = make_decoder(columns=40)  # its shapes are nobody else's
  rollout = local.LocalRollout(decoder, KEY)
  rollout.set_params(params, version=0)
  rollout.warm_up()
  assert not rollout.pop_stats()
  with jax.log_compiles(), caplog.at_level(logging.WARNING):
    for _ in range(2):
      requests = [
        request(i, length=1 + 5 * i, budget=1 + i, temperature=1 + i)
        for i in range(7)
      ]
      assert len(list(rollout.generate(requests))) == 7
      rollout.set_params(jax.tree.map(lambda x: x + 0, params), version=1)
  messages = [record.getMessage() for record in caplog.records]
  ours = 'prefill', 'insert', 'generate', '_step'
  assert not [
    m for m in messages if 'Compiling' in m and any(n in m for n in ours)
  ]


@pytest.mark.parametrize('sizes', [(2, 1, 1), (1, 2, 2)], ids=str)
def test_a_mesh_changes_no_token(params, sizes):
  requests = [request(i, length=3 + i % 3, budget=6 + i) for i in range(5)]
  expected = answer(make_decoder(), params, *requests)
  mesh = sharding.make_mesh(*sizes)
  layout = sharding.param_shardings(mesh, boxed_params())
  sharded = jax.device_put(params, layout)
  rollout = local.LocalRollout(make_decoder(columns=47), KEY)
  with sharding.use_mesh(mesh):
    rollout.set_params(sharded, version=0)
    done = {c.request.sample_index: c for c in rollout.generate(requests)}
  for completion in expected:
    got = done[completion.request.sample_index]
    np.testing.assert_array_equal(got.tokens, completion.tokens)
    np.testing.assert_allclose(got.logprobs, completion.logprobs, atol=1e-5)
