"""The programs of a run lower for a CUDA GPU, which needs none at hand."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from benchmarks.speed import gpu
from benchmarks.speed import gpu_parts
from experiments import base
from k15.model import attention
from k15.model import policy
from k15.rollout import backend
from k15.rollout import slots
from k15.stages.rl import methods
from k15.training import optimizer as optimizer_lib
from k15.training import update
from launch.plan import costs

LENGTH = 512
EXACT = policy.PolicyConfig(
  vocab_size=64,
  num_layers=2,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=16,
  d_ff=48,
  remat='full',
  logprob_chunk=128,
)
FAST = dataclasses.replace(EXACT, dtype='bfloat16', scan_layers=True)
KERNEL = '__cudnn$fmha'


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch):
  """What is picked by platform is picked as on a GPU."""
  monkeypatch.setattr(attention, 'target_platform', lambda: 'gpu')
  monkeypatch.setattr(
    fused_attention_stablehlo, 'check_cudnn_version', lambda: 91000
  )


def lowered(jitted, *args):
  """StableHLO for CUDA."""
  return jitted.trace(*args).lower(lowering_platforms=('cuda',)).as_text()


def shapes(function, *args):
  return jax.eval_shape(function, *args)


def params_of(config):
  key = shapes(lambda: jax.random.key(0))
  return shapes(lambda k: nn.unbox(policy.init(config, k)), key)


@pytest.mark.parametrize('method', ['mirror_descent', 'grpo'])
@pytest.mark.parametrize('config', [EXACT, FAST], ids=['exact', 'fast'])
def test_the_gradient_step(config, method):
  settings = base.get_config()
  settings.loss.method = method
  settings.loss.rollout_correction = 'truncate'
  optimizer = optimizer_lib.make(
    'adam', 0.9, 0.95, 1e-8, 0.1, 1.0, policy.logical_axes(config)
  )
  step = update.make_step(
    config,
    methods.make_loss(settings),
    optimizer,
    optimizer_lib.constant_schedule(1e-4, 0),
    1,
  )
  init = functools.partial(optimizer_lib.init_state, optimizer)
  state = shapes(init, params_of(config))
  batch = gpu_parts.one_row(LENGTH, config)
  text = lowered(step, state, batch, True)
  assert (KERNEL in text) == (config is FAST)
  logprobs = update.make_logprobs(config, 1)
  assert (KERNEL in lowered(logprobs, state.params, batch)) == (config is FAST)


@pytest.mark.parametrize(
  ('config', 'cache_dtype'),
  [(EXACT, ''), (FAST, ''), (EXACT, 'int8'), (FAST, 'int8')],
)
def test_prefill_insertion_and_decoding(config, cache_dtype):
  config = dataclasses.replace(config, param_dtype=config.dtype)
  decoder = slots.SlotDecoder(
    config=config,
    num_slots=4,
    columns=LENGTH + 32,
    tokens_per_call=8,
    prefill_batch=2,
    eos_ids=(1,),
    repetition_count=4,
    repetition_max_period=8,
    repetition_min_tokens=8,
    cache_dtype=cache_dtype,
  )
  kind = slots.SlotDecoder
  params = params_of(config)
  tokens = jax.ShapeDtypeStruct((2, LENGTH), jnp.int32)
  lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
  text = lowered(kind.prefill, decoder, params, tokens, lengths)
  assert (KERNEL in text) == (config.dtype == 'bfloat16')
  prefix = shapes(decoder.prefill, params, tokens, lengths)
  state = shapes(decoder.init_decode_state)
  request = backend.slot_request(decoder, [], [], [], 2)
  inserted = lowered(kind.insert, decoder, prefix, state, request)
  text = lowered(kind.generate, decoder, params, state, np.int32(1))
  for program in (inserted, text):
    assert ('xi8>' in program) == (cache_dtype == 'int8')
  assert lowered(kind.free, decoder, state, np.zeros(4, bool))


def test_work_of_a_step_by_hand():
  # Qwen2.5-1.5B: 28 layers of 1536 * (2 * 1536 + 2 * 256 + 3 * 8960), and the
  # head, 151,936 * 1536: 1.3102e9 + 0.2334e9 weights of products.
  config = policy.PolicyConfig(**gpu.QWEN, dtype='bfloat16')
  weights = 28 * 1536 * (3072 + 512 + 26880) + 151936 * 1536
  assert weights == pytest.approx(1.5436e9, rel=1e-4)
  T = 16384
  # Scores and mixing: 2 products * 2 * T (T + 1) / 2 * 12 heads * 128, three
  # times, as the backward pass takes twice the forward.
  pairs = 28 * 3 * 2 * T * (T + 1) * 1536
  found = 3 * costs.forward_flops(config, 1, T)
  assert found == 6 * weights * T + pairs
  half = dataclasses.replace(config, param_dtype='bfloat16')
  # Weights once, biases and norms too, and 28 layers of keys and values of 2
  # heads of 128 for 64 rows of 1000 tokens.
  other = 28 * (2 * 1536 + 1536 + 2 * 256) + 1536
  cache = 28 * 2 * 64 * 1000 * 2 * 128
  found = gpu_parts.step_bytes(half, '', 64, 1000)
  assert found == 2 * (weights + other) + 2 * cache
  found = gpu_parts.step_bytes(half, 'int8', 64, 1000)
  assert found == 2 * (weights + other) + cache * (1 + 4 / 128)


def test_data_sheets():
  assert gpu.nominal_of('NVIDIA H100 80GB HBM3') == (3.35e12, 989e12)
  assert gpu.nominal_of('NVIDIA H100 PCIe') == (2.0e12, 756e12)
  assert gpu.nominal_of('cpu') == (None, None)
