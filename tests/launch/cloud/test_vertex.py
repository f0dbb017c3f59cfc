"""Custom jobs of Vertex, and a server that stands for it."""

import contextlib
import json
from concurrent import futures

import grpc
import launched
import pytest

from launch.cloud import slices
from launch.cloud import works
from tests.launch.cloud.test_scripts import expanded

pytest.importorskip('xmanager', reason="XManager comes with the extra 'launch'")

from absl import flags  # noqa: E402  (after the skip)

from launch.cloud import vertex  # noqa: E402
from launch.units import processes  # noqa: E402

CLOUD = launched.make_cloud(topology='v6e:8x8')


@pytest.fixture(autouse=True)
def inside(tmp_path):
  """XManager's database, for this test."""
  from xmanager.xm_local.storage import database

  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  flags.FLAGS.xm_db_yaml_config_path = None
  processes.keep_inside(tmp_path)
  for cached in (database._db_config, database.db_settings, database.database):
    cached.cache_clear()
  yield
  flags.FLAGS.xm_db_yaml_config_path = None


class Vertex(grpc.GenericRpcHandler):
  """Takes jobs as the real one does, over gRPC; tells what it was sent."""

  def __init__(self, api, states):
    self.sent, self._api, self._states = [], api, states

  def service(self, handler_call_details):
    name = handler_call_details.method.rpartition('/')[2]
    api = self._api
    calls = dict(
      CreateCustomJob=(self._create, api.CreateCustomJobRequest),
      ListCustomJobs=(self._list, api.ListCustomJobsRequest),
    )
    call, request = calls[name]
    return grpc.unary_unary_rpc_method_handler(
      call,
      request_deserializer=request.deserialize,
      response_serializer=lambda message: type(message).serialize(message),
    )

  def _create(self, request, context):
    if self._states == 'broken':
      context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, 'no v6e is left')
    self.sent.append(request)
    job = request.custom_job
    job.name = f'{request.parent}/customJobs/{len(self.sent)}'
    return job

  def _list(self, request, context):
    assert request.filter == 'labels.k15_unit:*'
    states = {} if self._states == 'broken' else self._states
    return self._api.ListCustomJobsResponse(
      custom_jobs=[
        self._api.CustomJob(labels=dict(k15_unit=name), state=state)
        for name, state in states.items()
      ]
    )


@contextlib.contextmanager
def _serve(states):
  from google.cloud import aiplatform_v1 as api
  from google.cloud.aiplatform_v1.services.job_service import transports

  fake = Vertex(api, states)
  server = grpc.server(futures.ThreadPoolExecutor(2))
  server.add_generic_rpc_handlers((fake,))
  port = server.add_insecure_port('127.0.0.1:0')
  server.start()
  channel = grpc.insecure_channel(f'127.0.0.1:{port}')
  transport = transports.JobServiceGrpcTransport(channel=channel)
  try:
    yield fake, lambda cloud: api.JobServiceClient(transport=transport)
  finally:
    channel.close()
    server.stop(None)


def test_manifest():
  """v6e:8x8 is one slice of 16 machines with 4 chips, and one replica."""
  work = launched.make_work(CLOUD)
  body = vertex.manifest(CLOUD, work)
  [pool] = body['jobSpec']['workerPoolSpecs']
  assert pool['machineSpec'] == dict(
    machineType='ct6e-standard-4t', tpuTopology='8x8'
  )
  assert pool['replicaCount'] == '1'
  container = pool['containerSpec']
  assert container['imageUri'] == 'registry/k15:1'
  assert container['command'][:2] == ['sh', '-c']
  assert container['args'] == [
    'k15.main', '--config=experiments/pod.py:qwen25_7b_32k',
    '--config.loss.tau=0.4', '--config.seed=3',
    '--config.mesh.num_processes=-1',
    '--workdir=/gcs/b-1/rl/pod_qwen25_7b_32k/tau=0.4,seed=3',
  ]  # fmt: skip
  assert body['jobSpec']['scheduling'] == dict(
    restartJobOnWorkerRestart=True, strategy='STANDARD'
  )
  assert body['displayName'] == body['labels']['k15_unit'] == work.name
  assert json.loads(json.dumps(body)) == body


def test_dollars_arrive():
  """Vertex takes $(NAME) in arguments for its own, as Kubernetes does."""
  suffix = 'as $$\\boxed{x}$$, not $(AIP_MODEL_DIR)'
  work = launched.make_work(CLOUD, task__prompt_suffix=suffix)
  [pool] = vertex.manifest(CLOUD, work)['jobSpec']['workerPoolSpecs']
  container = pool['containerSpec']
  args = [expanded(arg, dict(AIP_MODEL_DIR='x')) for arg in container['args']]
  assert f'--config.task.prompt_suffix={suffix}' in args
  script = works.LOCK_MEMORY + works.UNTIL_DONE
  assert expanded(container['command'][2], {}) == script


def test_one_host_and_spot():
  cloud = launched.make_cloud(topology='v5e:2x2', spot=True)
  body = vertex.manifest(cloud, launched.make_work(cloud))
  [pool] = body['jobSpec']['workerPoolSpecs']
  assert pool['machineSpec']['machineType'] == 'ct5lp-hightpu-4t'
  assert not [a for a in pool['containerSpec']['args'] if 'num_proc' in a]
  assert body['jobSpec']['scheduling']['strategy'] == 'SPOT'


def test_xmanager_knows_the_chips():
  requirements = vertex.job(CLOUD, launched.make_work(CLOUD)).executor
  assert requirements.requirements.topology.chip_count == 64
  assert set(vertex._RESOURCES) == set(slices._VERTEX_MACHINES)


def test_what_is_sent_is_what_was_written():
  from google.cloud import aiplatform_v1 as api
  from google.protobuf import json_format

  work = launched.make_work(CLOUD)
  with _serve({}) as (fake, connect):
    became = vertex.submit(CLOUD, [work], 'title', connect)
  assert became == {'tau=0.4,seed=3': 'sent'}
  [request] = fake.sent
  assert request.parent == 'projects/p/locations/us-east5'
  request.custom_job.name = ''
  body = json_format.MessageToDict(api.CustomJob.pb(request.custom_job))
  assert body == vertex.manifest(CLOUD, work)


@pytest.mark.parametrize(
  'state, became',
  [
    ('JOB_STATE_RUNNING', 'there already: running'),
    ('JOB_STATE_SUCCEEDED', 'there already: succeeded'),
    ('JOB_STATE_FAILED', 'sent'),
    ('JOB_STATE_CANCELLED', 'sent'),
  ],
)
def test_only_what_is_missing_is_sent(state, became):
  work = launched.make_work(CLOUD)
  with _serve({work.name: state, 'k15-other': 'JOB_STATE_RUNNING'}) as (
    fake, connect,
  ):  # fmt: skip
    found = vertex.submit(CLOUD, [work], 'title', connect)
  assert found == {work.unit.name: became}
  assert len(fake.sent) == (became == 'sent')


def test_a_refusal_of_vertex_is_one_sentence():
  refused = pytest.raises(OSError, match='Vertex: .*no v6e is left')
  with _serve('broken') as (_, connect), refused:
    vertex.submit(CLOUD, [launched.make_work(CLOUD)], 'title', connect)
