"""A policy without vision runs the very programs it ran before there was any.

`text_only.json` holds digests of their lowered text, written by
`python tests/model/test_text_only.py` at a commit that had no vision.  jax
writes the same program otherwise in another version: then this is skipped.
"""

import hashlib
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from k15.data_types import Batch
from k15.model import policy
from k15.rollout import slots
from k15.training import optimizer as optimizer_lib
from k15.training import update

RECORDED = pathlib.Path(__file__).with_name('text_only.json')
ROWS, TOKENS, SEQUENCES = 2, 32, 2
SHAPES = {
  'unrolled': dict(qk_norm=True),
  'scanned': dict(scan_layers=True, remat='dots', dtype='bfloat16'),
  'qwen2': dict(qkv_bias=True, qk_norm=False, tie_embeddings=False),
}


def digests(name):
  """SHA-256 of the lowered text of update, log-probs, prefill and generate."""
  config = policy.PolicyConfig(
    vocab_size=64, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2,
    head_dim=8, d_ff=48, **SHAPES[name],
  )  # fmt: skip
  params = nn.unbox(policy.boxed(config))
  optimizer = optimizer_lib.make(
    'muon', 0.9, 0.95, 1e-8, 0.1, 1.0, policy.logical_axes(config)
  )
  state = jax.eval_shape(
    lambda p: optimizer_lib.init_state(optimizer, p), params
  )
  whole = jax.ShapeDtypeStruct((ROWS, TOKENS), jnp.int32)
  real = jax.ShapeDtypeStruct((ROWS, TOKENS), jnp.float32)
  each = jax.ShapeDtypeStruct((ROWS, SEQUENCES), jnp.float32)
  number = jax.ShapeDtypeStruct((), jnp.int32)
  batch = Batch(
    whole, whole, whole, real, real, real, real, real, each, each, each, number
  )
  step = update.make_step(
    config,
    lambda logprobs, rows: (
      -jnp.sum(logprobs * rows.loss_mask),
      dict(tokens=jnp.sum(rows.loss_mask)),
    ),
    optimizer,
    optimizer_lib.constant_schedule(1e-3, 0),
    micro_batch_rows=1,
  )
  decoder = slots.SlotDecoder(
    config, num_slots=2, columns=TOKENS, tokens_per_call=4, prefill_batch=2,
    eos_ids=(1,),
  )  # fmt: skip
  lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
  slots_state = jax.eval_shape(decoder.init_decode_state)
  lowered = dict(
    update=step.lower(state, batch, True),
    logprobs=update.make_logprobs(config, 1).lower(params, batch),
    prefill=slots.SlotDecoder.prefill.lower(decoder, params, whole, lengths),
    generate=slots.SlotDecoder.generate.lower(
      decoder, params, slots_state, number, False
    ),
  )
  return {
    program: hashlib.sha256(text.as_text().encode()).hexdigest()
    for program, text in lowered.items()
  }


@pytest.mark.parametrize('name', SHAPES)
def test_programs_without_vision_are_those_from_before_it(name):
  recorded = json.loads(RECORDED.read_text())
  if recorded['jax'] != jax.__version__:
    pytest.skip(f'recorded with jax {recorded["jax"]}')
  assert digests(name) == recorded[name]


if __name__ == '__main__':
  found = {name: digests(name) for name in SHAPES}
  text = json.dumps(dict(jax=jax.__version__) | found, indent=2)
  RECORDED.write_text(text + '\n')
