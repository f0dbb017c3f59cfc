"""The paper's figures at a scale that a laptop can run: `make reproduce`.

    python -m benchmarks.reproduce [NAME ...] [--parallel=2]
        [--root=runs/reproduce] [--no-run]

For each claim of `claims.py`, or those named: runs what is missing of the
units of experiments/ablations/NAME.py:cpu in ROOT/NAME, after those of the
warm-up whose models they begin with; writes
docs/reproduce/NAME.png and NAME.json and its row of docs/reproduction.md.
Interrupted in any way, the same command goes on where it stopped.  With
--no-run what is done so far is measured; while units are missing, the picture
goes to ROOT/NAME/preview.png and nothing else changes.
"""

import argparse
import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence

from benchmarks import claim_types
from benchmarks import claims
from benchmarks import outcomes
from benchmarks import reproduce_data as data
from benchmarks import reproduce_figures
from benchmarks import reproduce_json
from benchmarks import reproduce_measures
from benchmarks import reproduce_stats as stats
from benchmarks import reproduce_table
from benchmarks import same_runs
from k15 import exit_codes
from k15 import figures
from k15 import files
from launch import local
from launch import sweep

REPO = pathlib.Path(__file__).resolve().parents[1]
# Where config files expect the models of the warm-up.
_ROOT = 'runs/reproduce'


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--parallel', type=int, default=2)
  parser.add_argument('--root', type=pathlib.Path, default=pathlib.Path(_ROOT))
  parser.add_argument('--no-run', action='store_true')
  args = parser.parse_args(argv)
  unknown = [name for name in args.names if name not in claims.CLAIMS]
  if unknown:
    print(
      f'reproduce: no claim {", ".join(unknown)}; there are'
      f' {", ".join(claims.CLAIMS)}',
      file=sys.stderr,
    )
    return 2
  worst = 0
  for name in args.names or claims.CLAIMS:
    code = _one(name, args)
    if code == exit_codes.INTERRUPTED:
      return code
    worst = max(worst, code)
  return worst


def _one(name, args):
  """The exit code of one claim."""
  try:
    needed = [] if args.no_run else [*_warm_ups(name), name]
    for sweep_name in needed:
      code = _run(sweep_name, args.root, args.parallel)
      if code:
        return code
    return publish(claims.CLAIMS[name], args.root)
  except (data.DataError, sweep.SweepError) as error:
    print(f'reproduce: {name}: {error}', file=sys.stderr)
    return 1


def _warm_ups(name):
  """Sweeps whose models the units of a claim begin with."""
  _, units = _units(name, pathlib.Path(_ROOT))
  starts = [unit.overrides.get('checkpoint', '') for unit in units]
  return sorted(
    {
      pathlib.Path(start).relative_to(_ROOT).parts[0]
      for start in starts
      if start.startswith(f'{_ROOT}/')
    }
  )


def publish(claim: claim_types.Claim, root: pathlib.Path) -> int:
  """Measures and draws one claim; the exit code: 1 if units are missing.

  Raises:
    DataError: see `reproduce_data` and `reproduce_measures`.
    SweepError: of the ablation's file.
  """
  config, units = _units(claim.name, root)
  arms, missing = data.read_arms(config, units, root / claim.name)
  result = measure(claim, arms)
  _print(claim, result)
  picture = figures.to_png(reproduce_figures.draw(claim, arms))
  if missing:
    print(f'{claim.name}: {missing} of {len(units)} units are missing')
    (root / claim.name / 'preview.png').write_bytes(picture)
    return 1
  _write(claim, config, arms, result, picture)
  return 0


def measure(
  claim: claim_types.Claim, arms: data.Arms
) -> reproduce_table.Result:
  """All measures of a claim and its verdict; raises DataError."""
  runs = [run for by_seed in arms.values() for run in by_seed.values()]
  if not runs:
    raise data.DataError('no unit is done')
  estimates, findings = {}, []
  for m in claim.measures:
    found = reproduce_measures.measured(m, arms, claim.points)
    estimates |= found
    if m.expected:
      findings += [
        (what, stats.judge(estimate, m.expected, m.margin))
        for what, estimate in found.items()
      ]
  if claim.untestable:
    verdict = 'cannot be tested at this scale', claim.untestable
  else:
    verdict = stats.verdict(findings)
  commits = dict.fromkeys(
    c for run in runs for c in run.record.get('commits', ())
  )
  return reproduce_table.Result(
    estimates=estimates,
    deciding=tuple(what for what, _ in findings),
    verdict=verdict[0],
    sentence='. '.join(
      filter(None, [verdict[1], outcomes.WHY.get(claim.name)])
    ),
    seeds=tuple(sorted({run.seed for run in runs})),
    iterations=max(len(run.records) for run in runs),
    commits=tuple(commits),
  )


def _units(name, root) -> tuple[str, list[sweep.Unit]]:
  """'FILE:cpu' of an ablation, and its units, with models of this root."""
  config = f'experiments/ablations/{name}.py:cpu'
  return config, [_moved(unit, root) for unit in sweep.units(config)]


def _moved(unit, root):
  moved = {
    key: str(root / pathlib.Path(value).relative_to(_ROOT))
    for key, value in unit.overrides.items()
    if str(value).startswith(f'{_ROOT}/')
  }
  return dataclasses.replace(unit, overrides=unit.overrides | moved)


def _run(name, root, parallel):
  config, units = _units(name, root)
  print(f'{name}: {len(units)} units in {root / name}', flush=True)
  for borrowed in same_runs.borrow(config, units, root / name, root):
    print(f'done already in another figure: {borrowed}', flush=True)
  return local.run(config, units, root / name, parallel)


def _print(claim, result):
  print(f'{claim.name} ({claim.figure}): {claim.question}')
  for what, found in result.estimates.items():
    mark = '*' if what in result.deciding else ' '
    print(f' {mark} {what}: {stats.text(found)}')
  print(f'  {result.verdict}: {result.sentence}', flush=True)


def _write(claim, config, arms, result, picture: bytes) -> None:
  path = REPO / reproduce_table.picture(claim.name)
  path.parent.mkdir(parents=True, exist_ok=True)
  files.replace_file(path, picture)
  date = time.strftime('%F')
  text = reproduce_json.dumps(claim, config, arms, result, date)
  files.replace_file(path.with_suffix('.json'), text.encode())
  row = reproduce_table.row(claim.name, claim.figure, claim.paper, result)
  page = REPO / reproduce_table.PAGE
  new = reproduce_table.update(
    page.read_text(), claim.name, row, list(claims.CLAIMS)
  )
  files.replace_file(page, new.encode())


if __name__ == '__main__':
  sys.exit(main())
