"""What each stage of a run began with, so that a change is noticed and named.

`workdir/stages/<stage>.json` holds the config a stage began under, fingerprints
of the model it began with and of all files it reads, and of the problems that
were made of them.  A run that goes on compares them: the same content under
another path is fine, other content is refused before anything is computed.  A
stage that has saved nothing yet begins anew instead.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import files
from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.config import keys
from k15.devices import fingerprints
from k15.devices import hosts

# config.json too, for the size of the vocabulary and ids that end a response
# are read from it.
_TOKENIZER = (
  *hf.TOKENIZER_FILES, models.BYTE_TOKENIZER, 'config.json',
  'generation_config.json',
)  # fmt: skip


class Changed(ValueError):
  """What a stage began with is something else now; the message says what."""


def begun(workdir: pathlib.Path) -> list[str]:
  """Stages that have begun, in the order in which they did."""
  records = [
    (hf_config.read_json(path)['place'], path.stem)
    for path in (workdir / 'stages').glob('*.json')
  ]
  return [stage for _, stage in sorted(records)]


def check_files(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Compares the files of all stages that have begun.

  Args:
    workdir: of the run.
    config: of `resume.to_json`.

  Raises:
    Changed: names the key and the file.
  """
  for stage in begun(workdir):
    if has_saved(workdir, stage):
      before = hf_config.read_json(_path(workdir, stage))
      _compare_files(stage, before, config)


def check(
  workdir: pathlib.Path,
  stage: str,
  source: pathlib.Path | None,
  config: Mapping[str, Any],
  problems: Sequence[Any] = (),
) -> None:
  """Records what a stage begins with, or compares with what it began with.

  Args:
    workdir: of the run.
    stage: its name.
    source: the model before it; None: random weights.
    config: of `resume.to_json`.
    problems: what it learns from, in values that JSON can hold.

  Raises:
    Changed: the stage began with another model, file or problems.
  """
  path = _path(workdir, stage)
  text = json.dumps(list(problems)).encode()
  now = dict(
    source=str(source) if source else '',
    fingerprint=fingerprints.of_model(source) if source else '',
    files=_files(stage, config),
    problems=dict(
      number=len(problems), sha256=hashlib.sha256(text).hexdigest()
    ),
  )
  before = hf_config.read_json(path) if path.exists() else {}
  # What has not saved anything cannot go on from anything: it begins with what
  # is there now.
  if before and has_saved(workdir, stage):
    _compare_models(workdir, stage, before, now)
    _compare_files(stage, before, config)
    _compare_problems(stage, before, now)
    if 'files' in before:
      return
    if hosts.is_first():
      print(f'stage {stage!r} began without a record of its files: made now')
  if hosts.is_first():
    path.parent.mkdir(parents=True, exist_ok=True)
    place = before.get('place', len(begun(workdir)))
    record = dict(place=place, **now, config=config)
    content = json.dumps(record, indent=2) + '\n'
    files.replace_file(path, content.encode())


def has_saved(workdir: pathlib.Path, stage: str) -> bool:
  """Whether anything is there that a stage would go on from.

  The prompt set of 'curate' knows by itself what it was made of.
  """
  steps = (workdir / 'checkpoints' / stage).glob('*')
  return (
    (workdir / 'models' / stage).exists()
    or any(step.name.isdigit() for step in steps)
    or (stage == 'long_cot' and (workdir / stage / 'samples.jsonl').exists())
  )


def tokenizer_of(config: Any) -> str:
  """A fingerprint of a config's tokenizer, its chat template with it."""
  if config.checkpoint:
    return _tokenizer_print(config.checkpoint)['sha256']
  words = list(config.tokenizer.words)
  found = [*words, dict(sees=True)] if config.vision.enabled else words
  return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _path(workdir, stage):
  return workdir / 'stages' / f'{stage}.json'


def _files(stage, config):
  """Key -> fingerprints of its files, of all that the stage reads."""
  return {
    key: _prints(key, config)
    for key, row in keys.KEYS.items()
    if row.path == keys.KEPT_OUT
    or (row.path == keys.INPUT and stage in (row.readers or [stage]))
  }


def _with_path(kind):
  return [key for key, row in keys.KEYS.items() if row.path == kind]


def _prints(key, config):
  return [
    _tokenizer_print(path) if key == 'checkpoint' else _print(key, path)
    for path in _paths(key, config)
  ]


def _paths(key, config):
  """The paths that a key holds; none of those that are not read."""
  if key.startswith('task.') and config['task']['name'] != 'file':
    return []
  # A run of an older version may lack the key.
  value = keys.leaves(config).get(key, ())
  paths = [value] if isinstance(value, str) else list(value)
  if key == 'evaluation.sets':  # 'name:path', or the path alone
    paths = [path.partition(':')[2] or path for path in paths]
  return [path for path in paths if path]


def _print(key, path):
  several = files.matching(path)
  if several and all(file.is_file() for file in several):
    return files.digest(path)
  if not pathlib.Path(path).exists():
    raise FileNotFoundError(f'{key}: no such file or directory: {path}')
  directory = models.directory_of(path)
  return dict(name=str(path), sha256=fingerprints.of_model(directory))


def _tokenizer_print(path):
  directory, found = models.directory_of(path), hashlib.sha256()
  for name in _TOKENIZER:
    if (directory / name).is_file():
      found.update(
        f'{name} {files.digest(directory / name)["sha256"]}'.encode()
      )
  return dict(name=f'the tokenizer of {path}', sha256=found.hexdigest())


def _compare_models(workdir, stage, before, now):
  if before['fingerprint'] != now['fingerprint']:
    raise Changed(
      f'stage {stage!r} began with the model {before["source"] or "(random)"},'
      f' and {now["source"] or "(random)"} differs from it: take this back, or'
      f' remove models/{stage}, checkpoints/{stage} and {stage}.json in'
      f' {workdir / "stages"} to do the stage again'
    )


def _compare_files(stage, before, config):
  """Raises Changed for the first key whose files have other content."""
  remedy = 'take this back or choose another workdir'
  if 'files' not in before:  # It began under a version that kept none.
    for key in _with_path(keys.INPUT):
      old, new = _paths(key, before['config']), _paths(key, config)
      if old != new:
        raise Changed(
          f'{key}: stage {stage!r} began with {_listed(old)}, of which nothing'
          f' else is recorded, and now there is {_listed(new)}: {remedy}'
        )
    return
  for key, old in before['files'].items():
    if keys.KEYS[key].path == keys.KEPT_OUT:
      continue
    new = _prints(key, config)
    if len(old) != len(new):
      raise Changed(
        f'{key}: stage {stage!r} began with'
        f' {_listed(p["name"] for p in old)}, and now there is'
        f' {_listed(_paths(key, config))}: {remedy}'
      )
    for path, a, b in zip(_paths(key, config), old, new, strict=True):
      if a['sha256'] != b['sha256']:
        raise Changed(
          f'{key}: {path} is not the {a["name"]} that stage {stage!r} began'
          f' with, its content is another: {remedy}'
        )


def _compare_problems(stage, before, now):
  """Raises Changed where the same files make other problems."""
  old, new = before.get('problems'), now['problems']
  if old is None or old == new:
    return
  changed = [
    f'{key} ({_listed(p["name"] for p in now["files"][key])})'
    for key in _with_path(keys.KEPT_OUT)
    if _contents(before['files'][key]) != _contents(now['files'][key])
  ]
  why = (
    f'what is evaluated, and therefore not trained on, changed:'
    f' {" and ".join(changed)}'
    if changed
    else 'another name of a file, of which ids are made, or another version'
  )
  raise Changed(
    f'stage {stage!r} began with {old["number"]} problems, and now there are'
    f' {new["number"]}, not all of them the same; {why}: take this back or'
    ' choose another workdir'
  )


def _contents(prints):
  return sorted(p['sha256'] for p in prints)


def _listed(names):
  return ', '.join(map(str, names)) or 'none'
