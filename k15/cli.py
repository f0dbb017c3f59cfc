"""The command `k15`: `k15 run --config=FILE --workdir=DIR`, and seven more.

A sub-command is a module's own command by a shorter name: `k15 run` is
`python -m k15.main`, with all its flags.  What none of them needs is imported
here, so `k15 --help` answers at once, wherever k15 is installed.
"""

import dataclasses
import difflib
import importlib.metadata
import runpy
import sys
from collections.abc import Sequence

from k15.config import command_line
from k15.config import extras


@dataclasses.dataclass(frozen=True)
class Command:
  """A sub-command.

  Attributes:
    name: as it is typed.
    module: whose command it is.
    does: in a line.
    default: a flag put in front of the user's, unless they have it.
  """

  name: str
  module: str
  does: str
  default: str = ''


COMMANDS = (
  Command('run', 'k15.main', 'train: all stages of a config, or go on'),
  Command('report', 'k15.report', 'a page of one run, or of several beside'),
  Command(
    'compare', 'k15.report.evaluations', 'two evaluations, problem by problem'
  ),
  Command('serve', 'k15.serve', 'a model, as a rollout worker'),
  Command(
    'evaluate', 'k15.main', 'a model on test sets',
    '--config=experiments/evaluate.py',
  ),
  Command('plan', 'launch.plan', 'what a run will need of a TPU slice'),
  Command('sweep', 'launch.local', 'the units of a config file', '--sweep'),
  Command('doctor', 'k15.doctor', 'what of this machine works'),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
  """Runs a sub-command in this process; its exit code is its own.

  A mistake, or a package of an extra that is missing, ends the process with one
  sentence and exit code 2.

  Args:
    argv: as sys.argv, which it is by default.
  """
  words = list(sys.argv if argv is None else argv)[1:]
  if words[:1] in ([], ['help'], ['-h'], ['--help'], ['--helpfull']):
    print(usage())
    return
  if words[0] == '--version':
    print(f'k15 {version()}')
    return
  command = find(words[0])
  arguments = with_default(command.default, words[1:])
  # As `python -m` has it: a config may import what lies beside it.
  sys.path.insert(0, '')
  sys.argv = [command.module, *arguments]
  try:
    runpy.run_module(command.module, run_name='__main__', alter_sys=True)
  except ModuleNotFoundError as error:
    explained = extras.explain(f'k15 {command.name}', error)
    if explained is error:
      raise
    # A page may have said more of it.
    said = str(error) if 'k15[' in str(error) else str(explained)
    command_line.exit_with(said)


def find(name: str) -> Command:
  """The sub-command; what is none ends the process with the closest."""
  names = [command.name for command in COMMANDS]
  if name not in names:
    close = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f'the closest is k15 {close[0]}' if close else 'k15 --help has all'
    command_line.exit_with(f'there is no k15 {name}; {hint}')
  return COMMANDS[names.index(name)]


def with_default(default: str, arguments: Sequence[str]) -> list[str]:
  """The arguments, behind the default unless they have its flag."""
  flag = default.partition('=')[0].lstrip('-')
  theirs = {a.partition('=')[0].lstrip('-') for a in arguments}
  return [*([default] if flag and flag not in theirs else []), *arguments]


def usage() -> str:
  """What `k15 --help` prints."""
  rows = [f'  {c.name:<9} {c.does}' for c in COMMANDS]
  modules = [f'python -m {c.module} {c.default}'.strip() for c in COMMANDS]
  return '\n'.join(
    [
      'usage: k15 COMMAND [FLAGS]',
      '',
      *(f'{r:<52} {m}' for r, m in zip(rows, modules, strict=True)),
      '',
      'k15 COMMAND --help tells its flags; a first run:',
      '',
      '  k15 run --config=experiments/arithmetic.py:smoke --workdir=runs/first',
    ]
  )


def version() -> str:
  """Of what is installed; 'of a folder' where nothing is."""
  try:
    return importlib.metadata.version('k15')
  except importlib.metadata.PackageNotFoundError:
    return 'of a folder'


if __name__ == '__main__':
  main()
