"""Kills a run again and again: the end has to be the same, bit for bit.

    python -m benchmarks.stress.kill_resume --kills=20

One run goes through undisturbed.  Another is killed by SIGKILL at random
moments and at two aimed ones, while a checkpoint is being written and while
responses are being sampled, and is started again each time; a third is asked
to stop by SIGTERM and SIGINT.  Whatever finishes is compared with the first:
weights and moments, what the host remembers, logs, evaluations, summary.  And
every response has to be trained on once: none twice, none lost; and of the
tokens that a kill finds, at most those of one decode call are drawn again
(`witness`).

The process is the real command.  It only gets a `sitecustomize` that writes
its Python stack to a file on SIGUSR1, which tells where a kill hit.  The last
line is RESULT and a JSON object; the exit code is 1 if anything differs.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from benchmarks.stress import witness
from k15 import files
from k15.checkpoints import state as state_lib
from k15.config import exit_codes

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LOGS = (
  'metrics.jsonl',
  'trajectories.jsonl',
  'groups.jsonl',
  'evaluation_sft.jsonl',
  'evaluation_rl.jsonl',
)
# A policy that learns within seconds to be right half of the time, so that RL
# has something to do, and responses that take three iterations to finish.
OVERRIDES = {
  'task.name': 'file',
  'task.held_out_problems': 8,
  'sft.steps': 60,
  'sft.optimizer': 'adam',
  'sft.learning_rate': 3e-2,
  'sft.batch_tokens': 512,
  'rl.iterations': 8,
  'rl.group_size': 4,
  'rollout.max_length': 40,
  'rollout.token_budget': 10,
  'rollout.num_slots': 4,
  'rollout.prefill_batch': 2,
  # More calls, and so more places in a rollout where a kill may come.
  'rollout.tokens_per_call': 1,
  # As often as can be: there has to be something to hit.
  'saving.every_iterations': 1,
  'saving.every_sft_steps': 10,
}
# A policy of one layer, and no more iterations than a response needs and one.
TINY = {'policy.num_layers': 1, 'sft.steps': 20, 'rl.iterations': 5}
_STACK_ON_SIGUSR1 = """
import atexit, os, signal, traceback
path = os.environ['K15_STACK']
def write(number, frame):
  os.write(file, ''.join(traceback.format_stack(frame)).encode())
file = os.open(path + '.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
signal.signal(signal.SIGUSR1, write)
atexit.register(signal.signal, signal.SIGUSR1, signal.SIG_IGN)
os.rename(path + '.new', path)
"""
# Pages of k15 by the phase that their frames tell.
PHASES = {
  'save': 'k15/checkpoints/state.py',
  'rollout': 'k15/stages/rl/rollout_phase.py',
  'update': 'k15/stages/rl/training_phase.py',
  'evaluation': 'k15/runtime/evaluation.py',
  'sft': 'k15/runtime/steps.py',
}
_OTHER = 'start, compile or between'
_MOST_MISSES = 10  # runs in a row that end before their signal is sent


@dataclasses.dataclass(frozen=True)
class Harness:
  """A folder with the problems, the compilation cache and the runs.

  `changes` are overrides of `OVERRIDES`.
  """

  folder: pathlib.Path
  changes: dict[str, object] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    hook = _STACK_ON_SIGUSR1 + witness.HOOK
    (self.folder / 'sitecustomize.py').write_text(hook)
    lines = [
      json.dumps(
        dict(
          prompt=f'is {a} + {b} odd?',
          answer=str((a + b) % 2),
          response=f'hm so it must be #### {(a + b) % 2}',
        )
      )
      for a in range(10)
      for b in range(10)
    ]
    (self.folder / 'problems.jsonl').write_text('\n'.join(lines))

  def start(self, name: str) -> 'Run':
    """Starts the command, or starts it again, in the work folder `name`."""
    workdir = self.folder / name
    values = OVERRIDES | self.changes
    values['task.train_path'] = self.folder / 'problems.jsonl'
    command = [
      sys.executable,
      '-m',
      'k15.main',
      '--config=experiments/arithmetic.py:smoke',
      f'--workdir={workdir}',
      *(f'--config.{key}={value}' for key, value in values.items()),
    ]
    stack = self.folder / 'stack'
    stack.unlink(missing_ok=True)
    own = dict(
      PYTHONPATH=f'{self.folder}:{_ROOT}',
      K15_STACK=str(stack),
      K15_WITNESS=str(self.folder / f'{name}.witness'),
    )
    environment = os.environ | share_compilations(self.folder) | own
    with open(self.folder / f'{name}.log', 'a') as log:
      process = subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdout=log, stderr=log
      )
    return Run(process, workdir, stack)

  def finish(self, run: 'Run') -> None:
    """Waits for the end; raises RuntimeError if it is a bad one."""
    if code := run.process.wait():
      log = (self.folder / f'{run.workdir.name}.log').read_text()
      raise RuntimeError(f'exit code {code}:\n{log[-2000:]}')


def share_compilations(folder: pathlib.Path) -> dict[str, str]:
  """Variables by which all runs below a folder compile every program once."""
  return dict(
    JAX_COMPILATION_CACHE_DIR=str(folder / 'cache'),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0',
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES='-1',
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """A process at work."""

  process: subprocess.Popen
  workdir: pathlib.Path
  stack: pathlib.Path

  @property
  def is_going(self) -> bool:
    return self.process.poll() is None

  @property
  def is_saving(self) -> bool:
    """Whether a checkpoint's temporary folder exists."""
    stages = self.workdir.glob('checkpoints/*')
    return any('tmp' in name for stage in stages for name in os.listdir(stage))

  def where(self) -> str:
    """The phase the process is in, by its stack; '' while it starts."""
    if not self.stack.exists():  # SIGUSR1 would end it.
      return ''
    before = self.stack.stat().st_size
    self.process.send_signal(signal.SIGUSR1)
    limit = time.monotonic() + 0.2
    while self.stack.stat().st_size == before:
      if not self.is_going or time.monotonic() > limit:
        return ''
    return _phase(self.stack.read_text()[before:])

  def wait_for(self, condition) -> bool:
    """Whether it came true while the process was going."""
    while self.is_going:
      if condition():
        return True
      time.sleep(0.002)
    return False


def _phase(stack):
  ours = '\n'.join(line for line in stack.splitlines() if '/k15/' in line)
  found = (phase for phase, frame in PHASES.items() if frame in ours)
  return next(found, _OTHER)


def hit(
  run: Run, number: int, aim: str, moment: float, rng: random.Random
) -> str | None:
  """Sends a signal at a moment; the phase it hit, None if the run was faster.

  Args:
    aim: 'save', 'rollout' or 'any'.
    moment: seconds from now, for 'any'.
    rng: decides which save or which moment of the rollouts it is.
  """
  if aim == 'save':
    for _ in range(rng.randrange(3)):
      run.wait_for(lambda: run.is_saving)
      run.wait_for(lambda: not run.is_saving)
    run.wait_for(lambda: run.is_saving)
    # Somewhere within the save, and not always at its first file.
    time.sleep(rng.uniform(0, 0.05))
  elif aim == 'rollout':
    left = iter(range(rng.randrange(40), -1, -1))
    run.wait_for(lambda: run.where() == 'rollout' and next(left) == 0)
  else:
    end = time.monotonic() + moment
    run.wait_for(lambda: time.monotonic() >= end)
  phase = run.where()
  if not run.is_going:
    return None
  run.process.send_signal(number)
  if run.process.wait() == 0:  # Done before the signal was.
    return None
  is_killed = number == signal.SIGKILL
  return 'save' if is_killed and run.is_saving else phase or _OTHER


def state_of(workdir: pathlib.Path) -> dict[str, object]:
  """Everything a run leaves that has to be the same, by name."""
  state = {}
  for stage in ('sft', 'rl'):
    folder = workdir / 'checkpoints' / stage
    if not folder.exists():
      continue
    step = max(int(name) for name in os.listdir(folder) if name.isdigit())
    state[f'{stage} step'] = step
    restored = _restore(folder / str(step) / 'state')
    for path, leaf in jax.tree_util.tree_leaves_with_path(restored):
      state[f'{stage}{jax.tree_util.keystr(path)}'] = np.asarray(leaf)
    host = _restore(folder / str(step) / 'host')
    for part, entries in state_lib.unpack(np.asarray(host['npz'])).items():
      state |= {f'{stage} {part}/{k}': v for k, v in entries.items()}
  for name in _LOGS:
    state[name] = [_timeless(r) for r in files.read_jsonl(workdir / name)]
  for name in ('summary.json', 'config.json'):
    state[name] = _timeless(json.loads((workdir / name).read_text()))
  return state


def _restore(path):
  with ocp.PyTreeCheckpointer() as checkpointer:
    return checkpointer.restore(path)


def _timeless(record):
  return {
    key: value
    for key, value in record.items()
    if key not in ('time', 'seconds')
    and not key.startswith('time/')
    and 'per_second' not in key
  }


def differences(left: dict[str, object], right: dict[str, object]) -> list[str]:
  """Names of what is not the same, to the last bit."""

  def same(a, b):
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
      return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return json.dumps(a, default=str) == json.dumps(b, default=str)

  names = left.keys() | right.keys()
  return sorted(
    n
    for n in names
    if n not in left or n not in right or not same(left[n], right[n])
  )


def count_responses(
  state: dict[str, object], group_size: int
) -> tuple[int, int]:
  """Responses trained on twice, and those that neither were nor wait."""
  index = json.loads(state['rl buffer/index'].tobytes())
  trained = collections.Counter(
    (group['group_id'], sample)
    for group in state['groups.jsonl']
    for sample in group['samples']
  )
  waiting = {
    (group['group_id'], sample)
    for group in index['groups']
    for sample in range(len(group['trajectories']))
  }
  opened = {
    (group_id, sample)
    for group_id in range(index['next_group_id'])
    for sample in range(group_size)
  }
  twice = sum(count - 1 for count in trained.values())
  twice += len(waiting & trained.keys())
  return twice, len(opened - waiting - trained.keys())


def disturb(
  harness: Harness,
  kinds: list[tuple[int, str]],
  seconds: float,
  rng: random.Random,
) -> tuple[collections.Counter, list[str]]:
  """Runs, disturbed by signals until they are spent, from start to end.

  A run that finishes before they are spent is followed by another one.

  Args:
    kinds: signals to send, each with its aim, in this order.
    seconds: an undisturbed run takes, the range of the random moments.

  Returns:
    How often each phase was hit, and the names of the finished runs.
  """
  hits, names, waiting = collections.Counter(), [], list(kinds)
  misses = 0
  while waiting or not names:
    name = f'disturbed-{rng.randrange(10**9)}'
    names.append(name)
    began, is_first = time.monotonic(), True
    while True:
      run = harness.start(name)
      phase = None
      if waiting:
        number, aim = waiting[0]
        phase = hit(run, number, aim, rng.uniform(0.3, 1.0) * seconds, rng)
      if phase is None:
        misses += bool(waiting) and is_first
        if misses > _MOST_MISSES:
          raise RuntimeError(f'{misses} runs ended before {waiting[0]}')
        if is_first:  # Not slowed by other work, as the one timed perhaps was.
          seconds = min(seconds, time.monotonic() - began)
        break
      is_first, misses = False, 0
      waiting.pop(0)
      hits[phase] += 1
      label = signal.Signals(number).name
      code = run.process.returncode
      print(f'{label} ({aim}): in {phase}, exit {code}', flush=True)
      expected = _expected_codes(number, phase)
      if code not in expected:
        raise RuntimeError(f'exit code {code}, not one of {expected}')
    harness.finish(run)
    print(f'{name} finished, {len(waiting)} signals left', flush=True)
  return hits, names


def _expected_codes(number, phase):
  if number == signal.SIGKILL:
    return (-signal.SIGKILL,)
  if phase == _OTHER:  # Perhaps before anyone listened.
    return (exit_codes.INTERRUPTED, -number, 1)
  return (exit_codes.INTERRUPTED,)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--stops', type=int, default=4)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--tiny', action='store_true', help='shorter runs')
  args = parser.parse_args()
  rng = random.Random(args.seed)
  with tempfile.TemporaryDirectory(prefix='k15-kill-') as folder:
    harness = Harness(pathlib.Path(folder), TINY if args.tiny else {})
    # The first one compiles.
    first = [] if args.tiny else ['warm-up']
    for name in (*first, 'undisturbed'):
      start = time.monotonic()
      harness.finish(harness.start(name))
      seconds = time.monotonic() - start
      print(f'{name}: {seconds:.1f} s', flush=True)
    aims = ('any', 'save', 'any', 'rollout')
    kills = [(signal.SIGKILL, aims[i % 4]) for i in range(args.kills)]
    stops = (signal.SIGTERM, signal.SIGINT)
    stops = [(stops[i % 2], aims[3 - i % 4]) for i in range(args.stops)]
    killed, names = disturb(harness, kills, seconds, rng)
    stopped, more = disturb(harness, stops, seconds, rng)
    result = dict(
      kills=sum(killed.values()),
      mid_save_kills=killed['save'],
      mid_rollout_kills=killed['rollout'],
      stops=sum(stopped.values()),
      **_compare(harness, [*first, *names, *more]),
      **_lost(harness, [*names, *more]),
    )
    print('kills by phase:', dict(killed), 'stops:', dict(stopped))
  print('RESULT', json.dumps(result))
  bad = ('mismatches', 'trained_twice', 'lost')
  too_many = result['most_calls_lost'] > 1
  return int(any(result[key] for key in bad) or too_many)


def _lost(harness, names):
  """Tokens that were drawn again; and what the journal costs, undisturbed."""
  found = []
  for name in names:
    found.append(witness.account(harness.folder / f'{name}.witness'))
    print(witness.told(name, found[-1]), flush=True)
  return witness.result_of(found) | witness.cost(
    harness.folder / 'undisturbed.witness', harness.folder / 'undisturbed'
  )


def _compare(harness, names):
  """Every finished run against the undisturbed one."""
  expected = state_of(harness.folder / 'undisturbed')
  mismatches, twice, lost = [], 0, 0
  for name in names:
    state = state_of(harness.folder / name)
    mismatches += [f'{name}: {d}' for d in differences(expected, state)]
    counts = count_responses(state, OVERRIDES['rl.group_size'])
    twice, lost = twice + counts[0], lost + counts[1]
  for mismatch in mismatches:
    print('not the same:', mismatch)
  rewards = [g['rewards'] for g in expected['groups.jsonl']]
  return dict(
    runs=len(names),
    values_compared=len(expected),
    responses=sum(map(len, rewards)),
    mean_reward=float(np.mean(rewards)),
    mismatches=len(mismatches),
    trained_twice=twice,
    lost=lost,
  )


if __name__ == '__main__':
  sys.exit(main())
