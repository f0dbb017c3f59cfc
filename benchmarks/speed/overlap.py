"""An iteration of RL whose rollout runs beside the training of the one before.

  python -m benchmarks.speed.overlap [--seeds 3] [--workers 2] [--tiny]
      [--ways overlap] [--checkpoint MODEL] [KEY=VALUE ...]

The real commands run: `k15.serve` for each worker and `k15.main`, on the
arithmetic experiment with truncated importance sampling, from one warm-up, or
from a model on disk; KEY=VALUE changes its config.  For each seed a run that
waits for its rollouts and one with `rl.overlap` follow one another.  Printed
are the mean seconds of an iteration after the first three, by the times that
metrics are logged at and without evaluations; how long of it the trainer stood
still for the rollout; and the held-out accuracy, mean of the run's evaluations
and the last.  Where there is no processor to spare for workers, both ways wait
for the same ones.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.stress import chaos_parts as parts
from benchmarks.stress import kill_resume
from k15 import files

_ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYS = 'waits', 'overlap'
_WARM = 3  # iterations that compile, or follow one that does
_SETTINGS = {
  'loss.rollout_correction': 'truncate',
  'evaluation.every': 5,
  'saving.every_iterations': 10**6,
}


def command(module, tiny, settings, *arguments):
  variant = ':smoke' if tiny else ''
  return [
    sys.executable,
    '-m',
    module,
    f'--config=experiments/arithmetic.py{variant}',
    *(f'--config.{key}={value}' for key, value in settings.items()),
    *arguments,
  ]


def train(folder, tiny, settings, workdir):
  """Runs the trainer to its end; its records of `rl`."""
  log = folder / f'{workdir.name}.log'
  with open(log, 'w') as out:
    ended = subprocess.run(
      command('k15.main', tiny, settings, f'--workdir={workdir}'),
      cwd=_ROOT,
      env=os.environ | kill_resume.share_compilations(folder),
      stdout=out,
      stderr=out,
      check=False,
    )
  if ended.returncode:
    raise SystemExit(f'{workdir.name} failed:\n{log.read_text()[-2000:]}')
  records = files.read_jsonl(workdir / 'metrics.jsonl')
  return [record for record in records if record['stage'] == 'rl']


def measured(records):
  """Seconds of an iteration, of those waited for the rollout, accuracies."""
  after = records[_WARM:] if len(records) > _WARM + 1 else records
  asked = [r.get('time/evaluation_seconds', 0.0) for r in after[1:]]
  lasted = after[-1]['time'] - after[0]['time'] - sum(asked)
  waited = [r['time/rollout_seconds'] for r in after[1:]]
  name = 'evaluation/accuracy'
  curve = [record[name] for record in records if name in record]
  return dict(
    seconds=lasted / len(waited),
    waited=sum(waited) / len(waited),
    area=sum(curve) / len(curve),
    last=curve[-1],
  )


def run(folder, args):
  """By way, of each seed what `measured` says."""
  tiny, checkpoint = args.tiny, args.checkpoint
  if not tiny and not checkpoint:
    train(folder, tiny, {'stages': ('sft',)}, folder / 'warm_up')
    checkpoint = folder / 'warm_up' / 'models' / 'sft'
  ports = [parts.free_port() for _ in range(args.workers)]
  settings = _SETTINGS | {
    'stages': ('rl',),
    'checkpoint': checkpoint,
    'rollout.workers': tuple(f'127.0.0.1:{port}' for port in ports),
  }
  if tiny:
    settings |= {'evaluation.every': 1, 'task.held_out_problems': 8}
  settings |= dict(each.split('=', 1) for each in args.overrides)
  workers = [
    parts.Service(
      name=f'worker-{port}',
      command=command('k15.serve', tiny, settings, f'--port={port}'),
      folder=_ROOT,
      log=folder / f'worker-{port}.log',
      environment=kill_resume.share_compilations(folder),
    )
    for port in ports
  ]
  found = {way: [] for way in args.ways}
  for worker in workers:
    worker.start()
  try:
    for seed in range(args.seeds):
      for way, each in found.items():
        own = {'seed': seed, 'rl.overlap': way == 'overlap'}
        records = train(folder, tiny, settings | own, folder / f'{way}-{seed}')
        each.append(measured(records))
        print(f'seed {seed}, {way}: {shown(each[-1])}', flush=True)
  finally:
    for worker in workers:
      worker.kill()
  return found


def shown(values):
  return (
    f'{values["seconds"]:.3f} s an iteration, {values["waited"]:.3f} s of it'
    f' for the rollout; accuracy {values["area"]:.4f} of the run,'
    f' {values["last"]:.4f} last'
  )


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--ways', nargs='+', default=[*WAYS], choices=WAYS)
  parser.add_argument('--checkpoint', default='')
  parser.add_argument('--tiny', action='store_true')
  parser.add_argument('overrides', nargs='*', metavar='KEY=VALUE')
  args = parser.parse_args(argv)
  with tempfile.TemporaryDirectory(prefix='k15-overlap-') as folder:
    found = run(pathlib.Path(folder), args)
  result = {
    way: {
      name: [round(values[name], 4) for values in each] for name in each[0]
    }
    for way, each in found.items()
  }
  if set(found) == set(WAYS):
    pairs = zip(found['overlap'], found['waits'], strict=True)
    ratio = [one['seconds'] / other['seconds'] for one, other in pairs]
    result['ratio'] = [round(value, 3) for value in ratio]
  print('RESULT', json.dumps(result))


if __name__ == '__main__':
  main()
