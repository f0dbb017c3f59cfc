"""Runs an experiment file, and judges what is said of its keys.

'FILE' or 'FILE:VARIANT' names a config; the variant is the argument of the
file's functions.  Whatever a user's file does wrong becomes one sentence.
"""

import difflib
import os
import runpy
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from k15.config.keys import ConfigError

# What a flag of a type takes, in words.
EXPECTED = {
  bool: 'true or false', int: 'a whole number', float: 'a number',
  tuple: 'a quoted tuple', str: 'a text',
}  # fmt: skip


def file_of(config: str) -> str:
  """'FILE' of 'FILE:VARIANT'."""
  return config.partition(':')[0]


def variant_of(config: str) -> list[str]:
  """Arguments of the file's functions: the variant, if there is one."""
  return config.split(':', 1)[1:]


def run(config: str) -> dict[str, Any]:
  """What the file defines, `get_config` among it.

  Raises:
    ConfigError: there is no such file, it fails, or has no get_config.
  """
  path = file_of(config)
  if not os.path.isfile(path):
    raise ConfigError(f'--config: no file {path!r}')
  found = call(config, lambda: runpy.run_path(path))
  if 'get_config' not in found:
    raise ConfigError(f'{path}: there is no function get_config()')
  return found


def make(config: str, found: Mapping[str, Any]) -> ConfigDict:
  """The config of a file that was `run`.

  Raises:
    ConfigError: get_config fails, or returns something else.
  """
  made = call(config, lambda: found['get_config'](*variant_of(config)))
  if not isinstance(made, ConfigDict):
    raise ConfigError(
      f'{file_of(config)}: get_config() returns no config but {made!r}'
    )
  return made


def call(config: str, function: Callable[[], Any]) -> Any:
  """What a function of the file returns; what it raises, as a ConfigError."""
  path = file_of(config)
  try:
    return function()
  except Exception as error:  # Whatever a user's file does wrong.
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    at = f', line {lines[-1]}' if lines else ''
    # ml_collections puts a quoted text of several lines into its errors, the
    # first of which ends with all fields there are.
    text = str(error).replace('\\n', '\n')
    if text[:1] in ('"', "'") and text[-1:] == text[:1]:
      text = text[1:-1]
    first, _, rest = text.partition('\n')
    words = [*first.split(' Other fields')[0].split(), *rest.split()]
    sentence = f'{path}{at}: {type(error).__name__}: {" ".join(words)}'
    raise ConfigError(sentence) from None


def check_key(key: str, leaves: Mapping[str, Any], prefix: str = '') -> None:
  """Refuses what is no key, with the closest that is.

  Args:
    key: 'loss.tau'.
    leaves: values of the config by whole key.
    prefix: of a key as the user has written it, '--config.'.
  """
  if key in leaves:
    return
  inside = [leaf for leaf in leaves if leaf.startswith(f'{key}.')]
  if inside:
    raise ConfigError(
      f'{prefix}{key} is a group; set one of its keys, such as '
      f'{prefix}{inside[0]}={leaves[inside[0]]}'
    )
  last = str(key).rpartition('.')[2]
  close = [leaf for leaf in leaves if leaf.rpartition('.')[2] == last]
  close = close or difflib.get_close_matches(str(key), leaves, 1, 0.5)
  hint = f'; the closest is {prefix}{close[0]}' if close else ''
  raise ConfigError(f'there is no key {prefix}{key}{hint}')


def check_type(key: str, value: Any, default: Any) -> None:
  """Refuses a value of another type than the default of its key has.

  A whole number may stand for a number, and a list for a tuple.
  """
  if hasattr(default, 'dtype'):
    raise ConfigError(
      f'{key}={value!r}: get_config() sets it to {default!r}, which no flag can'
      ' change; it has to be as Python writes it'
    )
  expected = type(default)
  same = type(value) is expected
  if same or (expected, type(value)) in ((float, int), (tuple, list)):
    return
  raise ConfigError(f'{key}={value!r}: {expectation(default)}')


def expectation(default: Any) -> str:
  """What a key takes, by its default: 'expected a number, such as ...'."""
  words = EXPECTED.get(type(default), type(default).__name__)
  return f'expected {words}, such as the default {default!r}'
