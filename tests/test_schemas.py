"""What the published types refuse."""

import copy
import importlib.util

import launched
import pytest

from launch import gke
from launch import kubernetes

_HAS_SCHEMAS = importlib.util.find_spec('kubernetes_validate')


def _changed(change):
  cloud = launched.make_cloud(sandboxes=1)
  _, job_set = gke.manifests(cloud, launched.make_work(cloud))
  job_set = copy.deepcopy(job_set)
  change(job_set['spec'])
  return job_set


def _job(spec):
  return spec['replicatedJobs'][0]['template']['spec']


def _pod(spec):
  return _job(spec)['template']['spec']


@pytest.mark.parametrize(
  'change, words',
  [
    (
      lambda spec: spec['failurePolicy'].update(maxRestart=3),
      'JobSet has no field spec.failurePolicy.maxRestart$',
    ),
    (
      lambda spec: _pod(spec)['containers'][0].update(arguments=['x']),
      r'no field spec.replicatedJobs\[0\].*containers\[0\].arguments$',
    ),
    (
      lambda spec: _job(spec).update(completions='16'),
      'completions Input should be a valid integer',
    ),
    (
      lambda spec: spec['failurePolicy']['rules'][0].pop('action'),
      'action',
    ),
  ],
)
def test_refusals(change, words):
  with pytest.raises(kubernetes.SchemaError, match=words):
    kubernetes.check(_changed(change))


@pytest.mark.skipif(
  not _HAS_SCHEMAS, reason="kubernetes-validate comes with the extra 'launch'"
)
def test_kubernetes_own_schemas():
  def broken(spec):
    _pod(spec)['containers'][0]['resources']['limits'] = ['4']

  with pytest.raises(kubernetes.SchemaError):
    kubernetes.check(_changed(broken))
  cloud = launched.make_cloud(sandboxes=1)
  wall, job_set = gke.manifests(cloud, launched.make_work(cloud))
  assert kubernetes.check(wall) == ['kubernetes-validate']
  assert len(kubernetes.check(job_set)) == 2
  wall['spec']['egres'] = []
  with pytest.raises(kubernetes.SchemaError, match='NetworkPolicy'):
    kubernetes.check(wall)


def test_differences():
  before = dict(a=[1, dict(b=2, c=None)], d=[1])
  assert not list(kubernetes.differences(before, dict(a=[1, dict(b=2)], d=[1])))
  after = dict(a=[1, dict(b=3)], d=[])
  assert list(kubernetes.differences(before, after)) == ['a[1].b', 'd']
