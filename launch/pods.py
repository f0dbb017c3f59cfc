"""Containers, pods and Jobs of a JobSet, as Kubernetes writes them down."""

from collections.abc import Sequence
from typing import Any

from launch import chips
from launch import cloud as cloud_lib
from launch import scripts
from launch import slices

DISRUPTED = dict(type='DisruptionTarget', status='True')  # Of the node.
_USER = 1000  # of the image
# What one host writes another sees, and directories are renamed when whole.
_MOUNT = 'implicit-dirs,metadata-cache:ttl-secs:0,rename-dir-limit=200000'
_SPOT = 'cloud.google.com/gke-spot'


def container(
  cloud: cloud_lib.Cloud,
  script: str,
  command: Sequence[str],
  tokens: dict[str, str],
) -> dict[str, Any]:
  """A container of our image, of a user without rights.

  Args:
    cloud: names the image and the secret.
    script: of `launch.scripts`.
    command: module of Python, and its arguments.
    tokens: variable -> key of the secret.
  """
  return dict(
    name='k15',
    image=cloud.image,
    command=scripts.literal(['sh', '-c', script, 'sh', 'python', '-m']),
    args=scripts.literal(command),
    env=[
      dict(
        name=name,
        valueFrom=dict(secretKeyRef=dict(name=cloud.secret, key=key)),
      )
      for name, key in tokens.items()
    ],
    securityContext=dict(
      runAsUser=_USER,
      runAsGroup=_USER,
      allowPrivilegeEscalation=False,
      capabilities=dict(drop=['ALL']),
      seccompProfile=dict(type='RuntimeDefault'),
    ),
  )


def pod(container: dict[str, Any]) -> dict[str, Any]:
  """A pod of a container, which nobody may start twice; no access to Google."""
  return dict(
    spec=dict(
      restartPolicy='Never',
      automountServiceAccountToken=False,
      enableServiceLinks=False,
      containers=[container],
    )
  )


def tpu_pod(
  cloud: cloud_lib.Cloud,
  topology: chips.Topology,
  container: dict[str, Any],
  may_write: bool,
) -> dict[str, Any]:
  """A pod on a host of a slice, with the bucket.

  Args:
    cloud: names bucket and service account.
    topology: of the slice.
    container: takes all chips of the host.  It is root, whom alone Kubernetes
      gives the right to lock memory, and may do nothing else.
    may_write: to the bucket.
  """
  spec = pod(container)['spec']
  count = str(topology.chips_per_host)
  container['resources'] = dict(limits={'google.com/tpu': count})
  container['securityContext'] |= dict(
    runAsUser=0,
    runAsGroup=0,
    capabilities=dict(drop=['ALL'], add=['SYS_RESOURCE']),
  )
  container['volumeMounts'] = [
    dict(name='bucket', mountPath=cloud.mount, readOnly=not may_write)
  ]
  spec |= dict(
    serviceAccountName=cloud.service_account,
    automountServiceAccountToken=True,  # The bucket's driver asks for it.
    terminationGracePeriodSeconds=cloud.grace_seconds,
    nodeSelector=slices.node_labels(topology),
    volumes=[dict(name='bucket', csi=_bucket(cloud))],
  )
  if cloud.spot:
    spec['nodeSelector'][_SPOT] = 'true'
    spec['tolerations'] = [
      dict(key=_SPOT, operator='Equal', value='true', effect='NoSchedule')
    ]
  annotations = {'gke-gcsfuse/volumes': 'true'}
  return dict(metadata=dict(annotations=annotations), spec=spec)


def _bucket(cloud):
  attributes = dict(
    bucketName=cloud.bucket_name, mountOptions=f'{_MOUNT},uid=0,gid=0'
  )
  return dict(driver='gcsfuse.csi.storage.gke.io', volumeAttributes=attributes)


def job(
  name: str,
  replicas: int,
  num_pods: int,
  backoff: int,
  rules: Sequence[dict[str, Any]],
  pod: dict[str, Any],
) -> dict[str, Any]:
  """Jobs of a JobSet.

  Args:
    name: of all of them.
    replicas: how many Jobs.
    num_pods: of each, all at once.
    backoff: failures of pods until a Job has failed.
    rules: of its podFailurePolicy.
    pod: template.
  """
  return dict(
    name=name,
    replicas=replicas,
    template=dict(
      spec=dict(
        completionMode='Indexed',
        parallelism=num_pods,
        completions=num_pods,
        backoffLimit=backoff,
        podFailurePolicy=dict(rules=list(rules)),
        template=pod,
      )
    ),
  )
