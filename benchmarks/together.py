"""Runs several benchmarks one after the other and joins their results.

  python -m benchmarks.together verifiers sandbox

Each prints what it prints alone; the last line has the keys of all of them.
"""

import json
import subprocess
import sys

MARK = 'RESULT '


def main():
  result, failed = {}, []
  for name in sys.argv[1:]:
    print(f'== {name}', flush=True)
    command = [sys.executable, '-m', f'benchmarks.{name}']
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
