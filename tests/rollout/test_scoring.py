"""Scores of a row against what training computes, in both layouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_engine

from k15.model import heads
from k15.model import inference
from k15.model import policy
from k15.rollout import backend
from k15.rollout import scoring


@pytest.mark.parametrize('lays_out', [False, True])
@pytest.mark.parametrize(
  'length, temperature', [(1, 1.0), (20, 0.5), (32, 0.0)]
)
def test_scores_are_those_of_training(lays_out, length, temperature):
  shape, params = small_engine.CONFIG, small_engine.make_params()
  tokens = np.random.default_rng(length).integers(0, 256, length)
  row = tokens[None].astype(np.int32)
  columns = np.arange(length)[None]
  ones = np.ones_like(row)
  expected, _ = heads.token_logprobs(
    shape, params, row, columns, ones, temperature or 1.0
  )
  hidden, _ = policy.forward(shape, params, row, columns, ones)
  logits = heads.logits_of(shape, params, hidden)[0] / (temperature or 1.0)
  whole = np.asarray(jax.nn.log_softmax(logits))
  if lays_out:
    params = inference.weights_of(shape, jax.tree.map(jnp.asarray, params))
  found = scoring.score(shape, params, row[0], 32, temperature)
  np.testing.assert_allclose(found.logprobs[1:], expected[0, 1:], atol=2e-5)
  best = np.sort(whole[:-1], axis=1)[:, ::-1][:, : scoring.ALTERNATIVES]
  np.testing.assert_allclose(found.tops[1:], best, atol=2e-5)
  for i, ids in enumerate(found.ids[1:]):
    np.testing.assert_allclose(whole[i, ids], found.tops[i + 1], atol=2e-5)


def test_what_cannot_be_scored_is_refused():
  slots = backend.SlotBackend(small_engine.make_decoder())
  with pytest.raises(ValueError, match='5 tokens to score, in 32 columns, wit'):
    slots.score(np.zeros(5, np.int32), 1.0)
  slots.set_params(small_engine.make_params())
  with pytest.raises(ValueError, match='33 tokens to score'):
    slots.score(np.zeros(33, np.int32), 1.0)
