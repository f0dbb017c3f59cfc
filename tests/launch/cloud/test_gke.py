"""JobSets: hosts, addresses, restarts, services, walls."""

import launched
import pytest
import yaml

from k15.config import checks
from k15.data import arithmetic
from launch.cloud import gke
from launch.cloud import kubernetes
from launch.cloud import works
from launch.units import sweep
from tests.launch.cloud.test_scripts import expanded

SMALL = dict(mesh__fsdp=4, rollout__mesh=(1, 1, 4))


def _job_set(cloud=launched.CLOUD, **overrides):
  [*_, job_set] = gke.manifests(cloud, launched.make_work(cloud, **overrides))
  return job_set


def _jobs(job_set):
  return {job['name']: job for job in job_set['spec']['replicatedJobs']}


def _pod(job):
  return job['template']['spec']['template']['spec']


def _container(job):
  [container] = _pod(job)['containers']
  return container


def _told(job):
  """Values of the overrides in the arguments."""
  pairs = [arg.split('=', 1) for arg in _container(job)['args'] if '=' in arg]
  return dict(pairs)


def test_a_pod_on_each_host_of_the_slice():
  """4x4x4 of v5p are 64 chips, 4 a host: 16 pods."""
  [trainer] = _jobs(_job_set()).values()
  spec = trainer['template']['spec']
  assert (trainer['replicas'], spec['completions'], spec['parallelism']) == (
    1, 16, 16,
  )  # fmt: skip
  assert spec['completionMode'] == 'Indexed'
  assert _pod(trainer)['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5p-slice',
    'cloud.google.com/gke-tpu-topology': '4x4x4',
  }
  assert _container(trainer)['resources'] == dict(
    limits={'google.com/tpu': '4'}
  )
  assert trainer['template']['metadata']['annotations'] == {
    'alpha.jobset.sigs.k8s.io/exclusive-topology': (
      'cloud.google.com/gke-nodepool'
    )
  }


def test_the_hosts_meet_at_the_first():
  job_set = _job_set()
  [trainer] = _jobs(job_set).values()
  name = job_set['metadata']['name']
  told = _told(trainer)
  assert told['--config.mesh.coordinator'] == f'{name}-trainer-0-0.{name}:8476'
  assert told['--config.mesh.num_processes'] == '16'
  assert told['--config.mesh.process_id'] == '-1'
  assert told['--workdir'] == '/gcs/b-1/rl/pod_qwen25_7b_32k/tau=0.4,seed=3'
  assert told['--config.loss.tau'] == '0.4' and told['--config.seed'] == '3'
  [number] = _container(trainer)['env']
  assert number['name'] == 'K15_PROCESS_ID'
  assert number['valueFrom']['fieldRef']['fieldPath'] == (
    "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  )
  network = job_set['spec']['network']
  assert network['enableDNSHostnames'] and network['publishNotReadyAddresses']


def test_dollars_arrive():
  """Kubernetes takes $(NAME) and $$ in command and args for its own."""
  suffix = '\nThe answer as $$\\boxed{x}$$, not $(K15_PROCESS_ID).'
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', rollout_workers=1, rollout_topology='v6e:2x2'
  )
  jobs = _jobs(_job_set(cloud, task__prompt_suffix=suffix, **SMALL))
  for name in ('trainer', 'rollout'):
    container = _container(jobs[name])
    args = [
      expanded(arg, dict(K15_PROCESS_ID='3')) for arg in container['args']
    ]
    assert f'--config.task.prompt_suffix={suffix}' in args
    script = expanded(container['command'][2], {})
    ends = {'trainer': works.ONCE, 'rollout': works.FOREVER}
    assert script == works.LOCK_MEMORY + ends[name]


def test_one_host_meets_nobody():
  cloud = launched.make_cloud(topology='v5p:2x2x1')
  [trainer] = _jobs(_job_set(cloud, **SMALL)).values()
  assert trainer['template']['spec']['completions'] == 1
  assert not [key for key in _told(trainer) if 'mesh.co' in key]
  assert '--config.mesh.num_processes' not in _told(trainer)
  assert 'metadata' not in trainer['template']  # It may share a node pool.


def test_saved_and_disrupted_restart_without_end_others_do_not():
  job_set = _job_set(launched.make_cloud(max_restarts=5, grace_seconds=1200))
  [trainer] = _jobs(job_set).values()
  spec = trainer['template']['spec']
  assert spec['backoffLimit'] == 0  # Any other failure fails the Job.
  saved, disrupted = spec['podFailurePolicy']['rules']
  assert saved['action'] == disrupted['action'] == 'FailJob'
  assert saved['onExitCodes']['values'] == [75]
  assert saved['onExitCodes']['containerName'] == _container(trainer)['name']
  assert disrupted['onPodConditions'] == [
    dict(type='DisruptionTarget', status='True')
  ]
  policy = job_set['spec']['failurePolicy']
  assert policy['maxRestarts'] == 5
  assert policy['restartStrategy'] == 'BlockingRecreate'
  [rule] = policy['rules']
  assert rule['action'] == 'RestartJobSetAndIgnoreMaxRestarts'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  assert rule['targetReplicatedJobs'] == ['trainer']
  assert _pod(trainer)['restartPolicy'] == 'Never'
  assert _pod(trainer)['terminationGracePeriodSeconds'] == 1200


def test_the_bucket_is_mounted_where_workdirs_are():
  [trainer] = _jobs(_job_set()).values()
  template = trainer['template']['spec']['template']
  assert template['metadata']['annotations'] == {'gke-gcsfuse/volumes': 'true'}
  assert _pod(trainer)['serviceAccountName'] == 'k15'
  [mount] = _container(trainer)['volumeMounts']
  assert mount == dict(name='bucket', mountPath='/gcs/b-1', readOnly=False)
  [volume] = _pod(trainer)['volumes']
  assert volume['csi']['driver'] == 'gcsfuse.csi.storage.gke.io'
  assert volume['csi']['volumeAttributes']['bucketName'] == 'b-1'


def test_spot():
  assert 'tolerations' not in _pod(_jobs(_job_set())['trainer'])
  pod = _pod(_jobs(_job_set(launched.make_cloud(spot=True)))['trainer'])
  assert pod['nodeSelector']['cloud.google.com/gke-spot'] == 'true'
  [toleration] = pod['tolerations']
  assert toleration['key'] == 'cloud.google.com/gke-spot'


def test_services_end_with_the_trainer_and_are_started_again():
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', sandboxes=2, rollout_workers=3,
    rollout_topology='v6e:2x2',
  )  # fmt: skip
  job_set = _job_set(cloud, **SMALL)
  jobs, name = _jobs(job_set), job_set['metadata']['name']
  assert job_set['spec']['successPolicy'] == dict(
    operator='All', targetReplicatedJobs=['trainer']
  )
  told = _told(jobs['trainer'])
  assert told['--config.reward.services'] == repr(
    tuple(f'http://{name}-sandbox-{i}-0.{name}:9300' for i in range(2))
  )
  assert told['--config.rollout.workers'] == repr(
    tuple(f'{name}-rollout-{i}-0.{name}:9100' for i in range(3))
  )
  tokens = {
    job: {
      env['name']: env['valueFrom']['secretKeyRef']['key']
      for env in _container(jobs[job])['env']
      if 'secretKeyRef' in env['valueFrom']
    }
    for job in jobs
  }
  rollout = {'K15_ROLLOUT_TOKEN': 'rollout'}
  reward = {'K15_REWARD_TOKEN': 'reward'}
  assert tokens == dict(
    trainer=rollout | reward, rollout=rollout, sandbox=reward
  )
  for job, count in (('rollout', 3), ('sandbox', 2)):
    spec = jobs[job]['template']['spec']
    assert (jobs[job]['replicas'], spec['completions']) == (count, 1)
    assert spec['backoffLimit'] == 100
    [rule] = spec['podFailurePolicy']['rules']
    assert rule['action'] == 'Ignore'
    assert _container(jobs[job])['command'][2].endswith('exit 1')


def test_a_rollout_worker_has_a_layout_of_its_own():
  """rollout.mesh (1, 1, 4) splits heads over 4: a worker of 4 chips, too."""
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', rollout_workers=1, rollout_topology='v6e:2x2'
  )
  rollout = _jobs(_job_set(cloud, **SMALL))['rollout']
  told = _told(rollout)
  sizes = {axis: told[f'--config.mesh.{axis}'] for axis in ('data', 'tensor')}
  assert sizes == dict(data='1', tensor='4')
  assert told['--config.mesh.fsdp'] == '1'
  assert told['--config.rollout.mesh'] == '()'
  assert '--config.rollout.workers' not in told
  assert (told['--host'], told['--port']) == ('0.0.0.0', '9100')
  assert _container(rollout)['volumeMounts'][0]['readOnly']
  plain = launched.settings(rollout__mesh=(), mesh__tensor=2)
  assert gke.worker_mesh(plain, 4)['mesh.data'] == 2
  with pytest.raises(ValueError, match='over tensor 4, .* its 6 chips'):
    gke.worker_mesh(launched.settings(), 6)


def test_k15_accepts_what_its_commands_are_told():
  """Flags are read as k15.main reads them, and fit the chips of each pod."""
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', rollout_workers=1, rollout_topology='v6e:2x2',
    sandboxes=1,
  )  # fmt: skip
  alone = _jobs(_job_set(cloud, **SMALL))
  for job, chips in (
    (_jobs(_job_set())['trainer'], 64),
    (alone['trainer'], 4),
    (alone['rollout'], 4),
  ):
    texts = [a for a in _container(job)['args'] if a.startswith('--config.')]
    told = sweep.parse(launched.CONFIG, texts)
    config = sweep.load_config(launched.CONFIG, told)
    checks.validate(config, chips, arithmetic.KINDS)


def test_sandboxes_have_no_rights_and_reach_nothing():
  cloud = launched.make_cloud(sandboxes=1)
  wall, job_set = gke.manifests(cloud, launched.make_work(cloud))
  sandbox = _jobs(job_set)['sandbox']
  assert not _pod(sandbox)['automountServiceAccountToken']
  assert 'serviceAccountName' not in _pod(sandbox)
  assert 'volumes' not in _pod(sandbox)
  rights = _container(sandbox)['securityContext']
  assert rights['runAsUser'] == 1000 and not rights['allowPrivilegeEscalation']
  assert rights['capabilities'] == dict(drop=['ALL'])
  assert wall['spec']['egress'] == []
  [ingress] = wall['spec']['ingress']
  [source] = ingress['from']
  labels = source['podSelector']['matchLabels']
  assert labels['jobset.sigs.k8s.io/replicatedjob-name'] == 'trainer'
  of = wall['spec']['podSelector']['matchLabels']
  assert of == labels | {'jobset.sigs.k8s.io/replicatedjob-name': 'sandbox'}


@pytest.mark.parametrize(
  'changes, overrides',
  [
    (dict(), {}),
    (dict(sandboxes=2, spot=True), {}),
    (
      dict(topology='v5p:2x2x1', rollout_workers=2, rollout_topology='v5e:2x2'),
      SMALL,
    ),
  ],
)
def test_published_types_know_every_field(changes, overrides):
  cloud = launched.make_cloud(**changes)
  work = launched.make_work(cloud, **overrides)
  for manifest in gke.manifests(cloud, work):
    kubernetes.check(manifest)
    text = yaml.safe_dump(manifest)
    assert yaml.safe_load(text) == manifest and '&id' not in text
