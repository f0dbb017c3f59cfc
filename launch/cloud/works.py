"""Where work units go in Google Cloud, what they are told, and their shell.

The bucket is a folder in every container, /gcs/BUCKET: Vertex mounts it there,
and so do our pods.  'gs://BUCKET/path' in a config means the same.

Containers run their command as the "$@" of `sh -c SCRIPT sh`.  A shell does not
pass signals on by itself, and `wait` ends early when one comes.  Whatever a
container is told goes through `literal`.
"""

import dataclasses
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from k15.config import exit_codes
from k15.config import keys
from launch import local
from launch.plan import chips
from launch.units import sweep

# Keys of the config that name files or folders.
PATHS = tuple(key for key, row in keys.KEYS.items() if row.path)
# libtpu locks memory, which GKE's containers may not unless they ask: docs.
# cloud.google.com/kubernetes-engine/docs/how-to/tpus#privileged-mode.
LOCK_MEMORY = 'ulimit -l 68719476736; '
ONCE = 'exec "$@"'
# A service that ends, however it does, has failed, so that it is started again.
FOREVER = 'trap \'kill "$!"\' TERM; "$@" & wait "$!"; wait "$!"; exit 1'
# Where exit codes mean nothing: one that saved is started again, here and now.
UNTIL_DONE = (
  'trap \'kill "$!"\' TERM; while :; do "$@" & while :; do wait "$!"; code=$?;'
  ' kill -0 "$!" 2>/dev/null || break; done;'
  f' [ "$code" = {exit_codes.INTERRUPTED} ] || exit "$code"; done'
)


def _flag(default, text):
  """A field that `launch.xm` has a flag of; `text` is its help."""
  return dataclasses.field(default=default, metadata=dict(text=text))


@dataclasses.dataclass(frozen=True)
class Cloud:
  """Where units go, and what they get there."""

  project: str = _flag('', 'Of Google Cloud.')
  location: str = _flag('', 'Region, such as us-east5.')
  bucket: str = _flag(
    '', 'gs://NAME or gs://NAME/FOLDER: workdirs and checkpoints.'
  )
  topology: str = _flag('', 'Slice of the trainer, such as v5p:4x4x4.')
  image: str = _flag('', 'Of a registry; built and pushed unless given.')
  spot: bool = _flag(False, 'Take capacity that may be taken away, for less.')
  max_restarts: int = _flag(3, 'After failures; interruptions do not count.')
  # This and what follows is for Kubernetes.
  namespace: str = _flag('default', 'Of Kubernetes.')
  service_account: str = _flag(
    'k15', 'Of the pods, in Kubernetes; it may use the bucket.'
  )
  secret: str = _flag(
    'k15-tokens',
    "Of Kubernetes: tokens under the keys 'rollout' and 'reward'.",
  )
  grace_seconds: int = _flag(900, 'For a save, between SIGTERM and SIGKILL.')
  sandboxes: int = _flag(0, 'Reward services beside the trainer.')
  rollout_workers: int = _flag(0, 'Beside the trainer.')
  rollout_topology: str = _flag('', 'Slice of each of them.')

  @property
  def slice(self) -> chips.Topology:
    return chips.parse(self.topology)

  @property
  def rollout_slice(self) -> chips.Topology:
    return chips.parse(self.rollout_topology)

  @property
  def bucket_name(self) -> str:
    return self.bucket.removeprefix('gs://').partition('/')[0]

  @property
  def mount(self) -> str:
    """Where containers find the bucket."""
    return f'/gcs/{self.bucket_name}'

  def mounted(self, path: str) -> str:
    """'gs://BUCKET/x' as containers see it; other paths as they are."""
    return re.sub(f'(^|:)gs://{self.bucket_name}/', rf'\1{self.mount}/', path)


@dataclasses.dataclass(frozen=True)
class Work:
  """A unit on its way.

  Attributes:
    name: of what runs it: lower case, digits and '-', at most 40.
    unit: of the sweep.
    config: 'FILE' or 'FILE:VARIANT', below the project's folder.
    settings: all values of its config by dotted key.
    workdir: in the bucket, as containers see it.
  """

  name: str
  unit: sweep.Unit
  config: str
  settings: Mapping[str, Any]
  workdir: str


def make_work(
  cloud: Cloud, config: str, unit: sweep.Unit, settings: Mapping[str, Any]
) -> Work:
  """What there is to know of a unit; its name is the same in every call."""
  experiment = local.default_root(config).name
  bucket = cloud.bucket.removeprefix('gs://').rstrip('/')
  # JobSet puts job, replica and pod behind a name, and DNS takes 63 letters of
  # it: unit names are too long, and not lower case.
  number = zlib.crc32(f'{experiment}/{unit.name}'.encode())
  label = re.sub('[^a-z0-9]+', '-', experiment.lower())[:25].strip('-')
  return Work(
    name=f'k15-{label}-{number:08x}',
    unit=unit,
    config=config,
    settings=settings,
    workdir=f'/gcs/{bucket}/{experiment}/{unit.name}',
  )


def arguments(
  cloud: Cloud, work: Work, overrides: Mapping[str, Any]
) -> list[str]:
  """Of a command that takes the unit's config: --config and all overrides.

  Args:
    overrides: by dotted key, beside or instead of the unit's own.
  """
  found = dict(work.unit.overrides)
  for key in PATHS:
    value = _mounted(cloud, work.settings[key])
    if value != work.settings[key]:
      found[key] = value
  unit = sweep.Unit(work.unit.name, found | dict(overrides))
  return [f'--config={work.config}', *sweep.arguments(unit)]


def _mounted(cloud, value):
  if isinstance(value, str):
    return cloud.mounted(value)
  return tuple(cloud.mounted(path) for path in value)


def paths(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """Keys of a config that name files or folders, each with one of them."""
  for key in PATHS:
    value = settings[key]
    for path in (value,) if isinstance(value, str) else value:
      if key == 'evaluation.sets':  # 'name:path', or the path alone
        path = re.sub(r'^[^:/]*:(?!//)', '', path)
      if path:
        yield key, path


def below(path: str, root: pathlib.Path) -> str:
  """'FILE:VARIANT' with the file as seen from `root`; itself if outside."""
  file, colon, variant = path.partition(':')
  whole = pathlib.Path(file).resolve()
  if not whole.is_relative_to(root):
    return path
  return f'{whole.relative_to(root)}{colon}{variant}'


def literal(texts: Iterable[str]) -> list[str]:
  """Texts that reach the container as they are.

  In command, args and values of env Kubernetes replaces $(NAME) by a variable
  and $$ by $, wherever they stand (its forked/golang/expansion).  So does
  Vertex AI: its reference of EnvVar says so, and its samples of custom jobs
  pass --model_dir=$(AIP_MODEL_DIR).  A doubled $ is one $ in the end.
  """
  return [text.replace('$', '$$') for text in texts]
