"""What a rollout in low precision costs and gains, side by side.

  python -m benchmarks.speed.low_precision [--weights RUN] [--problems 48]
      [--samples 4] [--max-length 256] [--repeats 2] [--seed 0]

The policy of `experiments/arithmetic.py` (3 layers, width 128, trained in
float32) answers held-out problems in four precisions of weights and cache:
float32, bfloat16, float32 with an int8 cache, bfloat16 with an int8 cache.
With --weights, its weights are those of a finished run (a workdir), or else
random.  Every row says

  tokens/s      of the fastest of --repeats rollouts after a warm-up
  /core s       the same by seconds that cores were busy for it: other work on
                the machine disturbs these less
  weights, cache  bytes on the device while sampling
  drift mean, max  |log pi_training - log pi_rollout| of the sampled tokens,
                nats; the training forward is in float32
  KL            e^d - 1 - d, averaged: what `drift/kl` is in a run
  |log rho|     of whole responses: sum over tokens, mean and largest
  far           share of tokens whose ratio is outside [1/2, 2]
  reward        share of right answers

The table and the last line, `RESULT {json}`, go to stdout.
"""

import argparse
import json
import pathlib
import tempfile
import threading
import time

import jax
import numpy as np

from experiments import arithmetic
from k15.checkpoints import models
from k15.data_types import Trajectory
from k15.equations import rollout_correction
from k15.model import precision
from k15.rewards import scoring
from k15.rollout import partial
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.training import batching
from k15.training import sequences as sequences_lib
from k15.training import update

PRECISIONS = (
  ('float32', ''), ('bfloat16', ''), ('float32', 'int8'), ('bfloat16', 'int8')
)  # fmt: skip
KIB = 1024


def make_context(args, folder, dtype, cache_dtype):
  """That of a run; nothing but precision and lengths differ."""
  config = arithmetic.get_config()
  config.seed = args.seed
  config.rollout.max_length = args.max_length
  config.rollout.token_budget = args.max_length
  config.rollout.dtype, config.rollout.cache_dtype = dtype, cache_dtype
  if args.tiny:
    config.policy.update(num_layers=1, d_model=32, d_ff=64)
    config.sft.num_examples = 1  # Made by 60,000, and none is learnt here.
    config.rollout.num_slots = config.rollout.prefill_batch = 4
  return context_lib.make(config, folder, threading.Event())


def make_params(args, context):
  """Float32, of the run or random."""
  if not args.weights:
    return weights.init_params(context.layout, args.seed)
  layout = weights.param_layout(context.layout)
  params, _ = models.load(args.weights, context.shape, layout)
  return params


def sample(context, rollout, problems, samples, first_group):
  """[(problem, response)] to the end, seconds, and seconds of all cores."""
  config = context.config.rollout
  pending = []
  for group, problem in enumerate(problems, first_group):
    pending += [
      (problem, Trajectory(group, problem.id, i)) for i in range(samples)
    ]
  of_group = {t.group_id: problem for problem, t in pending}
  start, busy = time.monotonic(), time.process_time()
  done = list(
    partial.run(
      rollout,
      pending,
      context.task.encode_prompt,
      config.token_budget,
      config.max_length,
      config.temperature,
    )
  )
  seconds = time.monotonic() - start, time.process_time() - busy
  return [(of_group[t.group_id], t) for t in done], *seconds


def training_logprobs(context, params, done):
  """Of each response, by the training forward, in the order of `done`."""
  config = context.config
  sequences = [
    sequences_lib.sequence_of(t, context.task.encode_prompt(p.prompt), 'all', 0)
    for p, t in done
  ]
  shape = config.rollout.max_prompt_length + config.rollout.max_length, 64
  rows, _, starts = batching.place([s.length for s in sequences], *shape)
  micro = config.optimizer.micro_batch_rows
  batch = batching.pack(sequences, -(-(max(rows) + 1) // micro) * micro, *shape)
  logprobs = np.asarray(
    update.make_logprobs(context.shape, micro)(params, batch)
  )
  for s, row, start in zip(sequences, rows, starts, strict=True):
    yield logprobs[row, start + len(s.prompt_tokens) : start + s.length]


def rewards(context, done):
  """Mean reward of the responses."""
  decode = context.task.tokenizer.decode
  futures = [
    context.scorer.submit(p, decode(t.tokens), t.stop) for p, t in done
  ]
  return float(np.mean([scoring.reward_of(f.result()) for f in futures]))


def size(tree):
  """Bytes of arrays or of shapes."""
  return sum(
    int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def measure(args, folder, dtype, cache_dtype):
  """One row."""
  context = make_context(args, folder, dtype, cache_dtype)
  params = make_params(args, context)
  problems = context.task.held_out[: args.problems]
  rollout = rollouts.make_rollout(context, 'rl')
  decoder = rollouts.make_slots(
    context.config, context.rollout_layout, context.task.tokenizer
  )
  with context.layout.use_mesh():
    rollout.set_params(params, version=0)
    rollout.warm_up()
    done, speeds = [], []
    for i in range(args.repeats):
      # The same random numbers in every row.
      first = i * args.problems
      made, *taken = sample(context, rollout, problems, args.samples, first)
      tokens = sum(t.length for _, t in made)
      speeds.append([tokens / seconds for seconds in taken])
      done += made
    training = list(training_logprobs(context, params, done))
  rollout.close()
  d = [
    a - t.behavior_logprobs for a, (_, t) in zip(training, done, strict=True)
  ]
  joined = np.concatenate(d)[None]
  drift = rollout_correction.drift(joined, 0 * joined, np.ones_like(joined))
  drift = {key: float(value) for key, value in drift.items()}
  of_responses = np.array([abs(x.sum()) for x in d])
  half = precision.cast(params, dtype)
  return dict(
    weights=dtype,
    cache=cache_dtype or dtype,
    responses=len(done),
    tokens=joined.size,
    # The fastest: other work on a machine only ever slows down.
    tokens_per_second=max(s for s, _ in speeds),
    tokens_per_core_second=max(s for _, s in speeds),
    weight_bytes=size(half),
    cache_bytes=size(jax.eval_shape(decoder.init_decode_state).cache),
    drift_mean=drift['drift_abs_sum'] / joined.size,
    drift_max=drift['drift_abs_max'],
    kl=drift['drift_kl_sum'] / joined.size,
    response_log_ratio_mean=float(of_responses.mean()),
    response_log_ratio_max=float(of_responses.max()),
    far=float(np.mean(np.abs(joined) > np.log(2))),
    reward=rewards(context, done),
  )


COLUMNS = (
  ('tokens/s', 'tokens_per_second', '.0f', 1),
  ('/core s', 'tokens_per_core_second', '.0f', 1),
  ('weights KiB', 'weight_bytes', '.0f', KIB),
  ('cache KiB', 'cache_bytes', '.0f', KIB),
  ('drift mean', 'drift_mean', '.1e', 1),
  ('drift max', 'drift_max', '.1e', 1),
  ('KL', 'kl', '.1e', 1),
  ('|log rho|', 'response_log_ratio_mean', '.1e', 1),
  ('largest', 'response_log_ratio_max', '.1e', 1),
  ('far', 'far', '.5f', 1),
  ('reward', 'reward', '.3f', 1),
)


def main(argv=None):
  args = parse(argv)
  what = args.weights or 'random'
  print(f'weights: {what}; jax {jax.__version__} on {jax.default_backend()}')
  print(f'{"weights, cache":<20}' + ''.join(f'{c[0]:>12}' for c in COLUMNS))
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for dtype, cache_dtype in PRECISIONS:
      row = measure(args, pathlib.Path(folder), dtype, cache_dtype)
      rows.append(row)
      cells = (f'{row[key] / by:{form}}' for _, key, form, by in COLUMNS)
      name = f'{row["weights"]}, {row["cache"]}'
      print(f'{name:<20}' + ''.join(f'{c:>12}' for c in cells), flush=True)
  print('RESULT', json.dumps(dict(weights=str(what), rows=rows)))


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--weights', type=pathlib.Path, help='a workdir; random if left out')
  add('--problems', type=int, default=48)
  add('--samples', type=int, default=4)
  add('--max-length', type=int, default=256)
  add('--repeats', type=int, default=2)
  add('--seed', type=int, default=0)
  add('--tiny', action='store_true', help='only to see that it runs')
  return parser.parse_args(argv)


if __name__ == '__main__':
  main()
