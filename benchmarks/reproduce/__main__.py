"""The paper's figures at a scale that a laptop can run: `make reproduce`.

    python -m benchmarks.reproduce [NAME ...] [--parallel=2]
        [--root=runs/reproduce] [--no-run | --pages | --cost]

For each NAME, or all: runs what is missing of the units of
experiments/ablations/NAME.py:cpu in ROOT/NAME, after those of the warm-up whose
models they begin with; judges the page's CLAIM by them; writes
docs/reproduce/NAME.png, NAME.json, NAME.md and the rows of the tables.
Interrupted in any way, the same command goes on where it stopped.

With --no-run what is done so far is measured; while units are missing, the
picture goes to ROOT/NAME/preview.png and nothing else changes.  Where no unit
is done, the runs of docs/reproduce/NAME.json are judged again, by the curves
that it has.  With --pages nothing is judged: pages and rows are written anew
from what the JSON says, whatever has become of the claim and its config.  With
--cost the JSONs say how many core-minutes each figure took.

    python -m benchmarks.reproduce --tune NAME ...

runs the sweep `:tune` in runs/tune instead: every arm with the same learning
rates, on seeds that no figure shows.  See `tuning`.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from benchmarks.reproduce import ablation_runs
from benchmarks.reproduce import costs
from benchmarks.reproduce import published
from benchmarks.reproduce import publishing
from benchmarks.reproduce import running
from benchmarks.reproduce import tuning
from experiments.ablations import claims
from k15 import files
from k15.config import exit_codes
from launch.units import sweep


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--parallel', type=int, default=2)
  parser.add_argument('--root', type=pathlib.Path)
  for flag in ('--no-run', '--pages', '--cost', '--tune'):
    parser.add_argument(flag, action='store_true')
  args = parser.parse_args(argv)
  tuned = pathlib.Path('runs/tune')
  args.root = args.root or (tuned if args.tune else running.ROOT)
  unknown = [name for name in args.names if name not in claims.FIGURES]
  if unknown:
    print(
      f'reproduce: no claim {", ".join(unknown)}; there are'
      f' {", ".join(claims.FIGURES)}',
      file=sys.stderr,
    )
    return 2
  names = args.names or claims.FIGURES
  if args.cost:
    contents = (files.read_json(published.path_of(name)) for name in names)
    print('\n'.join(costs.to_lines([c for c in contents if c])))
    return 0
  worst = 0
  for name in names:
    code = _one(name, args)
    if code == exit_codes.INTERRUPTED:
      return code
    worst = max(worst, code)
  return worst


def _one(name, args):
  """The exit code of one claim."""
  try:
    if args.pages:
      return publishing.rewrite_page(name)
    if args.tune:
      return tuning.tune(name, args.root, args.parallel)
    if not args.no_run:
      code = running.run(name, 'cpu', args.root, args.root, args.parallel)
      if code:
        return code
    return publishing.publish(name, args.root)
  except (ablation_runs.DataError, sweep.SweepError) as error:
    print(f'reproduce: {name}: {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
  sys.exit(main())
