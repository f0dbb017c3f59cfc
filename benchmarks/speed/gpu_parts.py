"""What `benchmarks.speed.gpu` measures of k15, each part in its own process.

The only argument is JSON: part, shape and settings; the last line is
`PART {json}`.
"""

import dataclasses
import functools
import itertools
import json
import statistics
import sys
import time
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import base
from k15.data_types import Batch
from k15.model import kv_cache
from k15.model import policy
from k15.rollout import backend
from k15.rollout import slots as slots_lib
from k15.rollout.requests import Request
from k15.stages.rl import methods
from k15.training import optimizer as optimizer_lib
from k15.training import update
from launch.plan import costs

NEVER = -1  # no token ends a response
_NOTHING = np.zeros(0, np.int32)


def seconds_of(function, repeats):
  """Median of some calls after a first one, which compiles."""
  jax.block_until_ready(function())
  taken = []
  for _ in range(repeats):
    start = time.monotonic()
    jax.block_until_ready(function())
    taken.append(time.monotonic() - start)
  return statistics.median(taken)


def copy_bandwidth(copy_bytes, repeats):
  """Bytes a second of reading and writing one large array."""
  x = jnp.ones(copy_bytes // 2, jnp.bfloat16)
  double = jax.jit(lambda x: x * 2)
  # Read once and written once.
  return 2 * copy_bytes / seconds_of(lambda: double(x), repeats)


def matmul_rate(width, repeats):
  """Floating-point operations a second of one square product in bfloat16."""
  x = jnp.ones((width, width), jnp.bfloat16)
  product = jax.jit(jnp.dot)
  return 2 * width**3 / seconds_of(lambda: product(x, x), repeats)


def random_params(config):
  return jax.jit(lambda key: nn.unbox(policy.init(config, key)))(
    jax.random.key(0)
  )


def size(tree):
  """Bytes."""
  return sum(
    int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def step_bytes(config, cache_dtype, rows, columns):
  """Least a decode step reads: all weights, and keys and values so far.

  Args:
    config: of the policy; its weights are in `param_dtype`.
    cache_dtype: as of `SlotDecoder`.
    rows: responses.
    columns: tokens each of them has, in the mean over the steps.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  weights = size(jax.eval_shape(lambda k: policy.init(config, k), key))
  # Bytes of a column do not depend on their number.
  column = jax.eval_shape(lambda: kv_cache.empty(config, rows, 1, cache_dtype))
  return weights + size(column) * columns


def decode(args, shape):
  """Prefill and decode of all slots at once, by precision of the cache."""
  config = policy.PolicyConfig(
    **shape, dtype='bfloat16', param_dtype='bfloat16'
  )
  params = random_params(config)
  columns, rows = args.prompt + args.new, []
  for block, cache_dtype in itertools.product(
    args.cache_blocks, args.cache_dtypes
  ):
    config = dataclasses.replace(config, cache_block=block or columns)
    decoder = slots_lib.SlotDecoder(
      config=config,
      num_slots=args.slots,
      columns=columns,
      tokens_per_call=args.new,
      prefill_batch=min(args.slots, args.prefill_batch),
      eos_ids=(NEVER,),
      cache_dtype=cache_dtype,
    )
    answer(decoder, params, args)  # Compiles.
    taken = [answer(decoder, params, args) for _ in range(args.repeats)]
    prefill, seconds = (statistics.median(t) for t in zip(*taken, strict=True))
    # Half of what is decoded: a step reads the columns of those before it.
    in_the_mean = args.prompt + (args.new - 1) / 2
    rows.append(
      dict(
        cache=f'{cache_dtype or config.dtype} by {config.cache_block}',
        prefill_seconds=prefill,
        decode_seconds=seconds,
        step_seconds=seconds / args.new,
        step_bytes=step_bytes(config, cache_dtype, args.slots, in_the_mean),
        tokens_per_second=args.slots * args.new / (prefill + seconds),
      )
    )
  return dict(
    bandwidth=copy_bandwidth(args.copy_bytes, args.repeats), rows=rows
  )


def answer(decoder, params, args):
  """Seconds of prefill and insertion, and of decoding."""
  rng = np.random.default_rng(0)
  vocab = decoder.config.vocab_size
  start = time.monotonic()
  state = decoder.init_decode_state()
  for first in range(0, args.slots, decoder.prefill_batch):
    slots = list(range(args.slots))[first : first + decoder.prefill_batch]
    tokens = np.zeros(
      (decoder.prefill_batch, decoder.bucket_of(args.prompt)), np.int32
    )
    tokens[:, : args.prompt] = rng.integers(
      0, vocab, (len(tokens), args.prompt)
    )
    lengths = np.full(len(tokens), args.prompt, np.int32)
    prefix = decoder.prefill(params, tokens, lengths)
    requests = [
      Request(0, slot, tokens[i, : args.prompt], _NOTHING, args.new)
      for i, slot in enumerate(slots)
    ]
    rows = list(range(len(slots)))
    where = backend.slot_request(decoder, rows, requests, slots, len(tokens))
    state = decoder.insert(prefix, state, where)
  jax.block_until_ready(state)
  filled = time.monotonic()
  state, made = decoder.generate(params, state, np.int32(args.slots + 1))
  counts = jax.device_get(made.counts)
  if not (counts == args.new).all():
    raise RuntimeError(f'{counts} tokens of {args.new} in each slot')
  return filled - start, time.monotonic() - filled


def train(args, shape):
  """The gradient step on one row of so many tokens."""
  config = policy.PolicyConfig(
    **shape,
    dtype='bfloat16',
    remat=args.remat,
    attention=args.attention,
    scan_layers=True,
    logprob_chunk=args.logprob_chunk,
  )
  optimizer = optimizer_lib.make(
    'adam', 0.9, 0.95, 1e-8, 0.1, 1.0, policy.logical_axes(config)
  )
  schedule = optimizer_lib.constant_schedule(1e-5, 0)
  loss = methods.make_loss(base.get_config())
  step = update.make_step(config, loss, optimizer, schedule, 1)
  init = jax.jit(functools.partial(optimizer_lib.init_state, optimizer))
  state = init(random_params(config))
  batch = jax.tree.map(jnp.asarray, one_row(args.train_tokens, config))
  taken = []
  for _ in range(1 + args.repeats):
    start = time.monotonic()
    state, metrics = step(state, batch, True)
    # Fetched inside of what is timed: a call returns before its work is done.
    norm = float(metrics['grad_norm'])
    taken.append(time.monotonic() - start)
  if not np.isfinite(norm):
    raise FloatingPointError(f'gradient norm {norm}')
  seconds = statistics.median(taken[1:])
  del state, batch
  return dict(
    first_seconds=taken[0],
    seconds=seconds,
    tokens_per_second=args.train_tokens / seconds,
    # Forward, and twice that backward; what is computed again counts once.
    flops=3 * costs.forward_flops(config, 1, args.train_tokens),
    matmul_rate=matmul_rate(args.matmul_width, args.repeats),
    device_bytes=(jax.devices()[0].memory_stats() or {}).get(
      'peak_bytes_in_use', 0
    ),
  )


def one_row(length, config):
  """One response of random tokens."""
  tokens = np.random.default_rng(0).integers(
    0, config.vocab_size, (1, length), np.int32
  )
  zeros, mask = np.zeros((2, 1, length), np.float32)
  mask[:, 1:] = 1
  one = np.ones((1, 1), np.float32)
  return Batch(
    tokens=tokens,
    positions=np.arange(length, dtype=np.int32)[None],
    segment_ids=np.ones_like(tokens),
    loss_mask=mask,
    ref_logprobs=zeros,
    kl_logprobs=zeros,
    behavior_logprobs=zeros,
    current_mask=mask,
    advantage=one,
    pg_weight=one / length,
    reg_weight=one / length,
    num_rows=np.int32(1),
  )


def main():
  """Runs the part that is asked for and prints what it measured."""
  asked = json.loads(sys.argv[1])
  args = types.SimpleNamespace(**asked['args'])
  run = {'decode': decode, 'train': train}[asked['part']]
  device = jax.devices()[0]
  result = run(args, asked['shape']) | dict(
    device=device.device_kind, platform=device.platform, jax=jax.__version__
  )
  print('PART ' + json.dumps(result), flush=True)


if __name__ == '__main__':
  main()
