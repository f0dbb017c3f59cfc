"""One tiny policy and decoder for all tests of the rollout."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from k15.checkpoints import tokenizer
from k15.model import policy
from k15.rollout import slots
from k15.rollout.requests import Request

TOKENIZER = tokenizer.ByteTokenizer()
CONFIG = policy.PolicyConfig(
  vocab_size=TOKENIZER.vocab_size,
  num_layers=1,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
)
COLUMNS = 32


@functools.cache
def make_decoder(num_slots=3, tokens_per_call=4):
  return slots.SlotDecoder(
    config=CONFIG,
    num_slots=num_slots,
    columns=COLUMNS,
    tokens_per_call=tokens_per_call,
    prefill_batch=2,
    eos_ids=TOKENIZER.eos_ids,
  )


@functools.cache
def make_params(seed=1):
  boxed = policy.boxed(CONFIG)
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
    nn.unbox(boxed),
  )


def request(group_id=0, sample_index=0, length=5, budget=12, **changes):
  rng = np.random.default_rng([group_id, length])
  settings = dict(
    group_id=group_id,
    sample_index=sample_index,
    prompt=rng.integers(0, 256, length).astype(np.int32),
    response=np.zeros(0, np.int32),
    budget=budget,
    seed=2**40 + 3,
  )
  return Request(**settings | changes)
