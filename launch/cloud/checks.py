"""What keeps units from being sent: a sentence each, before anything is."""

import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from experiments import base
from k15.config import keys
from k15.config import layout
from launch.cloud import gke
from launch.cloud import image
from launch.cloud import slices
from launch.cloud import works
from launch.plan import chips

_BUCKET = r'(gs://)?[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[\w./=-]*)?'


def refusals(
  cloud: works.Cloud,
  executor: str,
  config: str,
  units: Mapping[str, Mapping[str, Any]],
  root: pathlib.Path,
) -> list[str]:
  """All that is wrong; nothing: the units may be sent.

  Args:
    executor: 'gke' or 'vertex'.
    config: 'FILE' or 'FILE:VARIANT', the file as seen from `root`.
    units: values of the config of each unit, by dotted key; by its name.
  """
  found = [*_place(cloud), *_config_file(config, root)]
  topology, sentences = _slice(cloud.topology, '--topology', executor)
  found += sentences
  found += _services(cloud, executor, topology)
  # What is wrong with a sweep is mostly wrong with all of its units: it is said
  # once.
  by_sentence = {}
  for name, settings in units.items():
    for sentence in _unit(cloud, topology, settings, root):
      by_sentence.setdefault(sentence, []).append(name)
  for sentence, names in by_sentence.items():
    if len(names) == len(units):
      found.append(sentence)
    else:
      more = f' and {len(names) - 1} more' if len(names) > 1 else ''
      found.append(f'{names[0]}{more}: {sentence}')
  return found


def _place(cloud) -> Iterator[str]:
  for key, what in (
    ('project', 'the project of Google Cloud that pays'),
    ('location', 'a region that has such chips, as us-east5'),
    ('bucket', 'gs://NAME for workdirs and checkpoints'),
  ):
    if not getattr(cloud, key):
      yield f'--{key} is missing: {what}'
  if cloud.bucket and not re.fullmatch(_BUCKET, cloud.bucket):
    yield f'--bucket={cloud.bucket} is none; write gs://NAME or gs://NAME/FOLDER'
  for key in ('max_restarts', 'sandboxes', 'rollout_workers', 'grace_seconds'):
    if getattr(cloud, key) < 0:
      yield f'--{key} is {getattr(cloud, key)}, and has to be >= 0'


def _config_file(config, root) -> Iterator[str]:
  if not image.holds(config.partition(':')[0], root):
    yield (
      f'--config={config} is not in the image, which has'
      f' {", ".join(image.FOLDERS)} of {root}'
    )


def _slice(name, flag, executor):
  """(topology or None, what is wrong with it)."""
  if not name:
    return None, [f'{flag} is missing: a slice such as v5p:4x4x4']
  try:
    topology = chips.parse(name)
    slices.check(topology, executor)
  except chips.TopologyError as error:
    return None, [f'{flag}: {error}']
  return topology, []


def _services(cloud, executor, topology) -> Iterator[str]:
  if executor == 'vertex' and (cloud.sandboxes or cloud.rollout_workers):
    yield (
      f'--sandboxes={cloud.sandboxes} and --rollout_workers='
      f'{cloud.rollout_workers} need --executor=gke: Vertex runs a trainer'
      ' alone'
    )
  if executor == 'vertex' or not cloud.rollout_workers:
    return
  if topology and topology.num_hosts > 1:
    yield (
      f'--rollout_workers={cloud.rollout_workers}: the {topology.num_hosts}'
      f' hosts of {topology.name} decode for themselves; workers go with a'
      f' trainer of one host, of at most 4 chips'
    )
  workers, sentences = _slice(
    cloud.rollout_topology, '--rollout_topology', executor
  )
  yield from sentences
  if workers and workers.num_hosts > 1:
    yield (
      f'--rollout_topology={workers.name} has {workers.num_hosts} hosts, and a'
      ' rollout worker is one process'
    )


def _unit(cloud, topology, settings, root) -> Iterator[str]:
  defaults = keys.leaves(base.get_config())
  for key, row in keys.KEYS.items():
    if row.ours and settings[key] != defaults[key]:
      yield f'{key} is {settings[key]!r}, and the launcher is to set it'
  if topology:
    yield from _mesh(settings, topology)
  for key, path in works.paths(settings):
    in_bucket = cloud.mounted(path).startswith(f'{cloud.mount}/')
    if cloud.bucket and not in_bucket and not image.holds(path, root):
      yield (
        f'{key} is {path!r}, which is neither in gs://{cloud.bucket_name} nor'
        ' in the image: copy it into the bucket, and name it gs://...'
      )
  if cloud.rollout_workers:
    try:
      gke.worker_mesh(settings, cloud.rollout_slice.num_chips)
    except chips.TopologyError:
      return  # It has been said.
    except ValueError as error:
      yield str(error)


def _mesh(settings, topology) -> Iterator[str]:
  axes = layout.AXES
  sizes = [settings[f'mesh.{axis}'] for axis in axes]
  text = ' * '.join(map('{} {}'.format, axes, sizes))
  yield from _product(f'mesh is {text}', sizes, topology)
  sizes = settings['rollout.mesh']
  if sizes:
    yield from _product(f'rollout.mesh is {sizes}', sizes, topology)


def _product(text, sizes, topology) -> Iterator[str]:
  """One -1 takes what the others leave, so these have to divide the chips."""
  known, fills = math.prod(s for s in sizes if s != -1), list(sizes).count(-1)
  if known < 1 or fills > 1:
    yield f'{text}; sizes are >= 1, and at most one is -1'
    return
  left = topology.num_chips % known if fills else topology.num_chips - known
  if left:
    count = f'a multiple of {known}' if fills else known
    yield (
      f'{text}, {count} devices, and {topology.name} has {topology.num_chips}'
      ' chips'
    )
