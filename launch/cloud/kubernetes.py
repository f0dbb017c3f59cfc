"""What the launcher asks of Kubernetes: its types first, then a cluster.

`kubeflow-trainer-api` has the types of JobSet v1alpha2 and of the Jobs and pods
inside; `kubernetes-validate`, where it is installed, the JSON schemas that
Kubernetes publishes.  Neither lets an unknown field pass `check`.  `submit`
sends what has passed.
"""

import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from k15.config import extras

try:
  import pydantic
  from kubeflow_trainer_api import models
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain("who writes a unit's manifest", error) from None

KUBERNETES = '1.33'  # whose schemas; GKE's regular channel, November 2026
GROUP, VERSION, PLURAL = 'jobset.x-k8s.io', 'v1alpha2', 'jobsets'
_DELETE_SECONDS = 60.0


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
    sentence = f'{name}: {part["kind"]}: {where}: {error.message}'
    raise SchemaError(sentence) from None


def submit(
  manifests: Mapping[str, Sequence[dict[str, Any]]], api: Any = None
) -> dict[str, str]:
  """Creates what is not there yet; a JobSet that has failed is replaced.

  Args:
    manifests: what each unit needs, by its name.
    api: a `kubernetes.client.ApiClient`; of the present context of
      ~/.kube/config, or of the pod that this runs in, unless given.

  Returns:
    What became of each unit.

  Raises:
    OSError: no cluster, or it refuses; what was sent before stays.
  """
  import urllib3
  from kubernetes import client
  from kubernetes.config import config_exception

  try:
    api = api or _connect()
    return {
      name: [_create(api, manifest) for manifest in group][-1]
      for name, group in manifests.items()
    }
  except client.ApiException as error:
    text = ' '.join(str(error.body or error.reason).split())
    raise OSError(f'Kubernetes: {error.status}: {text}') from None
  except (
    config_exception.ConfigException,
    urllib3.exceptions.HTTPError,
  ) as error:
    raise OSError(f'Kubernetes: {error}') from None


def _connect():
  from kubernetes import client
  from kubernetes import config

  config.load_config()
  return client.ApiClient()


def _create(api, manifest):
  from kubernetes import client

  namespace = manifest['metadata']['namespace']
  if manifest['kind'] == 'NetworkPolicy':
    call = client.NetworkingV1Api(api).create_namespaced_network_policy
    return _unless_there(lambda: call(namespace, manifest)) or 'there already'
  custom = client.CustomObjectsApi(api)
  where = (GROUP, VERSION, namespace, PLURAL)
  name = manifest['metadata']['name']

  def create():
    return custom.create_namespaced_custom_object(*where, manifest)

  if _unless_there(create):
    return 'sent'
  found = custom.get_namespaced_custom_object(*where, name)
  state = found.get('status', {}).get('terminalState')
  if state != 'Failed':
    return f'there already: {(state or "active").lower()}'
  # With its pods gone before it is: pods of a new one would write to the same
  # workdir beside them.
  custom.delete_namespaced_custom_object(
    *where, name, propagation_policy='Foreground'
  )
  end = time.monotonic() + _DELETE_SECONDS
  while not _unless_there(create):
    if time.monotonic() > end:
      return 'failed, and is being deleted: send it again later'
    time.sleep(1.0)
  return 'sent again'


def _unless_there(create):
  """'sent', or '' if there is an object of this name."""
  from kubernetes import client

  try:
    create()
  except client.ApiException as error:
    if error.status != 409:
      raise
    return ''
  return 'sent'
