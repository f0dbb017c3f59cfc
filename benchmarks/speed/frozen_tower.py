"""What it saves to let a frozen tower look at pictures once an iteration.

  python -m benchmarks.speed.frozen_tower [--repeats 5]

The policy of `experiments/vision.py`, random weights, learns by RL from its own
problems with pictures, `rl.trains='text'`: 32 groups of 8 responses of random
tokens, 4 updates.  Both ways take the training phase of the same iteration in
turns, after one that compiles: `once`, as it is, and `always`, in which the
tower looks at every row in every update and for every reference.  Printed are
the median seconds of each, and the median of their ratios.
"""

import argparse
import pathlib
import statistics
import tempfile
import threading
import time

import jax
import numpy as np

from experiments import vision
from k15.data_types import Group, Segment, StopReason, Trajectory
from k15.runtime import context as context_lib
from k15.runtime import weights
from k15.stages.rl import features
from k15.stages.rl import setup
from k15.stages.rl import training_phase


def make_context(tiny, folder):
  """Of a run that has nothing but problems with pictures."""
  config = vision.get_config('smoke' if tiny else '')
  config.stages, config.rl.trains = ('rl',), 'text'
  config.vision.rl_image_share = 1.0
  config.task.train_problems = 64
  config.task.held_out_problems = config.sft.num_examples = 8
  return context_lib.make(config, folder, threading.Event())


def make_groups(context, rng):
  """Groups whose responses are half as long as they may be, half of them
  right."""
  config = context.config
  k, length = config.rl.group_size, config.rollout.max_length // 2

  def response(group_id, problem, i):
    tokens = rng.integers(40, 90, length).astype(np.int32)
    segment = Segment(tokens, np.full(length, -4.0, np.float32), 0)
    return Trajectory(
      group_id, problem.id, i, (segment,), StopReason.EOS, float(i % 2)
    )

  problems = context.task.train[: config.rl.problems_per_iteration]
  return [
    Group(n, problem, tuple(response(n, problem, i) for i in range(k)))
    for n, problem in enumerate(problems)
  ]


def seconds_of(stage, groups, put):
  """Of a training phase whose batches `put` makes of those with patches."""
  usual, features.put = features.put, put
  start = time.perf_counter()
  try:
    training_phase.train_on(stage, groups, [], 0)
    jax.block_until_ready(stage.state)
  finally:
    features.put = usual
  return time.perf_counter() - start


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--tiny', action='store_true')
  args = parser.parse_args(argv)
  ways = dict(once=features.put, always=lambda _, batches: list(batches))
  with tempfile.TemporaryDirectory() as folder:
    context = make_context(args.tiny, pathlib.Path(folder))
    stage = setup.begin(context, weights.load_params(context, None))
    groups = make_groups(context, np.random.default_rng(0))
    taken = {way: [] for way in ways}
    with context.layout.use_mesh():
      for _ in range(1 + args.repeats):
        for way, put in ways.items():
          taken[way].append(seconds_of(stage, groups, put))
    stage.rollout.close()
  measured = {way: seconds[1:] for way, seconds in taken.items()}
  for way, seconds in measured.items():
    print(f'{way:7} {statistics.median(seconds):.3f} s')
  pairs = zip(measured['once'], measured['always'], strict=True)
  ratio = statistics.median(a / b for a, b in pairs)
  print(f'ratio   {ratio:.3f}')


if __name__ == '__main__':
  main()
