"""One gradient step on one long response: seconds and memory against length.

  python -m benchmarks.speed.long_context [--lengths 2048 4096 ... 131072]
      [--plain-up-to 4096] [--cores 2] [--picture docs/long_context.png]

The step is the one that training takes (`k15.training.update`, mirror descent,
Adam), of a policy of 2 layers, width 64, 2 query heads of 32 on 1 key-value
head and 4,096 tokens of vocabulary in float32, with rematerialized layers,
attention by chunks of keys and log-probabilities by chunks of the vocabulary's
logits.  Up to --plain-up-to the same step runs with plain attention too.  Every
length has a process of its own, which reports

  seconds   of the second step (of the only one from 32,768 tokens on)
  compiled  MiB of arguments, results and temporaries, as the compiler plans
  peak RSS  MiB of the process, and what the step added to it

The table and the last line, `RESULT {json}`, go to stdout.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import base
from k15.data_types import Batch
from k15.model import policy
from k15.report import figures
from k15.stages.rl import methods
from k15.training import optimizer as optimizer_lib
from k15.training import update

REPO = pathlib.Path(__file__).resolve().parents[2]
LENGTHS = tuple(2**n for n in range(11, 18))  # 2,048 to 131,072
VOCAB = 4096
TWICE_BELOW = 32768
MIB = 2**20
# Nothing is compiled by an earlier run.
ENVIRONMENT = {'JAX_PLATFORMS': 'cpu', 'JAX_ENABLE_COMPILATION_CACHE': 'false'}


def make_step(attention):
  """The training step and a function that makes its state."""
  config = policy.PolicyConfig(
    vocab_size=VOCAB,
    num_layers=2,
    d_model=64,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    d_ff=192,
    remat='full',
    attention=attention,
  )
  optimizer = optimizer_lib.make(
    'adam', 0.9, 0.95, 1e-8, 0.1, 1.0, policy.logical_axes(config)
  )

  settings = base.get_config()
  settings.loss.tau = 0.1

  def init(key):
    params = nn.unbox(policy.init(config, key))
    return optimizer_lib.init_state(optimizer, params)

  schedule = optimizer_lib.constant_schedule(1e-4, 0)
  return update.make_step(
    config, methods.make_loss(settings), optimizer, schedule, 1
  ), jax.jit(init)


def make_batch(length):
  """One row: one response of random tokens."""
  tokens = np.random.default_rng(0).integers(1, VOCAB, (1, length), np.int32)
  mask = np.ones((1, length), np.float32)
  mask[:, 0] = 0
  one = np.ones((1, 1), np.float32)
  return Batch(
    tokens=tokens,
    positions=np.arange(length, dtype=np.int32)[None],
    segment_ids=np.ones_like(tokens),
    loss_mask=mask,
    # What a policy that knows nothing says of a token, and so nearly what
    # random weights say.
    ref_logprobs=np.full_like(mask, -math.log(VOCAB)),
    kl_logprobs=np.zeros_like(mask),
    behavior_logprobs=np.zeros_like(mask),
    current_mask=np.zeros_like(mask),
    advantage=one,
    pg_weight=one / length,
    reg_weight=one / length,
    num_rows=np.int32(1),
  )


def measure(length, attention):
  """What the process of one length reports."""
  step, init = make_step(attention)
  state = jax.block_until_ready(init(jax.random.key(0)))
  batch = jax.tree.map(jnp.asarray, make_batch(length))
  start = time.monotonic()
  compiled = step.lower(state, batch, False).compile()
  compile_seconds = time.monotonic() - start
  memory = compiled.memory_analysis()
  before = peak_rss_mib()
  for _ in range(1 + (length < TWICE_BELOW)):
    start = time.monotonic()
    state, metrics = jax.block_until_ready(compiled(state, batch, False))
    seconds = time.monotonic() - start
  norm = float(metrics['grad_norm'])
  if not math.isfinite(norm):
    raise FloatingPointError(f'gradient norm {norm} at {length} tokens')
  return dict(
    length=length,
    attention=attention,
    seconds=seconds,
    compile_seconds=compile_seconds,
    temporary_mib=memory.temp_size_in_bytes / MIB,
    compiled_mib=(
      memory.temp_size_in_bytes
      + memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      - memory.alias_size_in_bytes
    )
    / MIB,
    peak_rss_mib=peak_rss_mib(),
    step_rss_mib=peak_rss_mib() - before,
    grad_norm=norm,
  )


def peak_rss_mib():
  """The most memory this process ever had; Linux says it in KiB."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(status.partition('VmHWM:')[2].split()[0]) / 1024


def measure_apart(length, attention, cores):
  """`measure` in a process of its own, on the first `cores` it may use."""
  command = (
    sys.executable, '-m', 'benchmarks.speed.long_context',
    '--measure', str(length), attention,
  )  # fmt: skip
  allowed = sorted(os.sched_getaffinity(0))[:cores]
  done = subprocess.run(
    command,
    cwd=REPO,
    env=os.environ | ENVIRONMENT,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
    # Before the process begins, for XLA makes its threads by the cores it
    # finds.
    preexec_fn=functools.partial(os.sched_setaffinity, 0, allowed),
  )
  return json.loads(done.stdout.splitlines()[-1])


def slope(rows, key):
  """Exponent of growth between the two longest, in log of value and length."""
  a, b = rows[-2:]
  return math.log(b[key] / a[key]) / math.log(b['length'] / a['length'])


def draw(rows):
  """Time and memory against length, both axes logarithmic."""
  figure = Figure(figsize=(8, 3.4), layout='constrained')
  panels = (
    ('seconds', 'seconds of a gradient step'),
    ('compiled_mib', 'MiB, as compiled'),
  )
  for axes, (key, label) in zip(figure.subplots(1, 2), panels, strict=True):
    for color, kind in zip(figures.COLORS, ('chunked', 'plain'), strict=False):
      points = [(r['length'], r[key]) for r in rows if r['attention'] == kind]
      if points:
        axes.plot(*zip(*points, strict=True), 'o-', color=color, label=kind)
    ours = [r for r in rows if r['attention'] == 'chunked']
    x = np.array([r['length'] for r in ours])
    power = 2 if key == 'seconds' else 1
    guide = ours[-1][key] * (x / x[-1]) ** power
    label_of = 'length squared' if power == 2 else 'proportional to length'
    axes.plot(x, guide, ':', color='#8a94a3', label=label_of)
    axes.set_xscale('log', base=2)
    axes.set_yscale('log')
    axes.set_xticks(x, [f'{n // 1024}k' for n in x])
    axes.set(xlabel='tokens of the response', ylabel=label)
    axes.grid(color='#e6e9ee')
    axes.legend(frameon=False)
  return figure


def line(*cells):
  print(''.join(f'{cell:>12}' for cell in cells), flush=True)


def main(args):
  rows = []
  line('tokens', 'attention', 'seconds', 'compile s', 'compiled MiB',
       'peak RSS', 'step added')  # fmt: skip
  jobs = [(length, 'chunked') for length in args.lengths]
  jobs += [(n, 'plain') for n in args.lengths if n <= args.plain_up_to]
  for length, attention in jobs:
    row = measure_apart(length, attention, args.cores)
    rows.append(row)
    numbers = (
      'compile_seconds', 'compiled_mib', 'peak_rss_mib', 'step_rss_mib',
    )  # fmt: skip
    line(length, attention, f'{row["seconds"]:.3f}',
         *(f'{row[key]:.1f}' for key in numbers))  # fmt: skip
  result = dict(cores=args.cores, rows=rows)
  chunked = [row for row in rows if row['attention'] == 'chunked']
  if len(chunked) > 1:
    keys = ('seconds', 'temporary_mib', 'compiled_mib')
    result['growth'] = {key: slope(chunked, key) for key in keys}
    if args.picture:
      args.picture.write_bytes(figures.to_png(draw(rows)))
  print('RESULT', json.dumps(result))


def parse():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--lengths', type=int, nargs='+', default=LENGTHS)
  parser.add_argument('--plain-up-to', type=int, default=4096)
  parser.add_argument('--cores', type=int, default=2)
  parser.add_argument('--picture', type=pathlib.Path)
  parser.add_argument('--measure', nargs=2, help=argparse.SUPPRESS)
  return parser.parse_args()


if __name__ == '__main__':
  arguments = parse()
  if arguments.measure:
    print(json.dumps(measure(int(arguments.measure[0]), arguments.measure[1])))
  else:
    main(arguments)
