"""A folder where `python -m k15.main` is a few lines, for launchers' tests."""

import json
import os
import pathlib
import time
from typing import Any

# Seconds until a test that hangs fails, on the slowest of machines.
PATIENCE = 600
_ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """
from experiments import base
from experiments import sweeps

def get_config():
  return base.get_config()

def sweep():
  return sweeps.seeds(3)
"""
# A file `plan` in the workdir says what each attempt does; without one it
# succeeds.
_MAIN = """
import json, pathlib, signal, sys, time
flags = dict(arg.split('=', 1) for arg in sys.argv[1:])
workdir = pathlib.Path(flags['--workdir'])
(workdir / 'flags.json').write_text(json.dumps(flags))
plan = workdir / 'plan'
steps = plan.read_text().split() if plan.exists() else ['0']
plan.write_text(' '.join(steps[1:] or ['0']))
print('seed', flags['--config.seed'], 'does', steps[0], flush=True)
def leave(*_):
  (workdir / 'saves').touch()
  time.sleep(600 if steps[0] == 'linger' else 0.5)
  (workdir / 'saved').touch()
  sys.exit(75)
signal.signal(signal.SIGTERM, leave)
if steps[0] in ('wait', 'linger'):
  (workdir / 'waits').touch()
  # A signal just before one long sleep would be seen after it.
  for _ in range(6000):
    time.sleep(0.1)
sys.exit(int(steps[0]))
"""


def make(folder: pathlib.Path) -> dict[str, str]:
  """Fills a folder to run launchers in; returns their environment.

  Has `config.py` with units 'seed=0' to 'seed=2', and a `k15` of its own.
  """
  for name in ('launch', 'experiments'):
    (folder / name).symlink_to(_ROOT / name)
  (folder / 'k15').mkdir()
  (folder / 'k15' / '__init__.py').touch()
  (folder / 'k15' / 'main.py').write_text(_MAIN)
  (folder / 'config.py').write_text(CONFIG)
  # Before the project itself, which launchers put there too.
  return os.environ | {'PYTHONPATH': str(folder)}


def plan(folder: pathlib.Path, unit: str, steps: str) -> None:
  workdir = folder / 'r' / unit
  workdir.mkdir(parents=True, exist_ok=True)
  (workdir / 'plan').write_text(steps)


def outcomes(folder: pathlib.Path) -> dict[str, tuple[Any, ...]]:
  """State, exit code and attempts of units by name."""
  found = {}
  for path in sorted((folder / 'r').glob('*/unit.json')):
    record = json.loads(path.read_text())
    found[path.parent.name] = tuple(
      record[key] for key in ('state', 'exit_code', 'attempts')
    )
  return found


def wait_for(path: pathlib.Path) -> None:
  end = time.monotonic() + PATIENCE
  while not path.exists():
    assert time.monotonic() < end, f'{path} did not appear'
    time.sleep(0.02)
