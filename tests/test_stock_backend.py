"""An engine behind JetStream's interface alone, in our scheduler."""

import dataclasses

import numpy as np
import pytest
import small_engine

from k15.rollout import backend
from k15.rollout import scheduler as scheduler_lib
from k15.rollout import stock_backend
from k15.rollout.requests import Request, Stop


def request(group_id, budget, stop_ids=()):
  # With the ids and the seed that the engine gives to its first prompts.
  prompt = small_engine.request(group_id, length=4 + group_id).prompt
  return Request(
    group_id, 0, prompt, prompt[:0], budget, seed=9, stop_ids=stop_ids
  )


def run(slots, params, requests):
  scheduler = scheduler_lib.Scheduler(slots)
  scheduler.set_params(params, 0)
  for r in requests:
    scheduler.submit(r)
  # Joined by hand: completions want log-probabilities, which such an engine
  # does not have.
  tokens, done, logprobs = {}, {}, None
  while not scheduler.is_idle:
    for chunk in scheduler.step():
      group, logprobs = chunk.request.group_id, chunk.logprobs
      tokens.setdefault(group, []).extend(chunk.tokens.tolist())
      if chunk.stop is not Stop.RUNNING:
        done[group] = chunk.stop, tokens[group]
  return done, logprobs


def test_budgets_and_stop_tokens_are_watched_from_outside():
  params = small_engine.make_params()
  ours = backend.SlotBackend(small_engine.make_decoder())
  free, _ = run(ours, params, [request(0, 12)])
  _, tokens = free[0]
  stop_ids = (tokens[6],)  # In the second call of four tokens.
  requests = [request(0, 12, stop_ids), request(1, 7), request(2, 5)]
  expected, _ = run(ours, params, requests)
  engines = small_engine.make_engine(), small_engine.make_engine()
  stock = stock_backend.StockBackend(*engines, transfer=True)
  done, logprobs = run(stock, (params, params), requests)
  assert done == expected
  assert done[0][0] is Stop.ENDED
  assert done[0][1][-1] == tokens[6] and len(done[0][1]) <= 7
  assert [len(done[g][1]) for g in (1, 2)] == [7, 5]
  assert np.isnan(logprobs).all()  # The interface has none.


def test_what_such_an_engine_cannot_take():
  engine = small_engine.make_engine()
  stock = stock_backend.StockBackend(engine, engine, transfer=False)
  long = Request(0, 0, np.zeros(33, np.int32), np.zeros(0, np.int32), 4)
  with pytest.raises(ValueError, match='33 tokens, and the engine prefills 32'):
    stock.check(long)
  short = dataclasses.replace(long, prompt=np.zeros(3, np.int32), top_p=0.9)
  with pytest.raises(ValueError, match='top_p 0.9 .* the engine knows neither'):
    stock.check(short)

  class Beams(type(engine)):
    samples_per_slot = 4

  beams = Beams(engine.slots, small_engine.TOKENIZER)
  with pytest.raises(ValueError, match='an engine with 4 samples per slot'):
    stock_backend.StockBackend(engine, beams, transfer=False)
