"""Manifests against the published types of JobSet and Kubernetes.

`kubeflow-trainer-api` has the types of JobSet v1alpha2 and of the Jobs and pods
inside; `kubernetes-validate`, where it is installed, the JSON schemas that
Kubernetes publishes.  Neither lets an unknown field pass here.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pydantic
from kubeflow_trainer_api import models

KUBERNETES = '1.33'  # whose schemas; GKE's regular channel, November 2026


class SchemaError(ValueError):
  """A manifest that Kubernetes would refuse, or cut fields off."""


def check(manifest: dict[str, Any]) -> list[str]:
  """Returns what a manifest was checked against.

  Raises:
    SchemaError: a field is unknown, missing or of another type.
  """
  name = f'{manifest["kind"]} {manifest["metadata"]["name"]}'
  against = []
  if manifest['kind'] == 'JobSet':
    _check_types(name, manifest)
    against.append('kubeflow-trainer-api')
  if importlib.util.find_spec('kubernetes_validate'):
    for part in _published(manifest):
      _check_published(name, part)
    against.append('kubernetes-validate')
  return against


def _check_types(name, manifest):
  try:
    kept = models.JobsetV1alpha2JobSet.from_dict(manifest).to_dict()
  except (pydantic.ValidationError, AttributeError, TypeError) as error:
    raise SchemaError(f'{name}: {" ".join(str(error).split())}') from None
  for path in differences(manifest, kept):
    raise SchemaError(f'{name}: JobSet has no field {path}')


def differences(before: Any, after: Any, path: str = '') -> Iterator[str]:
  """Where two trees are not the same; a missing null is no difference."""
  if isinstance(before, dict) and isinstance(after, dict):
    for key in before | after:
      if before.get(key) is not None or after.get(key) is not None:
        yield from differences(
          before.get(key), after.get(key), f'{path}.{key}'.lstrip('.')
        )
  elif isinstance(before, list) and isinstance(after, list):
    if len(before) != len(after):
      yield path
    for i, (one, other) in enumerate(zip(before, after, strict=False)):
      yield from differences(one, other, f'{path}[{i}]')
  elif before != after:
    yield path


def _published(manifest) -> Iterator[dict[str, Any]]:
  """The parts that Kubernetes itself has schemas of."""
  if manifest['kind'] != 'JobSet':
    yield manifest
    return
  for job in manifest['spec']['replicatedJobs']:
    spec = job['template']['spec']
    metadata = dict(job['template'].get('metadata', {}), name=job['name'])
    yield dict(apiVersion='batch/v1', kind='Job', metadata=metadata, spec=spec)


def _check_published(name, part):
  import kubernetes_validate  # 108 MB: an extra.

  try:
    kubernetes_validate.validate(part, KUBERNETES, strict=True)
  except kubernetes_validate.ValidationError as error:
    where = '.'.join(map(str, error.absolute_path))
    raise SchemaError(
      f'{name}: {part["kind"]}: {where}: {error.message}'
    ) from (None)
