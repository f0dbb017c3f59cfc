"""When do the paper's choices pay?  Phase diagrams of toy worlds, in minutes.

    python -m benchmarks.worlds [NAME ...] [--quick] [--no-run]
        [--with KEY=NUMBER ...] [--out=docs/worlds]

For each NAME, or all: chooses the learning rate of every arm at every place of
the diagram on seeds of their own, runs all arms on the seeds that are shown,
and writes OUT/NAME.png and OUT/NAME.json.  --quick takes three places of each
line and fewer seeds.  --with sets fields of `facts.World` and `facts.Nature` at
all places, so that they are like a run of one's own.  Both say so in the
picture, and write to runs/worlds unless OUT is given.  --no-run draws anew what
OUT/NAME.json has.
"""

import argparse
import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence

import jax

from benchmarks import together
from benchmarks.worlds import diagrams
from benchmarks.worlds import pictures
from benchmarks.worlds import runs
from benchmarks.worlds import variants
from benchmarks.worlds.diagrams import Diagram
from k15 import files
from k15.report import figures


@dataclasses.dataclass(frozen=True)
class Effort:
  """Seeds that are shown, and seeds that choose a rate."""

  seeds: int
  tuning_seeds: int


FULL, QUICK = Effort(8, 3), Effort(5, 2)
# Of diagrams in full, of which findings are written; and of others.
_PUBLISHED, _MINE = pathlib.Path('docs/worlds'), pathlib.Path('runs/worlds')


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--quick', action='store_true')
  parser.add_argument('--no-run', action='store_true')
  parser.add_argument(
    '--with', nargs='+', default=[], metavar='KEY=NUMBER', dest='settings'
  )
  parser.add_argument('--out', type=pathlib.Path)
  args = parser.parse_args(argv)
  out = args.out or (_MINE if args.quick or args.settings else _PUBLISHED)
  unknown = [name for name in args.names if name not in diagrams.DIAGRAMS]
  if unknown:
    known = ', '.join(diagrams.DIAGRAMS)
    print(
      f'worlds: no {", ".join(unknown)}; there are {known}', file=sys.stderr
    )
    return 2
  chosen = {n: diagrams.DIAGRAMS[n] for n in args.names or diagrams.DIAGRAMS}
  try:
    chosen = {
      name: variants.changed(diagram, args.settings)
      for name, diagram in chosen.items()
    }
  except ValueError as error:
    print(f'worlds: {error}', file=sys.stderr)
    return 2
  # A program is compiled once on a machine, like those of the tests.
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update('jax_compilation_cache_dir', '.cache/worlds')
  total = runs.Clock()
  for name, diagram in chosen.items():
    path = out / f'{name}.json'
    if args.no_run:
      content = files.read_json(path)
    else:
      content = _measured(name, diagram, args.quick, args.settings, total)
    finding = diagram.finding if out == _PUBLISHED else ''
    content |= dict(question=diagram.question, finding=finding)
    figure = pictures.draw(diagram, content['rows'], content['note'])
    out.mkdir(parents=True, exist_ok=True)
    files.replace_file(path.with_suffix('.png'), figures.to_png(figure, 130))
    files.replace_file(path, pictures.to_json(content).encode())
  if not args.no_run:
    together.print_result(
      dict(
        worlds_responses_per_second=total.rate,
        worlds_responses_per_cpu_second=total.responses / total.cpu_seconds,
        worlds_cpu_seconds=total.cpu_seconds,
      )
    )
  return 0


def _measured(name, diagram, is_quick, settings, total):
  """Runs a diagram: what its file has."""
  effort, clock = (QUICK if is_quick else FULL), runs.Clock()
  if is_quick:
    diagram = variants.thinned(diagram)
  found, rates = measure(diagram, effort, clock)
  rows = pictures.numbers(diagram, found)
  _print(name, clock, rows)
  total.responses += clock.responses
  total.seconds += clock.seconds
  total.cpu_seconds += clock.cpu_seconds
  note = (
    f'{effort.seeds} seeds, 95 % intervals; rates chosen on'
    f' {effort.tuning_seeds} others.'
  )
  command = f'python -m benchmarks.worlds {name}'
  if is_quick:
    note += ' Quick: not all places, few seeds.'
    command += ' --quick'
  if settings:
    note += f' All places with {", ".join(settings)}.'
    command += f' --with {" ".join(settings)}'
  return dict(
    name=name, question=diagram.question, finding='', note=note,
    command=command,
    date=time.strftime('%F'), **dataclasses.asdict(effort), rates=rates,
    responses=clock.responses, seconds=round(clock.seconds, 1),
    cpu_seconds=round(clock.cpu_seconds, 1), rows=rows,
  )  # fmt: skip


def measure(
  diagram: Diagram, effort: Effort, clock: runs.Clock
) -> tuple[pictures.Found, list[dict]]:
  """Curves of all arms at all places, and the rates that were chosen."""
  places = {
    (place, name): runs.Case(place.world, place.nature, arm, 0)
    for place in diagram.places
    for name, arm in diagram.arms.items()
  }
  tried = {key: diagram.rates_of(key[1]) for key in places}
  chosen = runs.tuned(places, tried, effort.tuning_seeds, clock)
  cases = [
    dataclasses.replace(case, seed=seed)
    for case in chosen.values()
    for seed in range(effort.seeds)
  ]
  curves = iter(runs.simulate(cases, clock))
  found = {key: [next(curves) for _ in range(effort.seeds)] for key in chosen}
  rates = [
    dict(
      x=place.x, series=place.series, arm=name, rate=case.arm.rate,
      tried=list(tried[place, name]),
    )
    for (place, name), case in chosen.items()
  ]  # fmt: skip
  return found, rates


def _print(name, clock, rows):
  print(
    f'== {name}: {clock.responses:,} responses in {clock.seconds:.0f} s,'
    f' {clock.cpu_seconds:.0f} of the processor: {clock.rate:,.0f} a second'
  )
  for row in rows:
    half = '' if row['half'] is None else f' ± {row["half"]:.3f}'
    print(
      f'  {row["title"]}, {row["line"]}, {row["measure"]}, at {row["x"]:g}:'
      f' {row["mean"]:.3f}{half}'
    )
  sys.stdout.flush()


if __name__ == '__main__':
  sys.exit(main())
