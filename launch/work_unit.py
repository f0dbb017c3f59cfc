"""One work unit as a process, for launchers that start processes.

    python -m launch.work_unit --config=FILE[:VARIANT] --workdir=DIR
        [--cores=0,2] [--config.key=value ...]

It runs `k15.main` as `launch.units.unit` does, with its log and record in the
workdir, and leaves with the unit's exit code.  SIGTERM lets the unit save
first, a second one ends it.
"""

import argparse
import pathlib
import signal
import sys
from collections.abc import Sequence

from k15.config import exit_codes
from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
  parser.add_argument('--config', required=True)
  parser.add_argument('--workdir', required=True, type=pathlib.Path)
  parser.add_argument('--cores', default='')
  args, texts = parser.parse_known_args(argv)
  stop = unit_lib.Stop()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: stop.ask())
  if args.cores:
    local.pin([int(core) for core in args.cores.split(',')])
  overrides = sweep.parse(args.config, texts)
  unit = sweep.Unit(args.workdir.name, overrides)
  record = unit_lib.run_unit(args.config, unit, args.workdir, stop)
  if record['state'] == 'stopped':
    return exit_codes.INTERRUPTED
  code = record['exit_code']
  return code if code >= 0 else 128 - code  # A signal, as shells say it.


if __name__ == '__main__':
  sys.exit(main())
