"""A work unit as a JobSet for Google Kubernetes Engine.

The trainer is one Job with a pod on each host of the slice; sandboxes and
rollout workers are Jobs beside it, which end with it.  A pod that leaves with
exit code 75 has saved and wants to be run again; so does one whose node is
taken away: the whole JobSet starts anew and goes on from the checkpoint, as
often as it takes.  Any other failure uses up one of `max_restarts`.

Needed in the cluster: JobSet 0.8 or later, the Cloud Storage FUSE driver, a
service account that may use the bucket, and for services a secret:

    kubectl create secret generic k15-tokens --from-literal=rollout=... \\
        --from-literal=reward=...

Checkpoints are renamed when they are whole: give the bucket a hierarchical
namespace, or every rename copies.

None of this has run on a cluster: the manifests are checked against published
schemas, and what submits them against a server that stands for Kubernetes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from k15.config import exit_codes
from launch.cloud import slices
from launch.cloud import works
from launch.plan import chips

# Of pods, each with an address of its own: any three ports would do.
COORDINATOR_PORT, ROLLOUT_PORT, SANDBOX_PORT = 8476, 9100, 9300
_SANDBOX_CORES = 4
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_ROLLOUT_TOKEN = {'K15_ROLLOUT_TOKEN': 'rollout'}
_REWARD_TOKEN = {'K15_REWARD_TOKEN': 'reward'}
_EXCLUSIVE = 'alpha.jobset.sigs.k8s.io/exclusive-topology'
# Pods of a service that fail, until the service is given up.
_SERVICE_FAILURES = 100
_DISRUPTED = dict(type='DisruptionTarget', status='True')  # Of the node.
_USER = 1000  # of the image
# What one host writes another sees, and directories are renamed when whole.
_MOUNT = 'implicit-dirs,metadata-cache:ttl-secs:0,rename-dir-limit=200000'
_SPOT = 'cloud.google.com/gke-spot'


def manifests(cloud: works.Cloud, work: works.Work) -> list[dict[str, Any]]:
  """What Kubernetes is sent for a unit, in this order."""
  wall = [_wall(cloud, work)] if cloud.sandboxes else []
  return [*wall, _job_set(cloud, work)]


def worker_mesh(settings: Mapping[str, Any], num_chips: int) -> dict[str, Any]:
  """Overrides that lay a rollout worker out over its own chips.

  It keeps the ways in which the trainer's config splits heads when it decodes;
  the rest of its chips split the slots.

  Args:
    settings: values of the config by dotted key.
    num_chips: of the worker.

  Raises:
    ValueError: these ways do not divide its chips.
  """
  sizes = settings['rollout.mesh']
  tensor = sizes[2] if len(sizes) == 3 else settings['mesh.tensor']
  if tensor < 1 or num_chips % tensor:
    raise ValueError(
      f'a rollout worker splits heads over tensor {tensor}, which does not'
      f' divide its {num_chips} chips'
    )
  sizes = dict(data=num_chips // tensor, fsdp=1, tensor=tensor, context=1)
  return {f'mesh.{axis}': size for axis, size in sizes.items()} | {
    'rollout.mesh': ()
  }


def _job_set(cloud, work):
  jobs = [_trainer(cloud, work)]
  if cloud.rollout_workers:
    jobs.append(_rollout(cloud, work))
  if cloud.sandboxes:
    jobs.append(_sandbox(cloud))
  return dict(
    apiVersion='jobset.x-k8s.io/v1alpha2',
    kind='JobSet',
    metadata=dict(
      name=work.name,
      namespace=cloud.namespace,
      annotations={
        'k15/config': work.config,
        'k15/unit': work.unit.name,
        'k15/workdir': work.workdir,
      },
    ),
    spec=dict(
      # Hosts of a trainer look for the first one while none of them is ready.
      network=dict(enableDNSHostnames=True, publishNotReadyAddresses=True),
      successPolicy=dict(operator='All', targetReplicatedJobs=['trainer']),
      failurePolicy=_failure_policy(cloud),
      replicatedJobs=jobs,
    ),
  )


def _failure_policy(cloud):
  interrupted = dict(
    name='interrupted',
    action='RestartJobSetAndIgnoreMaxRestarts',
    onJobFailureReasons=['PodFailurePolicy'],
    targetReplicatedJobs=['trainer'],
  )
  return dict(
    maxRestarts=cloud.max_restarts,
    # Never two generations of pods that write to one workdir.
    restartStrategy='BlockingRecreate',
    rules=[interrupted],
  )


def _trainer(cloud, work):
  topology = cloud.slice
  overrides, tokens = _company(cloud, work)
  told = works.arguments(cloud, work, overrides)
  command = ['k15.main', *told, f'--workdir={work.workdir}']
  script = works.LOCK_MEMORY + works.ONCE
  container = _container(cloud, script, command, tokens)
  index = dict(fieldRef=dict(fieldPath=_INDEX))
  container['env'].append(dict(name='K15_PROCESS_ID', valueFrom=index))
  saved = dict(
    containerName=container['name'],
    operator='In',
    values=[exit_codes.INTERRUPTED],
  )
  rules = [
    dict(action='FailJob', onExitCodes=saved),
    dict(action='FailJob', onPodConditions=[dict(_DISRUPTED)]),
  ]
  pod = _tpu_pod(cloud, topology, container, may_write=True)
  # No pod is replaced alone: the others wait for the one that has gone, and all
  # go on from the checkpoint together.
  job = _job('trainer', 1, topology.num_hosts, 0, rules, pod)
  if topology.num_hosts > 1:
    # A node pool is a slice: the pods of a trainer never spread over two.
    annotations = {_EXCLUSIVE: 'cloud.google.com/gke-nodepool'}
    job['template']['metadata'] = dict(annotations=annotations)
  return job


def _company(cloud, work):
  """(overrides that name other pods to the trainer, tokens for them)."""
  overrides, tokens = {}, {}
  if cloud.slice.num_hosts > 1:
    overrides |= {
      'mesh.coordinator': _address(work, 'trainer', 0, COORDINATOR_PORT),
      'mesh.num_processes': cloud.slice.num_hosts,
      'mesh.process_id': -1,
    }
  if cloud.sandboxes:
    tokens |= _REWARD_TOKEN
    overrides['reward.services'] = tuple(
      f'http://{_address(work, "sandbox", i, SANDBOX_PORT)}'
      for i in range(cloud.sandboxes)
    )
  if cloud.rollout_workers:
    tokens |= _ROLLOUT_TOKEN
    overrides['rollout.workers'] = tuple(
      _address(work, 'rollout', i, ROLLOUT_PORT)
      for i in range(cloud.rollout_workers)
    )
  return overrides, tokens


def _rollout(cloud, work):
  topology = cloud.rollout_slice
  mesh = worker_mesh(work.settings, topology.num_chips)
  told = works.arguments(cloud, work, mesh)
  where = ['--host=0.0.0.0', f'--port={ROLLOUT_PORT}']
  command = ['k15.serve', *told, *where]
  script = works.LOCK_MEMORY + works.FOREVER
  container = _container(cloud, script, command, _ROLLOUT_TOKEN)
  pod = _tpu_pod(cloud, topology, container, may_write=False)
  return _service('rollout', cloud.rollout_workers, pod)


def _sandbox(cloud):
  """Programs of a model run here: no rights, no tokens of Google's."""
  command = [
    'k15.rewards.service', '--host=0.0.0.0', f'--port={SANDBOX_PORT}',
    f'--workers={_SANDBOX_CORES}',
  ]  # fmt: skip
  container = _container(cloud, works.FOREVER, command, _REWARD_TOKEN)
  limits = {'cpu': str(_SANDBOX_CORES), 'memory': '8Gi'}
  health = dict(httpGet=dict(path='/health', port=SANDBOX_PORT))
  container |= dict(resources=dict(limits=limits), readinessProbe=health)
  return _service('sandbox', cloud.sandboxes, _pod(container))


def _service(name, count, pod):
  rules = [dict(action='Ignore', onPodConditions=[dict(_DISRUPTED)])]
  return _job(name, count, 1, _SERVICE_FAILURES, rules, pod)


def _address(work, job, index, port):
  """Of the first pod of a Job: JobSet's names in its headless service."""
  return f'{work.name}-{job}-{index}-0.{work.name}:{port}'


def _wall(cloud, work):
  """The sandboxes answer their trainer, and reach nothing themselves."""

  def of(job):
    return dict(
      matchLabels={
        'jobset.sigs.k8s.io/jobset-name': work.name,
        'jobset.sigs.k8s.io/replicatedjob-name': job,
      }
    )

  ingress = {
    'from': [dict(podSelector=of('trainer'))],
    'ports': [dict(protocol='TCP', port=SANDBOX_PORT)],
  }
  return dict(
    apiVersion='networking.k8s.io/v1',
    kind='NetworkPolicy',
    metadata=dict(name=f'{work.name}-sandbox', namespace=cloud.namespace),
    spec=dict(
      podSelector=of('sandbox'),
      policyTypes=['Ingress', 'Egress'],
      ingress=[ingress],
      egress=[],
    ),
  )


def _container(
  cloud: works.Cloud,
  script: str,
  command: Sequence[str],
  tokens: dict[str, str],
) -> dict[str, Any]:
  """A container of our image, of a user without rights.

  Args:
    cloud: names the image and the secret.
    script: of `launch.cloud.works`.
    command: module of Python, and its arguments.
    tokens: variable -> key of the secret.
  """
  return dict(
    name='k15',
    image=cloud.image,
    command=works.literal(['sh', '-c', script, 'sh', 'python', '-m']),
    args=works.literal(command),
    env=[
      dict(
        name=name, valueFrom=dict(secretKeyRef=dict(name=cloud.secret, key=key))
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


def _pod(container: dict[str, Any]) -> dict[str, Any]:
  """A pod of a container, which nobody may start twice; no access to Google."""
  return dict(
    spec=dict(
      restartPolicy='Never',
      # Programs that a model wrote run in some of these pods: there is nothing
      # of Google's to take.
      automountServiceAccountToken=False,
      enableServiceLinks=False,
      containers=[container],
    )
  )


def _tpu_pod(
  cloud: works.Cloud,
  topology: chips.Topology,
  container: dict[str, Any],
  may_write: bool,
) -> dict[str, Any]:
  """A pod on a host of a slice, with the bucket.

  Args:
    cloud: names bucket and service account.
    container: takes all chips of the host.  It is root, whom alone Kubernetes
      gives the right to lock memory, and may do nothing else.
    may_write: to the bucket.
  """
  spec = _pod(container)['spec']
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


def _job(
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
