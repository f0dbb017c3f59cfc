"""Models and data sets of the hub, by their names, as paths of its cache.

Tokens, the cache and the hub itself are those of `huggingface_hub`: HF_TOKEN,
HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT.
"""

import fnmatch
import os
import pathlib
import re
from collections.abc import Sequence

from k15.config import extras
from k15.config import hub_names
from k15.config.hub_names import HubName

try:
  import huggingface_hub
except ModuleNotFoundError:  # An extra, for those who name anything of the hub.
  huggingface_hub = None

# What `k15.checkpoints` reads of a model, at the top of its repository.
_MODEL_FILES = ('*.json', '*.jinja', '*.model', '*.safetensors', '*.txt')
_SHARD = re.compile(r'(-\d{5}-of-\d{5}|/\d{4})$')
_WHY = {
  'GatedRepoError': 'its terms have to be accepted there, and HF_TOKEN be set',
  'RepositoryNotFoundError': 'there is none of this name, or it is private',
  'RevisionNotFoundError': 'it has no such revision',
  'LocalEntryNotFoundError': 'it cannot be reached, and the cache lacks this',
  'IncompleteSnapshotError': 'it cannot be reached, and the cache lacks a part',
  'OfflineModeIsEnabled': 'HF_HUB_OFFLINE is set, and the cache lacks this',
  'ConnectError': 'it cannot be reached, and the cache lacks this',
}


def fetched(
  text: str,
  name: HubName,
  commit: str = '',
  splits: Sequence[str] = ('train',),
) -> tuple[str, str]:
  """The path that a name becomes, downloaded if the cache lacks it.

  Args:
    text: as it was written, for what is raised.
    name: what `hub_names.parse` made of it.
    commit: instead of the revision that it names; '' is that.
    splits: of a data set, those that will do where the name does not say.

  Returns:
    The path, of a data set in several files with a star in its name, and the
    commit that it is of.

  Raises:
    ValueError: one sentence that says why there is none.
  """
  place = f'no file or directory {text!r}'
  if huggingface_hub is None:
    whoever = f'{place}; whoever asks the hub for it'
    raise ValueError(extras.sentence(whoever, 'huggingface_hub'))
  revision, inside = commit or name.revision or None, name.inside
  kind = 'model' if name.is_model else 'data set'
  try:
    if name.is_model:
      folder = _model(name, revision)
    else:
      folder, inside = _data(name, revision, splits)
  except _Refused as error:
    raise ValueError(f'{kind} {text!r} of the hub: {error}') from None
  # Its own errors, those of its HTTP library, which is another one by its
  # version, and of the disk: what it was asked for is not there.
  except Exception as error:
    lines = str(error).splitlines() or ['']
    why = _WHY.get(type(error).__name__, f'{type(error).__name__}: {lines[0]}')
    sentence = f'{place}, and the hub as {kind} {name.repo!r}: {why}'
    raise ValueError(sentence) from error
  # After the commit the cache names a snapshot.
  path = os.path.join(folder, inside) if inside else folder
  return path, pathlib.Path(folder).name


def model_path(path: str) -> str:
  """The path of a model, be it a path or a name of the hub; raises as above."""
  name = hub_names.parse(path, is_model=True)
  return fetched(path, name)[0] if name else path


class _Refused(ValueError):
  """What a repository has does not say what is meant."""


def _model(name, revision):
  """The folder of a model's files, those that are read."""
  patterns = [name.inside] if name.inside else list(_MODEL_FILES)
  return huggingface_hub.snapshot_download(
    name.repo,
    revision=revision,
    allow_patterns=patterns,
    # Other forms of the same weights lie in folders; a star has slashes too.
    ignore_patterns=None if name.inside else ['*/*'],
  )


def _data(name, revision, splits):
  """The folder of a data set, and within it a file, or a star for several."""
  commit, listed = _listed(name, revision)
  chosen = choose(listed, name, splits)
  # By its name, so that the cache knows that without a network; and once more
  # if it has become another commit since the files were listed.
  for wanted in (revision, commit):
    folder = huggingface_hub.snapshot_download(
      name.repo,
      repo_type='dataset',
      revision=wanted,
      allow_patterns=chosen,
    )
    if pathlib.Path(folder).name == commit:
      break
  if len(chosen) == 1:
    return folder, chosen[0]
  ends = [os.path.commonprefix(texts) for texts in (chosen, _mirrored(chosen))]
  star = f'{ends[0]}*{ends[1][::-1]}'
  parent = os.path.dirname(chosen[0])
  beside = [f for f in listed if os.path.dirname(f) == parent]
  if sorted(chosen) != sorted(fnmatch.filter(beside, star)):
    raise _Refused(f'no name with a star is {chosen}, and no others')
  return folder, star


def _listed(name, revision):
  """Commit and files of a data set; without a network, those of the cache."""
  try:
    info = huggingface_hub.HfApi().repo_info(
      name.repo, repo_type='dataset', revision=revision
    )
    return info.sha, [file.rfilename for file in info.siblings]
  except Exception as error:
    if type(error).__name__ not in ('ConnectError', 'OfflineModeIsEnabled'):
      raise
    found = _cached(name.repo, revision or 'main')
    if found is None:
      raise
    return found


def _cached(repo, revision):
  """The same from the cache; None: it has no such revision."""
  try:
    repos = huggingface_hub.scan_cache_dir().repos
  except huggingface_hub.errors.CacheNotFound:
    return None
  for found in repos:
    if (found.repo_id, found.repo_type) == (repo, 'dataset'):
      for one in found.revisions:
        if revision in (one.commit_hash, *one.refs):
          start = one.snapshot_path
          paths = [file.file_path.relative_to(start) for file in one.files]
          return one.commit_hash, [path.as_posix() for path in paths]
  return None


def choose(
  listed: Sequence[str], name: HubName, splits: Sequence[str]
) -> list[str]:
  """The files of one split of a data set, in the order of their names.

  Args:
    listed: all files of the repository.
    name: whose `inside` chooses, where it says something.
    splits: otherwise, those that will do, the first before the others.

  Raises:
    ValueError: no file of data, or several splits and none that is meant;
      names them.
  """
  by_split: dict[str, list[str]] = {}
  for file in listed:
    suffix = _suffix(file)
    if suffix and not file.endswith(('_infos.json', 'config.json')):
      split = _SHARD.sub('', file.removesuffix(suffix))
      by_split.setdefault(split, []).append(file)
  wanted = {
    split: found
    for split, found in by_split.items()
    if name.inside == split or name.inside in found
  } or {s: found for s, found in by_split.items() if s.startswith(name.inside)}
  if len(wanted) > 1:
    for split in splits:
      meant = [s for s in wanted if s.rpartition('/')[2] == split]
      if meant:
        wanted = {s: wanted[s] for s in meant}
        break
  if len(wanted) != 1:
    raise _Refused(
      f'{len(wanted)} splits are meant, of {sorted(by_split)}: name one, such'
      f' as {name.repo}/{min(by_split, default="SPLIT")}'
    )
  (found,) = wanted.values()
  if name.inside in found:
    return [name.inside]
  # Some have the same rows in two forms.
  best = min(map(_suffix, found), key=hub_names.DATA_SUFFIXES.index)
  return sorted(file for file in found if _suffix(file) == best)


def _suffix(file):
  return next((s for s in hub_names.DATA_SUFFIXES if file.endswith(s)), '')


def _mirrored(texts):
  return [text[::-1] for text in texts]
