"""The paper's figures at a scale that a laptop can run: `make reproduce`.

    python -m benchmarks.reproduce [NAME ...] [--parallel=2]
        [--root=runs/reproduce] [--no-run]

For each NAME, or all: runs what is missing of the units of
experiments/ablations/NAME.py:cpu in ROOT/NAME, after those of the warm-up whose
models they begin with; judges the page's CLAIM by them; writes
docs/reproduce/NAME.png, NAME.json and the rows of the tables.  Interrupted in
any way, the same command goes on where it stopped.  With --no-run what is done
so far is measured; while units are missing, the picture goes to
ROOT/NAME/preview.png and nothing else changes.  Where no unit is done, the runs
of docs/reproduce/NAME.json are judged again, by the curves that it has.

    python -m benchmarks.reproduce --tune NAME ...

runs the sweep `:tune` in runs/tune instead: every arm with the same learning
rates, on seeds that no figure shows.  An arm's rate is the one with the largest
area under its curve: the mean held-out accuracy of its evaluations over RL,
mean of the seeds.  It is written into the page by hand; all areas go to
docs/reproduce/learning_rates.json.

A run depends on its config alone, bit for bit.  So where a unit has the config
of a finished unit of another figure, such as the arm with all the defaults, its
curves are taken from there.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import runpy
import shutil
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.reproduce import ablation_page
from benchmarks.reproduce import ablation_runs
from benchmarks.reproduce import findings
from benchmarks.reproduce import published
from benchmarks.reproduce import tables
from benchmarks.reproduce import verdicts
from experiments.ablations import claims
from k15 import files
from k15.config import exit_codes
from k15.report import figures
from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib

REPO = pathlib.Path(__file__).resolve().parents[2]
# Where config files expect the models of the warm-up.
_ROOT = 'runs/reproduce'
_LEFT_OUT = shutil.ignore_patterns(
  'checkpoints', 'models', 'tensorboard', '*.lock', '*.tmp'
)


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--parallel', type=int, default=2)
  parser.add_argument('--root', type=pathlib.Path)
  parser.add_argument('--no-run', action='store_true')
  parser.add_argument('--tune', action='store_true')
  args = parser.parse_args(argv)
  args.root = args.root or pathlib.Path('runs/tune' if args.tune else _ROOT)
  unknown = [name for name in args.names if name not in claims.FIGURES]
  if unknown:
    print(
      f'reproduce: no claim {", ".join(unknown)}; there are'
      f' {", ".join(claims.FIGURES)}',
      file=sys.stderr,
    )
    return 2
  worst = 0
  for name in args.names or claims.FIGURES:
    code = _one(name, args)
    if code == exit_codes.INTERRUPTED:
      return code
    worst = max(worst, code)
  return worst


def _one(name, args):
  """The exit code of one claim."""
  try:
    if args.tune:
      return _tune(name, args.root, args.parallel)
    if not args.no_run:
      code = _run(name, 'cpu', args.root, args.root, args.parallel)
      if code:
        return code
    return publish(name, args.root)
  except (ablation_runs.DataError, sweep.SweepError) as error:
    print(f'reproduce: {name}: {error}', file=sys.stderr)
    return 1


def _run(name, variant, root, models, parallel, only=None):
  """Runs what is missing of a sweep, after what its units begin with.

  Args:
    root: its units go to root / name.
    models: of the units that they begin with, which run before them.
    only: names of the units that are needed; None: all.

  Returns:
    The exit code.
  """
  config, units = _units(name, variant, models)
  units = [unit for unit in units if only is None or unit.name in only]
  for start, needed in sorted(_starts(units, models).items()):
    code = _run(start, 'cpu', models, models, parallel, needed)
    if code:
      return code
  print(f'{name}: {len(units)} units in {root / name}', flush=True)
  for borrowed in borrow(config, units, root / name, root):
    print(f'done already in another figure: {borrowed}', flush=True)
  return local.run(config, units, root / name, parallel)


def _starts(units, models):
  """Names of the units that these begin with, or learn from, by sweep."""
  needed = collections.defaultdict(set)
  for unit in units:
    for key in ('checkpoint', 'long2short.short_model', 'sft.files'):
      value = unit.overrides.get(key, ())
      for path in (value,) if isinstance(value, str) else value:
        if path.startswith(f'{models}/'):
          start, run = pathlib.Path(path).relative_to(models).parts[:2]
          needed[start].add(run)
  return needed


def publish(name: str, root: pathlib.Path) -> int:
  """Measures and draws one claim; the exit code: 1 if units are missing.

  Raises:
    DataError: see `ablation_runs`, `findings` and `published`.
    SweepError: of the ablation's file.
  """
  config, units = _units(name, 'cpu', root)
  arms, missing = ablation_runs.read_arms(config, units, root / name)
  path, date = REPO / tables.picture(name), time.strftime('%F')
  if missing == len(units):
    arms = published.read(path.with_suffix('.json'), config, units)
    missing = 0
    date = files.read_json(path.with_suffix('.json')).get('date', date)
  page = runpy.run_path(config.partition(':')[0])
  claim = page['CLAIM']
  result = verdicts.of_claim(claim, page['OUTCOME'], arms)
  _print(name, claim, result)
  picture = figures.to_png(ablation_page.draw(claim, arms, result.conditions))
  if missing:
    print(f'{name}: {missing} of {len(units)} units are missing')
    (root / name / 'preview.png').write_bytes(picture)
    return 1
  path.parent.mkdir(parents=True, exist_ok=True)
  files.replace_file(path, picture)
  text = published.dumps(name, claim, config, arms, result, date)
  files.replace_file(path.with_suffix('.json'), text.encode())
  for table, row in (
    (tables.DOCS, tables.long_row(name, claim, result)),
    (tables.README, tables.short_row(name, claim, result)),
  ):
    page = REPO / table.page
    new = tables.update(table, page.read_text(), name, row, claims.FIGURES)
    files.replace_file(page, new.encode())
  return 0


def _print(name, claim, result):
  print(f'{name} ({claim.figure}): {claim.question}')
  for condition in result.conditions:
    print(f' ? {condition.text()}')
  for what, found in result.estimates.items():
    text = 'not measured' if found is None else findings.text(found)
    if what in result.judged:
      print(f' * {what}: {text}: {result.judged[what].verdict}')
    else:
      print(f'   {what}: {text}')
  print(f'  {result.verdict}: {result.sentence}', flush=True)


def _units(
  name, variant, root=pathlib.Path(_ROOT)
) -> tuple[str, list[sweep.Unit]]:
  """'FILE:VARIANT' of an ablation, and its units, with models of this root."""
  config = f'experiments/ablations/{name}.py:{variant}'
  return config, [_moved(unit, root) for unit in sweep.units(config)]


def _moved(unit, root):
  moved = {
    key: tuple(_at(path, root) for path in value)
    if isinstance(value, tuple) else _at(value, root)
    for key, value in unit.overrides.items()
  }  # fmt: skip
  return dataclasses.replace(unit, overrides=moved)


def _at(value, root):
  if isinstance(value, str) and value.startswith(f'{_ROOT}/'):
    return str(root / pathlib.Path(value).relative_to(_ROOT))
  return value


def borrow(
  config: str,
  units: Sequence[sweep.Unit],
  folder: pathlib.Path,
  root: pathlib.Path,
) -> list[str]:
  """Copies what finished units below `root` have for these; their names.

  Records and curves are copied, weights are not.

  Args:
    folder: where they go; a unit that has begun there is left alone.
    root: folder of the folders of all sweeps.
  """
  waiting = [u for u in units if not (folder / u.name / 'unit.json').exists()]
  if not waiting:
    return []
  done = {}
  for path in sorted(root.glob('*/*/unit.json')):
    record = json.loads(path.read_text())
    if record['state'] == 'done':
      done.setdefault(_key(record['settings']), path.parent)
  borrowed = []
  for unit in waiting:
    workdir = folder / unit.name
    source = done.get(_key(unit_lib.settings(config, unit)))
    if source is None:
      continue
    part = workdir.with_name(f'{workdir.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.copytree(source, part, ignore=_LEFT_OUT)
    record = unit_lib.read(source) | dict(
      name=unit.name,
      config=config,
      overrides=unit.overrides,
      same_as=str(source),
    )
    (part / 'unit.json').write_text(json.dumps(record, indent=1) + '\n')
    # In one step: a kill leaves a folder '.part', and never half a unit that
    # says that it is done.
    os.replace(part, workdir)
    borrowed.append(unit.name)
  return borrowed


def _key(settings):
  return json.dumps(settings, sort_keys=True)


def _tune(name, root, parallel):
  """Areas of all arms and rates, printed and kept; the exit code."""
  code = _run(name, 'tune', root, pathlib.Path(_ROOT), parallel)
  if code:
    return code
  _, units = _units(name, 'tune')
  found = areas(root / name, units)
  path = REPO / 'docs/reproduce/learning_rates.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  kept = files.read_json(path) | {name: found}
  text = published.by_line(dict(sorted(kept.items())), dict.fromkeys(kept, 1))
  files.replace_file(path, text.encode())
  print(f'{name}:')
  for arm, by_rate in found.items():
    best = max(by_rate, key=by_rate.get)
    shown = ', '.join(f'{rate:g}: {area:.3f}' for rate, area in by_rate.items())
    print(f'  {arm or "all"}: {best:g} ({shown})', flush=True)
  return 0


def areas(
  folder: pathlib.Path, units: Sequence[sweep.Unit]
) -> dict[str, dict[float, float]]:
  """Mean area by arm, as its units' names have it, and by learning rate."""
  found = collections.defaultdict(lambda: collections.defaultdict(list))
  for unit in units:
    records = files.read_jsonl(folder / unit.name / 'metrics.jsonl')
    curve = [r[claims.ACCURACY] for r in records if claims.ACCURACY in r]
    parts = unit.name.split(',')
    arm = ','.join(
      p for p in parts if not p.startswith(('learning_rate=', 'seed='))
    )
    rate = unit.overrides['optimizer.learning_rate']
    found[arm][rate].append(np.mean(curve))
  return {
    arm: {rate: float(np.mean(each)) for rate, each in rates.items()}
    for arm, rates in found.items()
  }


if __name__ == '__main__':
  sys.exit(main())
