"""Slots whose prompts have pictures: neighbours, samples, resumed responses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_tower

from k15.model import heads
from k15.rollout import backend
from k15.rollout import slots
from k15.rollout.requests import Request
from k15.vision import positions

CONFIG = small_tower.config_of('deep')
# Of 0.1: see `test_training_sees_the_log_probabilities_of_the_rollout` in
# test_pictures.
PARAMS = small_tower.random_params(CONFIG, std=0.1)
COLUMNS, BUDGET = small_tower.LENGTH, 12
DECODER = slots.SlotDecoder(
  CONFIG, num_slots=4, columns=COLUMNS, tokens_per_call=BUDGET,
  prefill_batch=1, eos_ids=(99,),
)  # fmt: skip
# Equal words; pictures of other sizes and other pixels.
WIDE, TALL = ((2, 3), 0), ((4, 1), 1)


def context_of(grid, seed, response=()):
  """Tokens and `Images` of a prompt, and what was written after it."""
  prompt = small_tower.sequence(3, *grid, 4)
  tokens = np.append(prompt, response).astype(np.int32)
  picture = small_tower.picture(CONFIG, *grid, seed)
  padded, _, _, images = small_tower.row_of(CONFIG, [tokens], [[picture]])
  return tokens, padded, images


def prefill(context):
  tokens, padded, images = context
  return DECODER.prefill(PARAMS, padded, np.array([len(tokens)]), images)


def start(state, prefix, slot, number, response=(), temperature=1.0):
  request = Request(
    group_id=number, sample_index=slot, prompt=np.zeros(1, np.int32),
    response=np.array(response, np.int32), budget=BUDGET - len(response),
    seed=5, temperature=temperature,
  )  # fmt: skip
  asked = backend.slot_request(DECODER, [0], [request], [slot], 1)
  return DECODER.insert(prefix, state, asked)


def run(*started):
  """Tokens and log-probs of slots, started as `start` says."""
  state = DECODER.init_decode_state()
  for arguments in started:
    state = start(state, *arguments)
  _, made = DECODER.generate(PARAMS, state, np.int32(9))
  return jax.device_get((made.tokens, made.logprobs))


@pytest.fixture(scope='module')
def alone():
  """Tokens and log-probs of each picture by itself."""
  return [
    [x[slot] for x in run((prefill(context_of(*seen)), slot, 1))]
    for slot, seen in ((0, WIDE), (1, TALL))
  ]


def test_neighbours_with_other_pictures_do_not_meet(alone):
  prefixes = [prefill(context_of(*seen)) for seen in (WIDE, TALL)]
  # The pictures take other numbers of positions from what follows.
  assert prefixes[0].deltas.tolist() == [3 - 6]
  assert prefixes[1].deltas.tolist() == [4 - 4]
  tokens, logprobs = run((prefixes[0], 0, 1), (prefixes[1], 1, 1))
  for slot in (0, 1):
    np.testing.assert_array_equal(tokens[slot], alone[slot][0])
    np.testing.assert_array_equal(logprobs[slot], alone[slot][1])
  assert (tokens[0] != tokens[1]).any()


@pytest.mark.parametrize('cut', [1, 5, 11])
def test_a_resumed_response_goes_on_as_it_would_have(alone, cut):
  tokens, logprobs = alone[0]
  prefix = prefill(context_of(*WIDE, tokens[:cut]))
  found, values = run((prefix, 0, 1, tokens[:cut]))
  np.testing.assert_array_equal(found[0, : BUDGET - cut], tokens[cut:])
  np.testing.assert_allclose(
    values[0, : BUDGET - cut], logprobs[cut:], rtol=0, atol=2e-6
  )


def test_training_sees_the_log_probabilities_of_the_rollout(alone):
  tokens, behavior = alone[0]
  context, padded, images = context_of(*WIDE, tokens)
  columns = np.arange(COLUMNS, dtype=np.int32)[None]
  ids = (columns < len(context)).astype(np.int32)
  values, _ = jax.jit(heads.token_logprobs, static_argnums=0)(
    CONFIG, PARAMS, padded, columns, ids, images=images
  )
  values = values[0, len(context) - BUDGET : len(context)]
  np.testing.assert_allclose(values, behavior, rtol=0, atol=2e-6)
  # Nothing that was sampled stands for a picture.
  assert not np.isin(tokens, CONFIG.banned_ids).any()


def test_samples_of_one_prompt_share_its_prefill():
  prefix = prefill(context_of(*WIDE))
  tokens, _ = run(*((prefix, slot, 1) for slot in range(4)))
  assert len({row.tobytes() for row in tokens}) == 4


def test_prompts_without_pictures_have_no_delta():
  tokens = small_tower.sequence(9, 0, 0, 0)
  padded = np.zeros((1, COLUMNS), np.int32)
  padded[0, : len(tokens)] = tokens
  prefix = DECODER.prefill(PARAMS, padded, np.array([len(tokens)]))
  assert prefix.deltas.tolist() == [0]
  _, delta = positions.rotary(tokens, small_tower.IMAGE, [])
  assert delta == 0
  assert jnp.isfinite(run((prefix, 2, 1))[1][2]).all()
