"""Where the rollout's log-probabilities and training's part, by layer.

  python -m benchmarks.quality.precision [--weights MODEL] [--layers 3]
      [--width 128] [--rows 32] [--tokens 96] [--repeats 5]
      [--ways 'bfloat16 products' ...]

The same tokens go through a policy twice, as whole rows, which is how it is
trained, and one by one against the cache, which is how it samples: worked
solutions of the arithmetic experiment, under its weights with --weights (a
directory, or a run's workdir) and random ones of any size without.  For each
precision the table says, of some layers, how far the normalized hidden states
behind them are apart, rms over rms; of log-probabilities the mean and the
largest difference in nats; and the milliseconds of a gradient step over all
rows and of a decode step, medians.

  float32            all of it
  bfloat16           activations and products (policy.dtype)
  bfloat16 products  the rest in float32 (policy.product_dtype)
"""

import argparse
import dataclasses
import functools
import pathlib
import tempfile
import threading

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed import gpu_parts
from experiments import arithmetic
from k15.checkpoints import models
from k15.model import heads
from k15.model import kv_cache
from k15.model import policy
from k15.runtime import context as context_lib
from k15.runtime import weights

WAYS = {
  'float32': {},
  'bfloat16': dict(dtype='bfloat16'),
  'bfloat16 products': dict(product_dtype='bfloat16'),
}


def make_rows(context, num_rows, num_tokens):
  """int32 [B, T] texts, and which tokens are no padding, bool [B, T]."""
  rng = np.random.default_rng(0)
  pairs = context.task.draw_pairs(num_rows, num_tokens, num_tokens, rng)
  tokens = np.zeros((num_rows, num_tokens), np.int32)
  mask = np.zeros((num_rows, num_tokens), bool)
  for i, pair in enumerate(pairs):
    own = [*pair.prompt, *pair.response][:num_tokens]
    tokens[i, : len(own)], mask[i, 1 : len(own)] = own, True
  return tokens, mask


def below(shape, params, num_layers):
  """The policy of the first layers alone."""
  kept = {f'layer_{i}' for i in range(num_layers)}
  own = {
    name: value
    for name, value in params.items()
    if not name.startswith('layer_') or name in kept
  }
  return dataclasses.replace(shape, num_layers=num_layers), own


@functools.partial(jax.jit, static_argnums=0)
def whole_rows(shape, params, tokens):
  """Normalized hidden states [B, T, D] of all tokens at once."""
  B, T = tokens.shape
  positions = jnp.broadcast_to(jnp.arange(T), (B, T))
  return policy.forward(
    shape, params, tokens, positions, jnp.ones_like(tokens)
  )[0]


@functools.partial(jax.jit, static_argnums=0)
def one_by_one(shape, params, tokens):
  """The same against the cache."""
  B, T = tokens.shape

  def step(cache, t):
    hidden, cache = policy.decode(
      shape, params, tokens[:, t], jnp.full(B, t), cache
    )
    return cache, hidden

  empty = kv_cache.empty(shape, B, T)
  return jax.lax.scan(step, empty, jnp.arange(T))[1].swapaxes(0, 1)


def logprobs(shape, params, hidden, tokens):
  """Of every token but the first, float32 [B, T - 1]."""
  logits = heads.logits_of(shape, params, hidden[:, :-1])
  every = jax.nn.log_softmax(logits, axis=-1)
  return np.asarray(
    jnp.take_along_axis(every, tokens[:, 1:, None], axis=-1)[..., 0]
  )


def counts(shape):
  """1, 2, 4, ... and all layers."""
  powers = (2**i for i in range(shape.num_layers.bit_length()))
  return sorted({*powers, shape.num_layers})


def apart(shape, params, tokens, mask):
  """By layer what the table says, and of log-probabilities."""
  by_layer = []
  for num_layers in counts(shape):
    own = below(shape, params, num_layers)
    pair = [f(*own, tokens) for f in (whole_rows, one_by_one)]
    left, right = (np.asarray(x, np.float64)[mask] for x in pair)
    distance = np.sqrt(np.mean((left - right) ** 2) / np.mean(left**2))
    by_layer.append(distance)
  left, right = (
    logprobs(shape, params, hidden, tokens)[mask[:, 1:]] for hidden in pair
  )
  return by_layer, np.abs(left - right)


def costs(shape, params, tokens, repeats):
  """Seconds of a gradient step, and of a decode step."""
  B, T = tokens.shape
  positions = jnp.broadcast_to(jnp.arange(T), (B, T))

  @jax.jit
  def gradient(params):
    return jax.grad(
      lambda p: heads.token_logprobs(
        shape, p, tokens, positions, jnp.ones_like(tokens)
      )[0].sum()
    )(params)

  return (
    gpu_parts.seconds_of(lambda: gradient(params), repeats),
    gpu_parts.seconds_of(lambda: one_by_one(shape, params, tokens), repeats)
    / T,
  )


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--weights', default='')
  parser.add_argument('--layers', type=int, default=0)
  parser.add_argument('--width', type=int, default=0)
  parser.add_argument('--ways', nargs='+', default=[*WAYS], choices=[*WAYS])
  parser.add_argument('--rows', type=int, default=32)
  parser.add_argument('--tokens', type=int, default=96)
  parser.add_argument('--repeats', type=int, default=5)
  args = parser.parse_args(argv)
  config = arithmetic.get_config()
  config.task.held_out_problems = 4
  if args.layers:
    config.policy.num_layers = args.layers
  if args.width:
    w = args.width
    config.policy.update(d_model=w, head_dim=w // 4, d_ff=5 * w // 2)
  if args.weights:
    config.checkpoint = str(models.directory_of(args.weights))
  context_lib.adopt_checkpoint(config)
  with tempfile.TemporaryDirectory() as folder:
    context = context_lib.make(config, pathlib.Path(folder), threading.Event())
    where = pathlib.Path(config.checkpoint) if config.checkpoint else None
    params = weights.load_params(context, where)
    tokens, mask = make_rows(context, args.rows, args.tokens)
  shape = context.shape
  print(f'{mask.sum()} tokens, {shape.num_layers} layers of {shape.d_model}')
  layers = [f'layer {i}' for i in counts(shape)]
  print(' | '.join(
    ['', *layers, 'log-prob. mean', 'largest', 'gradient, ms',
     'decode step, ms']
  ))  # fmt: skip
  for way in args.ways:
    own = dataclasses.replace(shape, attention='plain', **WAYS[way])
    by_layer, differences = apart(own, params, tokens, mask)
    times = [f'{1e3 * s:.2f}' for s in costs(own, params, tokens, args.repeats)]
    numbers = [*by_layer, differences.mean(), differences.max()]
    print(' | '.join([way, *(f'{x:.1e}' for x in numbers), *times]), flush=True)


if __name__ == '__main__':
  main()
