"""Breaks a run with remote workers in every way: the end has to be the same.

    python -m benchmarks.stress.chaos [--faults 100] [--workers 2] [--seed 0]
                                      [--overlap]

The real commands run: a trainer (`k15.main`), rollout workers
(`k15.serve`) that are started again when they die, and a proxy
between trainer and each worker.  Faults come one after the other, all kinds
equally often, at random moments while responses are being sampled:

  kill worker    kill -9
  kill trainer   kill -9
  kill all       kill -9 of the trainer and every worker
  hang worker    SIGSTOP, and SIGCONT seconds later
  cut            every connection of a worker is reset in mid-stream
  full disk      no file of the trainer grows any more once a checkpoint is
                 being written (RLIMIT_FSIZE); it fails and is started again
  poison         a request that no worker should take; the answer is checked

A run that ends before the faults do is followed by another one.  Each is
compared with one in a single process that nothing disturbed: every (problem,
sample) is trained on once, with the same tokens and reward; weights, moments,
samplers, the responses that wait, logs and evaluations are the same to the
bit.  Log-probabilities of the rollout, which no update uses, differ in their
last bits where a response was prefilled again; the largest difference is told.
Of the tokens that had reached a trainer when it was killed, at most those of
one reply may be asked for again (`witness`).

With `--overlap` workers sample while the trainer trains (`rl.overlap`), in the
undisturbed run too.  Updates then do use those log-probabilities, so that all
that follows from them differs in its last bits as well: compared are responses,
tokens, rewards and the iterations they are trained on in, and the largest
difference of a weight is told.

The last line is RESULT and a JSON object; the exit code is 1 if a response is
lost, duplicated or mismatched, or tokens of more than one reply are.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

import numpy as np

from benchmarks.speed import schedule
from benchmarks.stress import chaos_parts as parts
from benchmarks.stress import kill_resume
from benchmarks.stress import witness

_ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = (
  'kill worker', 'hang worker', 'kill trainer', 'cut', 'full disk', 'poison',
  'kill all',
)  # fmt: skip
EXPERIMENT = 'experiments/arithmetic.py:smoke'
# Longer responses and more of them: there has to be something to break.
OVERRIDES = kill_resume.OVERRIDES | {
  'rl.iterations': 12,
  'rl.problems_per_iteration': 8,
  'rl.log_trajectories': 8,
  'rollout.max_length': 96,
  'rollout.token_budget': 32,
  'rollout.repetition_count': 0,  # Long responses are what is wanted.
  'saving.every_sft_steps': 20,
}
OVERLAP = {'rl.overlap': True, 'loss.rollout_correction': 'truncate'}
_LOGPROBS = 'rl buffer/behavior_logprobs'
_WEIGHTS = "rl['train']['params']"
_SECONDS_TO_FLOW = 120.0  # until a trainer that was started samples


class World:
  """The folder, the workers with a proxy each, and what was done to them."""

  def __init__(
    self,
    folder: pathlib.Path,
    num_workers: int,
    overrides,
    experiment: str = EXPERIMENT,
  ):
    self.folder = folder
    self._overrides, self._experiment = overrides, experiment
    self.hits = collections.Counter()
    self._hangs = []
    write_problems(folder / 'problems.jsonl')
    (folder / 'sitecustomize.py').write_text(witness.HOOK)
    ports = [parts.free_port() for _ in range(num_workers)]
    self.workers = [
      self._service(f'worker-{port}', 'k15.serve', [f'--port={port}'])
      for port in ports
    ]
    self.proxies = [parts.Proxy(port) for port in ports]
    self.ports = ports

  def trainer(self, name: str, is_remote: bool = True) -> parts.Service:
    """The trainer of a work folder, not started."""
    arguments = [f'--workdir={self.folder / name}']
    if is_remote:
      addresses = [f'127.0.0.1:{proxy.port}' for proxy in self.proxies]
      arguments.append(f'--config.rollout.workers={tuple(addresses)!r}')
    own = dict(K15_WITNESS=str(self.witness(name)))
    return self._service(name, 'k15.main', arguments, own)

  def witness(self, name: str) -> pathlib.Path:
    """The file that says which tokens a trainer has got, and when."""
    return self.folder / f'{name}.witness'

  def _service(self, name, module, arguments, own=None):
    values = self._overrides | {
      'task.train_path': self.folder / 'problems.jsonl'
    }
    return parts.Service(
      name=name,
      command=[
        sys.executable,
        '-m',
        module,
        f'--config={self._experiment}',
        *(f'--config.{key}={value}' for key, value in values.items()),
        *arguments,
      ],
      folder=_ROOT,
      log=self.folder / f'{name}.log',
      environment=dict(
        PYTHONPATH=f'{self.folder}:{_ROOT}',
        PYTHONUNBUFFERED='1',
        **kill_resume.share_compilations(self.folder),
        **(own or {}),
      ),
    )

  def tend(self) -> None:
    """Starts dead workers again; one that nobody killed is an error."""
    for worker in self.workers:
      if worker.is_going:
        continue
      if worker.process and worker.process.returncode != -9:
        code = worker.process.returncode
        raise RuntimeError(f'{worker.name}: exit {code}\n{worker.tail()}')
      worker.start()

  def wait(self, seconds: float, condition=lambda: False) -> bool:
    """Tends the workers for so long; whether the condition came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
      self.tend()
      if condition():
        return True
      time.sleep(0.02)
    return False

  @property
  def passed(self) -> int:
    """Bytes that have come from workers."""
    return sum(proxy.passed for proxy in self.proxies)

  def hang(self, worker, seconds) -> None:
    """Stops a worker in the background."""
    thread = threading.Thread(target=worker.hang, args=(seconds,))
    thread.start()
    self._hangs.append(thread)

  def close(self) -> None:
    """Ends the workers and the proxies."""
    for worker in self.workers:
      if worker.process:
        worker.kill()
    for thread in self._hangs:
      thread.join()
    for proxy in self.proxies:
      proxy.close()


def write_problems(path: pathlib.Path) -> None:
  """A hundred problems whose worked solutions have many lengths."""
  rng = random.Random(0)
  lines = []
  for a in range(10):
    for b in range(10):
      hm = 'hm ' * min(int(rng.lognormvariate(1.5, 1.0)), 24)
      response = f'{hm}it must be #### {(a + b) % 2}'
      prompt, answer = f'is {a} + {b} odd?', str((a + b) % 2)
      lines.append(dict(prompt=prompt, answer=answer, response=response))
  path.write_text('\n'.join(map(json.dumps, lines)))


def disturb(world: World, trainer, kinds: list[str], rng) -> None:
  """Runs a trainer to its end; takes faults from the front of `kinds`."""
  trainer.start()
  was, before = 'started', world.passed
  while True:
    if trainer.is_going and kinds and flows(world, trainer, before):
      world.wait(rng.uniform(0.0, 1.0), lambda: not trainer.is_going)
    if kinds and trainer.is_going:
      kind = kinds.pop(0)
      if inject(world, trainer, kind, rng):
        world.hits[kind] += 1
        print(f'{sum(world.hits.values()):>4}  {kind}', flush=True)
        was = kind if kind == 'full disk' else was
      else:
        kinds.append(kind)
    world.wait(0.05 if kinds else 3600.0, lambda: not trainer.is_going)
    if trainer.is_going:
      continue
    code = trainer.process.returncode
    if code == 0:
      return
    # Only a kill and a full disk may end a trainer: whatever else does is a
    # finding.
    if code != -9 and was != 'full disk':
      raise RuntimeError(f'{trainer.name}: exit {code}\n{trainer.tail()}')
    was, before = 'started', world.passed
    trainer.start()


def flows(world: World, trainer, before: int) -> bool:
  """Waits until responses are being sampled; False if the trainer ended."""
  if not world.wait(
    _SECONDS_TO_FLOW, lambda: world.passed > before or not trainer.is_going
  ):
    raise RuntimeError(f'{trainer.name} samples nothing:\n{trainer.tail()}')
  return trainer.is_going


def inject(world: World, trainer, kind: str, rng) -> bool:
  """Does it; False if it could not be done now."""
  number = rng.randrange(len(world.workers))
  worker = world.workers[number]
  if kind == 'kill worker':
    worker.kill()
  elif kind == 'kill trainer':
    trainer.kill()
  elif kind == 'kill all':
    trainer.kill()
    for each in world.workers:
      each.kill()
  elif kind == 'hang worker':
    world.hang(worker, rng.uniform(0.5, 4.0))
  elif kind == 'cut':
    return bool(world.proxies[number].cut())
  elif kind == 'full disk':
    stages = pathlib.Path(world.folder / trainer.name)
    if not world.wait(20.0, lambda: is_saving(stages, trainer)):
      return False
    trainer.fill_disk(rng.choice((0, 512, 4096)))
    return world.wait(60.0, lambda: not trainer.is_going)
  elif kind == 'poison':
    return parts.poison(world.ports[number], rng)
  return True


def is_saving(workdir: pathlib.Path, trainer) -> bool:
  """Whether a checkpoint's temporary folder exists."""
  run = kill_resume.Run(trainer.process, workdir, workdir)
  try:
    return run.is_going and run.is_saving
  except FileNotFoundError:  # It was renamed meanwhile.
    return True


@dataclasses.dataclass
class Verdict:
  """What the disturbed runs were found to be."""

  responses: int = 0
  lost: int = 0
  duplicated: int = 0
  mismatched: int = 0
  resumed: int = 0
  logprob_difference: float = 0.0
  weight_difference: float = 0.0
  length_bias: float = 0.0

  def add(self, expected: dict, found: dict, settings: dict) -> None:
    """Compares a run with the undisturbed one."""
    duplicated, lost = kill_resume.count_responses(
      found, settings['rl.group_size']
    )
    self.duplicated, self.lost = self.duplicated + duplicated, self.lost + lost
    logprobs = expected[_LOGPROBS], found[_LOGPROBS]
    if logprobs[0].shape == logprobs[1].shape:  # Else tokens differ as well.
      self.logprob_difference = max(
        self.logprob_difference, _largest_difference(*logprobs)
      )
    for name in (n for n in expected if n.startswith(_WEIGHTS)):
      self.weight_difference = max(
        self.weight_difference, _largest_difference(expected[name], found[name])
      )
    other = []
    if not settings.get('rl.overlap'):
      other = kill_resume.differences(
        expected, found | {_LOGPROBS: logprobs[0]}
      )
    ours, theirs = trained(found), trained(expected)
    wrong = [
      name
      for name in ours.keys() | theirs.keys()
      if ours.get(name) != theirs.get(name)
    ]
    for name in [*other, *sorted(wrong)]:
      print('not the same:', name)
    self.mismatched += len(wrong) + len(other)
    self.responses += len(ours)
    lengths = [[one[0] for one in each.values()] for each in (ours, theirs)]
    self.resumed += sum(
      n > settings['rollout.token_budget'] for n in lengths[0]
    )
    bias = schedule.distance(*map(np.array, lengths))
    self.length_bias = max(self.length_bias, bias)


def _largest_difference(one, other):
  return float(np.abs(one - other).max(initial=0))


def trained(state: dict) -> dict[tuple, tuple]:
  """(length, checksum of the tokens, reward, iteration) by response."""
  return {
    (group['group_id'], group['problem_id'], sample): (
      group['lengths'][i],
      group['crc32'][i],
      group['rewards'][i],
      group['iteration'],
    )
    for group in state['groups.jsonl']
    for i, sample in enumerate(group['samples'])
  }


def state_of(workdir: pathlib.Path) -> dict:
  """All that has to be the same, by name."""
  state = kill_resume.state_of(workdir)
  del state['config.json']  # It names the workers.
  state['metrics.jsonl'] = [
    {k: v for k, v in record.items() if not k.startswith('rollout/')}
    for record in state['metrics.jsonl']
  ]
  return state


def run(
  folder: pathlib.Path,
  kinds,
  num_workers,
  seed,
  overrides,
  experiment: str = EXPERIMENT,
) -> dict:
  """Everything; the result."""
  rng, kinds = random.Random(seed), list(kinds)
  world = World(folder, num_workers, overrides, experiment)
  try:
    start = time.monotonic()
    is_remote = bool(overrides.get('rl.overlap'))
    alone = world.trainer('undisturbed', is_remote)
    alone.start()
    if is_remote:
      world.wait(3600.0, lambda: not alone.is_going)
    if alone.process.wait():
      raise RuntimeError(f'the undisturbed run failed:\n{alone.tail()}')
    print(f'undisturbed: {time.monotonic() - start:.1f} s', flush=True)
    expected, verdict = state_of(folder / 'undisturbed'), Verdict()
    starts, num_runs, accounts = 0, 0, []
    while kinds or not num_runs:
      num_runs += 1
      trainer = world.trainer(f'disturbed-{num_runs}')
      try:
        disturb(world, trainer, kinds, rng)
      finally:
        trainer.kill()
      starts += trainer.starts
      print(f'{trainer.name} is done, {len(kinds)} faults left', flush=True)
      verdict.add(expected, state_of(folder / trainer.name), overrides)
      accounts.append(witness.account(world.witness(trainer.name)))
      print(witness.told(trainer.name, accounts[-1]), flush=True)
  finally:
    world.close()
  return dict(
    faults=sum(world.hits.values()),
    **dataclasses.asdict(verdict),
    **witness.result_of(accounts),
    runs=num_runs,
    trainer_starts=starts,
    worker_starts=sum(worker.starts for worker in world.workers),
    seconds=round(time.monotonic() - start),
    kinds=dict(world.hits),
  )


def main(argv=None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--faults', type=int, default=100)
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--overlap', action='store_true')
  args = parser.parse_args(argv)
  kinds = [KINDS[i % len(KINDS)] for i in range(args.faults)]
  random.Random(args.seed).shuffle(kinds)
  with tempfile.TemporaryDirectory(prefix='k15-chaos-') as folder:
    overrides = OVERRIDES | (OVERLAP if args.overlap else {})
    result = run(
      pathlib.Path(folder), kinds, args.workers, args.seed, overrides
    )
  print('RESULT', json.dumps(result))
  bad = any(result[k] for k in ('lost', 'duplicated', 'mismatched'))
  return int(bad or result['most_calls_lost'] > 1)


if __name__ == '__main__':
  sys.exit(main())
