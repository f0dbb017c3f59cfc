"""Which learning rate suits each arm of an ablation, at cpu scale.

  python -m benchmarks.learning_rates NAME [NAME ...] [--parallel=2]

Runs the sweep `experiments/ablations/NAME.py:tune`: every arm with the same
rates, on seeds that no figure shows.  An arm's rate is the one with the largest
area under its curve: the mean held-out accuracy of its evaluations over RL,
mean of the seeds.  It is written into the file by hand; all areas go to
docs/reproduce/learning_rates.json.
"""

import argparse
import collections
import json
import pathlib
import sys

import numpy as np

from benchmarks import same_runs
from k15 import files
from launch import local
from launch import sweep

_AREAS = (
  pathlib.Path(__file__).parents[1] / 'docs/reproduce/learning_rates.json'
)
_RATE = 'optimizer.learning_rate'
_METRIC = 'evaluation/accuracy'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('names', nargs='+')
  parser.add_argument('--parallel', type=int, default=2)
  parser.add_argument('--root', type=pathlib.Path, default='runs/tune')
  args = parser.parse_args()
  for name in args.names:
    config = f'experiments/ablations/{name}.py:tune'
    units, folder = sweep.units(config), args.root / name
    same_runs.borrow(config, units, folder, args.root)
    code = local.run(config, units, folder, args.parallel)
    if code:
      return code
    found = table(folder, units)
    _keep(name, found)
    print(f'{name}:')
    for arm, areas in found.items():
      best = max(areas, key=areas.get)
      shown = ', '.join(f'{rate:g}: {area:.3f}' for rate, area in areas.items())
      print(f'  {arm or "all"}: {best:g} ({shown})', flush=True)
  return 0


def table(
  folder: pathlib.Path, units: list[sweep.Unit]
) -> dict[str, dict[float, float]]:
  """Mean area by arm, as its units' names have it, and by learning rate."""
  areas = collections.defaultdict(lambda: collections.defaultdict(list))
  for unit in units:
    records = files.read_jsonl(folder / unit.name / 'metrics.jsonl')
    curve = [record[_METRIC] for record in records if _METRIC in record]
    parts = unit.name.split(',')
    arm = ','.join(
      p for p in parts if not p.startswith(('learning_rate=', 'seed='))
    )
    areas[arm][unit.overrides[_RATE]].append(np.mean(curve))
  return {
    arm: {rate: float(np.mean(found)) for rate, found in rates.items()}
    for arm, rates in areas.items()
  }


def _keep(name, found):
  kept = files.read_json(_AREAS) | {name: found}
  _AREAS.parent.mkdir(parents=True, exist_ok=True)
  text = json.dumps(kept, indent=1, sort_keys=True) + '\n'
  files.replace_file(_AREAS, text.encode())


if __name__ == '__main__':
  sys.exit(main())
