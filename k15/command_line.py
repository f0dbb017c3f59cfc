"""The command line: mistakes become one sentence and exit code 2."""

import difflib
import importlib.util
import os
import pathlib
import re
import runpy
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from k15 import config_changes
from k15 import config_rules

_EXPECTED = {
  bool: 'true or false', int: 'a whole number', float: 'a number',
  tuple: 'a quoted tuple', str: 'a text',
}  # fmt: skip


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
    if rest[1:]:
      raise config_rules.ConfigError(
        f'{rest[1]!r} is no flag; write --config.key=value'
      )
    return rest
  except flags.Error as error:
    exit_with(_flag_sentence(str(error), leaves))
  except config_rules.ConfigError as error:
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
      if leaves:
        raise config_rules.ConfigError('--config is given twice')
      leaves = config_changes.leaves(_run_experiment(match[1] or following))
    match = re.match(r'--?(?:no)?config\.([\w.]+)(=|$)', arg)
    if match and leaves:
      _check_key(match[1], leaves)
  return leaves


def _run_experiment(path):
  path, *args = path.split(':', 1)
  if not os.path.isfile(path):
    raise config_rules.ConfigError(f'--config: no file {path!r}')
  try:
    config = runpy.run_path(path)['get_config'](*args)
  except Exception as error:  # Whatever a user's file does wrong.
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    at = f', line {lines[-1]}' if lines else ''
    # ml_collections puts a quoted text of several lines into its errors.
    message = str(error).replace('\\n', '\n').strip('\'"').splitlines() or ['']
    message = ' '.join([message[0].split(' Other fields')[0], *message[1:]])
    raise config_rules.ConfigError(
      f'{path}{at}: {type(error).__name__}: {message}'
    ) from None
  if not config_changes.is_group(config):
    raise config_rules.ConfigError(
      f'{path}: get_config() returns no config but {config!r}'
    )
  return config


def _check_key(key, leaves):
  if key in leaves:
    return
  inside = [leaf for leaf in leaves if leaf.startswith(key + '.')]
  if inside:
    raise config_rules.ConfigError(
      f'--config.{key} is a group; set one of its keys, such as '
      f'--config.{inside[0]}={leaves[inside[0]]}'
    )
  last = key.rpartition('.')[2]
  close = [leaf for leaf in leaves if leaf.rpartition('.')[2] == last]
  close = close or difflib.get_close_matches(key, leaves, 1, 0.5)
  hint = f'; the closest is --config.{close[0]}' if close else ''
  raise config_rules.ConfigError(f'there is no key --config.{key}{hint}')


def _flag_sentence(message, leaves):
  match = re.match(r'flag --(\w+)=None: ', message)
  if match:
    return f'--{match[1]} is needed'
  match = re.match(r'flag --config\.([\w.]+)=(.*?): ', message, re.DOTALL)
  if not match or type(leaves.get(match[1])) not in _EXPECTED:
    return message
  default = leaves[match[1]]
  return (
    f'--config.{match[1]}={match[2]}: expected {_EXPECTED[type(default)]}, '
    f'such as the default {default!r}'
  )
