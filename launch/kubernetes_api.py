"""Sends JobSets to a cluster."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

GROUP, VERSION, PLURAL = 'jobset.x-k8s.io', 'v1alpha2', 'jobsets'
_DELETE_SECONDS = 60.0


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
