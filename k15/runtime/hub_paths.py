"""Paths in the place of all names of the hub that a config has.

`adopt` comes before anything else reads the config.  `hub.json` of the workdir
keeps which commit each name was then, and a run that goes on has the same one.
"""

import pathlib
from typing import Any

from k15 import files
from k15.config import hub_names
from k15.config import keys
from k15.config.hub_names import HubName
from k15.data import hub
from k15.devices import hosts

RECORD = 'hub.json'
# What is evaluated: where a name does not say which split, not the one of
# training.
_EVALUATED = (
  'evaluation.sets', 'curation.evaluation_paths', 'task.held_out_path'
)  # fmt: skip


def adopt(config: Any, workdir: pathlib.Path) -> None:
  """Downloads what is named, and changes the config; every process calls it.

  Args:
    config: the whole, not checked yet.
    workdir: where commits are kept, and were.

  Raises:
    ValueError: no path, and nothing that the hub, or its cache, has; one
      sentence that names key, text and reason.
  """
  get = keys.get_from(config)
  named = {
    key: found
    for key, row in keys.KEYS.items()
    if row.path in (keys.INPUT, keys.KEPT_OUT)
    and (found := _names(key, get(key), row.model))
  }
  if not named:
    return
  # They meet: gloo, on a CPU, gives up whoever has waited 30 s for the first to
  # connect; those that are connected wait for hours.
  hosts.any_of(False)
  # The first before the others: it decides which commit a branch is.
  for first in True, False:
    error = None
    try:
      if hosts.is_first() == first:
        _adopt(config, named, workdir)
    except (ValueError, OSError) as caught:
      error = caught
    if hosts.any_of(error is not None):
      raise error or ValueError('another process did not get what is named')


def _names(key, value, is_model) -> dict[str, HubName]:
  """The names among the texts of a key, as they are written."""
  texts = [value] if isinstance(value, str) else list(value)
  names = {
    t: hub_names.parse(_path_of(key, t), is_model)
    for t in texts
    if isinstance(t, str)
  }
  return {text: name for text, name in names.items() if name}


def _path_of(key, text):
  """Of 'name:path', as sets of evaluation may be, the path."""
  if key != 'evaluation.sets':
    return text
  return text.partition(':')[2] or text


def _adopt(config, named, workdir):
  commits = files.read_json(workdir / RECORD)
  for key, names in named.items():
    splits = ('test', 'validation') if key in _EVALUATED else ('train',)
    paths = {}
    for text, name in names.items():
      written = _path_of(key, text)
      before = commits.get(written, '')
      try:
        path, commits[written] = hub.fetched(written, name, before, splits)
      except ValueError as error:
        raise ValueError(f'{key}: {error}') from None
      if hosts.is_first():
        commit = commits[written][:12]
        print(f'{key}: {written} of the hub at {commit}: {path}', flush=True)
      if key == 'evaluation.sets':
        label, colon, _ = text.partition(':')
        label = label if colon else name.repo.partition('/')[2]
        path = f'{label}:{path}'
      paths[text] = path
    _put(config, key, paths)
  if hosts.is_first():
    workdir.mkdir(parents=True, exist_ok=True)
    files.replace_json(workdir / RECORD, commits)


def _put(config, key, paths):
  group, _, last = key.rpartition('.')
  holder = config[group] if group else config
  value = holder[last]
  if isinstance(value, str):
    holder[last] = paths[value]
  else:
    holder[last] = tuple(paths.get(text, text) for text in value)
