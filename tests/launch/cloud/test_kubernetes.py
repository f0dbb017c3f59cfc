"""What is sent to Kubernetes, and to whom not, against a server over HTTP.

What the published types refuse.
"""

import contextlib
import copy
import http.server
import importlib.util
import json
import threading

import launched
import pytest

from launch.cloud import gke
from launch.cloud import kubernetes

client = pytest.importorskip(
  'kubernetes.client', reason="kubernetes comes with the extra 'launch'"
)


class Kubernetes(http.server.BaseHTTPRequestHandler):
  """Keeps objects by path; `server.objects` holds them."""

  def do_POST(self):
    body = json.loads(self.rfile.read(int(self.headers['content-length'])))
    path = f'{self.path.partition("?")[0]}/{body["metadata"]["name"]}'
    if self.server.is_closed:
      return self._answer(403, dict(message='jobsets is forbidden'))
    if path in self.server.objects:
      return self._answer(409, dict(reason='AlreadyExists'))
    self.server.objects[path] = body
    return self._answer(201, body)

  def do_GET(self):
    self._answer(200, self.server.objects[self.path])

  def do_DELETE(self):
    path = self.path.partition('?')[0]
    self.server.deleted.append(path)
    self._answer(200, self.server.objects.pop(path))

  def log_message(self, *_):
    pass

  def _answer(self, code, body):
    self.send_response(code)
    self.send_header('content-type', 'application/json')
    self.end_headers()
    self.wfile.write(json.dumps(body).encode())


@contextlib.contextmanager
def _serve():
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Kubernetes)
  server.objects, server.deleted, server.is_closed = {}, [], False
  threading.Thread(target=server.serve_forever, daemon=True).start()
  configuration = client.Configuration()
  configuration.host = f'http://127.0.0.1:{server.server_port}'
  try:
    yield server, client.ApiClient(configuration)
  finally:
    server.shutdown()
    server.server_close()


def _manifests(**changes):
  cloud = launched.make_cloud(**changes)
  work = launched.make_work(cloud)
  return {work.unit.name: gke.manifests(cloud, work)}


def test_all_of_a_unit_is_sent_as_it_was_written():
  manifests = _manifests(sandboxes=1, namespace='ml')
  [(name, [wall, job_set])] = manifests.items()
  with _serve() as (server, api):
    assert kubernetes.submit(manifests, api) == {name: 'sent'}
  unit = job_set['metadata']['name']
  assert server.objects == {
    '/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies/'
    f'{unit}-sandbox': wall,
    f'/apis/jobset.x-k8s.io/v1alpha2/namespaces/ml/jobsets/{unit}': job_set,
  }


@pytest.mark.parametrize(
  'status, became, deletions',
  [
    ({}, 'there already: active', 0),
    (dict(terminalState='Completed'), 'there already: completed', 0),
    (dict(terminalState='Failed'), 'sent again', 1),
  ],
)
def test_only_what_is_missing_is_sent(status, became, deletions):
  manifests = _manifests()
  [name] = manifests
  with _serve() as (server, api):
    kubernetes.submit(manifests, api)
    [path] = server.objects
    server.objects[path]['status'] = status
    assert kubernetes.submit(manifests, api) == {name: became}
    assert len(server.deleted) == deletions
    assert list(server.objects) == [path]


def test_a_refusal_is_one_sentence():
  with _serve() as (server, api):
    server.is_closed = True
    words = r'Kubernetes: 403: \{"message": "jobsets is forbidden"\}'
    with pytest.raises(OSError, match=words):
      kubernetes.submit(_manifests(), api)


def test_without_a_cluster_that_is_said(monkeypatch, tmp_path):
  monkeypatch.setenv('KUBECONFIG', str(tmp_path / 'none'))
  monkeypatch.setattr(
    'kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION',
    str(tmp_path / 'none'),
  )
  with pytest.raises(OSError, match='Kubernetes: '):
    kubernetes.submit(_manifests())


def test_a_cluster_that_does_not_answer_is_one_sentence():
  configuration = client.Configuration()
  configuration.host, configuration.retries = 'http://127.0.0.1:9', False
  with pytest.raises(OSError, match='Kubernetes: .*refused'):
    kubernetes.submit(_manifests(), client.ApiClient(configuration))


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
