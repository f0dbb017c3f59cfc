"""Runs several benchmarks one after the other and joins their results.

  python -m benchmarks.together quality.verifiers speed.sandbox

Each prints what it prints alone; the last line has the keys of all of them.
"""

import json
import subprocess
import sys
from typing import Any

MARK = 'RESULT '


def print_result(result: dict[str, Any]) -> None:
  """The last line of a benchmark; four digits of a float."""
  rounded = {
    key: float(f'{value:.4g}') if isinstance(value, float) else value
    for key, value in result.items()
  }
  print(MARK + json.dumps(rounded))


def main():
  result, failed = {}, []
  for name in sys.argv[1:]:
    print(f'== {name}', flush=True)
    command = [sys.executable, '-m', f'benchmarks.{name}']
    # Line by line, to be seen as they come: a benchmark takes minutes.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
      for line in child.stdout:
        print(line, end='', flush=True)
        if line.startswith(MARK):
          result |= json.loads(line.removeprefix(MARK))
    if child.returncode:
      failed.append(f'{name} ended with {child.returncode}')
  print(MARK + json.dumps(result))
  if failed:
    sys.exit('; '.join(failed))


if __name__ == '__main__':
  main()
