"""JetStream's interface over the slots, driven as its Driver drives it."""

import jax
import numpy as np
import pytest
import small_engine
import stock_engine

from k15.rollout import backend
from k15.rollout import scheduler
from k15.rollout.requests import Request, Stop


@pytest.fixture(scope='module')
def engine():
  return stock_engine.make_engine()


def prefill(engine, tokens, **changes):
  padded = np.zeros(16, np.int32)
  padded[: len(tokens)] = tokens
  settings = dict(padded_tokens=padded, true_length=len(tokens))
  return engine.prefill(params=engine.load_params(), **settings | changes)


def decode(engine, prefixes, calls):
  """Tokens and log-probs of each slot, by the interface alone."""
  state = engine.init_decode_state()
  for slot, prefix in enumerate(prefixes):
    state = engine.insert(prefix, state, slot=slot)
  tokens = [[] for _ in prefixes]
  logprobs = [[] for _ in prefixes]
  for _ in range(calls):
    state, result = engine.generate(engine.load_params(), state)
    result.copy_to_host_async()
    result = result.convert_to_numpy()
    for slot in range(len(prefixes)):
      data = result.get_result_at_slot(slot)
      count = int(data.valid.sum())
      assert data.valid[0, :count].all()
      tokens[slot] += data.tokens[0, :count].tolist()
      bits = result.data[slot, slice(*result.logprob_idx)]  # nats, as int32
      logprobs[slot] += bits[:count].copy().view(np.float32).tolist()
      assert data.lengths.tolist() == [len(tokens[slot])]
  return tokens, logprobs


def test_the_interface_gives_the_tokens_of_the_scheduler(engine):
  prompts = [small_engine.request(g, length=5 + g).prompt for g in range(2)]
  tokens, logprobs = decode(engine, [prefill(engine, p) for p in prompts], 3)
  slots = backend.SlotBackend(engine.slots)
  ours = scheduler.Scheduler(slots)
  ours.set_params(engine.load_params(), 0)
  for i, prompt in enumerate(prompts):  # The engine's first two, by its seed.
    ours.submit(Request(i, 0, prompt, prompt[:0], budget=12, seed=9))
  got = {}
  while not ours.is_idle:
    for chunk in ours.step():
      got.setdefault(chunk.request.group_id, []).append(chunk)
  for i in range(2):
    assert tokens[i] == np.concatenate([c.tokens for c in got[i]]).tolist()
    np.testing.assert_allclose(
      logprobs[i], np.concatenate([c.logprobs for c in got[i]]), atol=1e-6
    )


def test_a_prompt_behind_a_prefix_is_one_prompt(engine):
  prompt = small_engine.request(length=9).prompt
  whole = prefill(engine, prompt)
  before = prefill(engine, prompt[:4])
  parts = prefill(engine, prompt[4:], existing_prefix=before)
  np.testing.assert_array_equal(parts.context, prompt)
  a, b = jax.tree.leaves(whole.prefix), jax.tree.leaves(parts.prefix)
  assert len(a) == len(b)
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)


def test_prompts_that_do_not_fit(engine):
  for length in (0, small_engine.COLUMNS, 40):
    padded = np.zeros(max(length, 16), np.int32)
    with pytest.raises(ValueError, match=f'a prompt of {length} tokens for 32'):
      engine.prefill(params=None, padded_tokens=padded, true_length=length)
  with pytest.raises(ValueError, match='a prompt of 99 tokens'):
    engine.prefill(  # JetStream cuts what is too long, and says how long.
      params=None, padded_tokens=np.zeros(16, np.int32), true_length=99
    )


def test_what_servers_ask_of_an_engine(engine):
  assert engine.max_concurrent_decodes == 3
  assert engine.samples_per_slot == 1
  assert engine.max_prefill_length == 32
  assert engine.mesh.size == 1
  assert engine.colocated_cpus is None
  prefix = prefill(engine, [1, 2])
  jax.device_put(prefix, engine.get_prefix_destination_sharding())
  with pytest.raises(ValueError, match='without a way to load weights'):
    type(engine)(engine.slots, small_engine.TOKENIZER).load_params()


def test_text_is_written_as_servers_join_it(engine):
  tokenizer = engine.build_tokenizer(engine.get_tokenizer())
  ids, length = tokenizer.encode('a\u00e9', is_bos=True, max_prefill_length=16)
  assert (ids.tolist(), length) == ([97, 0xC3, 0xA9], 3)
  pieces = [tokenizer.decode([i]) for i in ids]
  assert pieces == ['a', '<0xC3>', '<0xA9>']
  assert tokenizer.decode(ids) == 'a\u00e9'
  assert tokenizer.decode([tokenizer.eos_id]) == ''
  assert tokenizer.stop_tokens == {tokenizer.eos_id}
  assert tokenizer.bos_id == tokenizer.pad_id


def test_stop_ids_belong_to_requests(engine):
  def run(**changes):
    ours = scheduler.Scheduler(backend.SlotBackend(engine.slots))
    ours.set_params(engine.load_params(), 0)
    ours.submit(small_engine.request(0, 0, budget=12, **changes))
    ours.submit(small_engine.request(1, 0, budget=12))
    chunks = []
    while not ours.is_idle:
      chunks += ours.step()
    mine = [c for c in chunks if c.request.group_id == 0]
    other = [c.tokens for c in chunks if c.request.group_id == 1]
    tokens = np.concatenate([c.tokens for c in mine]).tolist()
    return tokens, mine[-1].stop, np.concatenate(other).tolist()

  free, stop, beside = run()
  assert stop is Stop.EXHAUSTED and len(free) == 12
  at = max(free.index(t) for t in free[:6])  # Not seen before in it.
  ids = (free[at], 300, 301)
  assert run(stop_ids=ids) == (free[: at + 1], Stop.ENDED, beside)
