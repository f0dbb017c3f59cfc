"""A work unit as a custom job of Vertex AI, through XManager.

XManager 0.8.5 knows TPU v2 and v3 on Vertex only; its jobs and its client are
used as they are, but for the call that turns one into the other, which is
`custom_job` here.  A slice is one replica there, whatever its hosts, which find
each other by what the slice tells them (mesh.num_processes=-1).

Vertex calls every exit code but 0 a failure.  So exit code 75, saved and wants
to be run again, starts the trainer again in its container, and a worker that
Vertex replaces restarts the whole job; other failures end it, and
`--max_restarts` is not for Vertex.  Sending the units again sends those that
neither run nor have succeeded.

Nothing of this has run on Vertex: the jobs are Google's own message types, and
what submits them was tried against a server that stands for Vertex.
"""

from collections.abc import Callable, Sequence
from typing import Any

from xmanager import xm
from xmanager import xm_local
from xmanager.xm_local import executables

from launch.cloud import slices
from launch.cloud import works as works_lib

_RESOURCES = {'v5e': xm.ResourceType.TPU_V5E, 'v6e': xm.ResourceType.TPU_V6E}
_LABEL = 'k15_unit'
# What a unit that needs no other job is in.
_ALIVE = ('QUEUED', 'PENDING', 'RUNNING', 'PAUSED', 'UPDATING')
_DONE = 'SUCCEEDED'


def job(cloud: works_lib.Cloud, work: works_lib.Work) -> xm.Job:
  """The unit for XManager."""
  topology = cloud.slice
  overrides = {}
  if topology.num_hosts > 1:
    overrides['mesh.num_processes'] = -1
  told = works_lib.arguments(cloud, work, overrides)
  resource = _RESOURCES[topology.chip.name]
  # XManager reads '4x4' as chips in a shape.
  requirements = xm.JobRequirements(
    {resource: slices.shape_text(topology)}, location=cloud.location
  )
  return xm.Job(
    executables.GoogleContainerRegistryImage('k15', cloud.image),
    executor=xm_local.Vertex(requirements),
    name=work.name,
    args=['k15.main', *told, f'--workdir={work.workdir}'],
  )


def custom_job(cloud: works_lib.Cloud, job: xm.Job) -> Any:
  """What is sent: an `aiplatform_v1.CustomJob`."""
  from google.cloud import aiplatform_v1 as api  # Takes seconds.

  arguments = xm.merge_args(job.executable.args, job.args)
  environment = job.executable.env_vars | job.env_vars
  container = api.ContainerSpec(
    image_uri=job.executable.image_path,
    command=works_lib.literal(
      [
        *('sh', '-c', works_lib.LOCK_MEMORY + works_lib.UNTIL_DONE),
        *('sh', 'python', '-m'),
      ]
    ),
    args=works_lib.literal(arguments.to_list(xm.utils.ARGV_ESCAPER)),
    env=[
      dict(name=key, value=value)
      for key, value in zip(
        environment, works_lib.literal(environment.values()), strict=True
      )
    ],
  )
  machine = api.MachineSpec(
    machine_type=slices.vertex_machine(cloud.slice),
    tpu_topology=job.executor.requirements.topology.name,
  )
  pool = api.WorkerPoolSpec(
    machine_spec=machine, replica_count=1, container_spec=container
  )
  kind = api.Scheduling.Strategy
  scheduling = api.Scheduling(
    restart_job_on_worker_restart=True,
    strategy=kind.SPOT if cloud.spot else kind.STANDARD,
  )
  return api.CustomJob(
    display_name=job.name,
    labels={_LABEL: job.name},
    job_spec=api.CustomJobSpec(worker_pool_specs=[pool], scheduling=scheduling),
  )


def manifest(cloud: works_lib.Cloud, work: works_lib.Work) -> dict[str, Any]:
  """The body of Vertex's REST call projects.locations.customJobs.create."""
  from google.cloud import aiplatform_v1 as api
  from google.protobuf import json_format

  message = custom_job(cloud, job(cloud, work))
  body = json_format.MessageToDict(api.CustomJob.pb(message))
  # Back again, for this refuses fields that the type does not know.
  json_format.ParseDict(body, api.CustomJob.pb(api.CustomJob()))
  return body


def submit(
  cloud: works_lib.Cloud,
  works: Sequence[works_lib.Work],
  title: str,
  connect: Callable[[works_lib.Cloud], Any] | None = None,
) -> dict[str, str]:
  """Sends what does not run there yet, as an experiment of XManager's.

  Args:
    connect: makes the `JobServiceClient`.

  Returns:
    What became of each, by its unit's name.

  Raises:
    OSError: no credentials, or no answer.
  """
  from google.api_core import exceptions
  from google.auth import exceptions as auth
  from xmanager.cloud import vertex

  try:
    service = (connect or _connect)(cloud)
    client = vertex.Client(cloud.project, cloud.location)
    client.launch = _launcher(cloud, service, client.parent)
    vertex.set_default_client(client)
    states = _states(service, client.parent, works)
    waiting = [work for work in works if work.name not in states]
    if waiting:
      with xm_local.create_experiment(title) as experiment:
        for work in waiting:
          experiment.add(job(cloud, work))
  except (exceptions.GoogleAPIError, auth.GoogleAuthError) as error:
    raise OSError(f'Vertex: {error}') from None
  return {work.unit.name: states.get(work.name, 'sent') for work in works}


def _launcher(cloud, service, parent):
  """In the place of a method of XManager's client."""

  def launch(name: str, jobs: Sequence[xm.Job]) -> str:
    del name
    [one] = jobs
    message = custom_job(cloud, one)
    return service.create_custom_job(parent=parent, custom_job=message).name

  return launch


def _states(service, parent, works):
  """Names of units that need no other job -> the state of theirs."""
  found = {}
  request = dict(parent=parent, filter=f'labels.{_LABEL}:*')
  for one in service.list_custom_jobs(request=request):
    state = one.state.name.removeprefix('JOB_STATE_')
    if state in (*_ALIVE, _DONE):
      found[one.labels[_LABEL]] = f'there already: {state.lower()}'
  return {work.name: found[work.name] for work in works if work.name in found}


def _connect(cloud):
  from google.cloud import aiplatform_v1 as api

  endpoint = f'{cloud.location}-aiplatform.googleapis.com'
  return api.JobServiceClient(client_options=dict(api_endpoint=endpoint))
