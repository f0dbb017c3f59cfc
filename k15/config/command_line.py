"""The command line: mistakes become one sentence and exit code 2."""

import importlib.util
import os
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from k15.config import experiment_files
from k15.config import keys


def parse_flags(
  argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Parser for `app.run(main, flags_parser=command_line.parse_flags)`.

  Expects `config_flags.DEFINE_config_file('config')`.  An experiment that is
  not here is one of those that are installed with k15, if they have it.  A
  mistake ends the process with one sentence on stderr and exit code 2.
  """
  leaves = {}
  try:
    argv = _with_installed_experiment(argv)
    leaves = _load_leaves(argv)
    rest = flag_values(argv)
    keys.refuse(
      rest[1:], f'{"".join(rest[1:2])!r} is no flag; write --config.key=value'
    )
    return rest
  except flags.Error as error:
    exit_with(_flag_sentence(str(error), leaves))
  except keys.ConfigError as error:
    exit_with(str(error))


def exit_with(sentence: str) -> NoReturn:
  """Ends the process with the sentence on stderr and exit code 2."""
  print(f'k15: {sentence}', file=sys.stderr)
  sys.exit(2)


def _with_installed_experiment(argv):
  """--config=experiments/NAME.py, where no such file is: the installed one."""
  found = []
  for arg in argv:
    match = re.match(r'((?:--?config=)?)(experiments/[^:]+)', arg)
    if match and not os.path.isfile(match[2]):
      package = importlib.util.find_spec('experiments')
      root = pathlib.Path(package.origin).parents[1]
      if (root / match[2]).is_file():
        arg = f'{match[1]}{root / arg[len(match[1]) :]}'
    found.append(arg)
  return found


def _load_leaves(argv):
  """Keys and defaults of the file of --config; refuses unknown overrides."""
  leaves = {}
  for arg, following in zip(argv, [*argv[1:], ''], strict=True):
    if arg == '--':
      break
    match = re.fullmatch(r'--?config(?:=(.*))?', arg, re.DOTALL)
    if match:
      keys.refuse(leaves, '--config is given twice')
      path = match[1] or following
      made = experiment_files.make(path, experiment_files.run(path))
      leaves = keys.leaves(made)
    match = re.match(r'--?(?:no)?config\.([\w.]+)(=|$)', arg)
    if match and leaves:
      experiment_files.check_key(match[1], leaves, '--config.')
  return leaves


def _flag_sentence(message, leaves):
  match = re.match(r'flag --(\w+)=None: ', message)
  if match:
    return f'--{match[1]} is needed'
  match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message, re.DOTALL)
  if not match or type(leaves.get(match[1])) not in experiment_files.EXPECTED:
    return message
  expected = experiment_files.expectation(leaves[match[1]])
  return f'--config.{match[1]}={match[2]}: {expected}'
