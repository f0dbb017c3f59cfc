"""What `launch.plan` says of units, asked in a process of its own.

Launching needs no jax; planning does.  Where jax or libtpu is missing that is
said, and nothing is planned.
"""

import dataclasses
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from k15.config import keys
from launch.cloud import works as works_lib
from launch.units import sweep

_NEEDED = ('jax', 'libtpu')


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Attributes:
  names: of units with the same programs.
  code: 0 if they fit, 1 if not, 2 if the config is refused; None if unknown.
  text: what the plan printed, or why there is none.
  """

  names: tuple[str, ...]
  code: int | None
  text: str


def ask(
  works: Sequence[works_lib.Work],
  topology: str,
  root: pathlib.Path,
  checkpoint: str = '',
) -> Iterator[Verdict]:
  """A verdict for each kind of programs that the units have, when it is known.

  Args:
    works: units, all of one config file.
    topology: such as 'v5p:4x4x4'.
    checkpoint: a copy of theirs that can be read here; without one the plan is
      of the shape that the config itself has.
  """
  kinds = {}
  for work in works:
    kinds.setdefault(tuple(_relevant(work)), []).append(work)
  missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
  for overrides, alike in kinds.items():
    names = tuple(work.unit.name for work in alike)
    if missing:
      text = (
        f'not planned: {" and ".join(missing)} not installed here: pip'
        " install 'k15[plan]'"
      )
      yield Verdict(names, None, text)
      continue
    overrides = dict(overrides)
    text, theirs = '', alike[0].settings['checkpoint']
    if theirs:
      overrides['checkpoint'] = checkpoint
    if theirs and not checkpoint:
      text = (
        f'{theirs} is not read from here: planned for'
        ' the policy of the config; --plan_checkpoint names a copy of it\n'
      )
    result = subprocess.run(
      _command(alike[0].config, overrides, topology), cwd=root,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    yield Verdict(names, result.returncode, text + result.stdout.strip())


def _command(config, overrides, topology):
  unit = sweep.Unit('', overrides)
  return [
    sys.executable, '-m', 'launch.plan', f'--config={config}',
    *sweep.arguments(unit), f'--topology={topology}', '--quick', '--nosearch',
  ]  # fmt: skip


def _relevant(work):
  for key, value in work.unit.overrides.items():
    if keys.KEYS[key].program:
      yield key, value
