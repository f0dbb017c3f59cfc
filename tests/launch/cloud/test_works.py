"""Names, paths and arguments of units that run elsewhere."""

import pathlib
import re

import launched

from launch.cloud import works
from launch.units import sweep


def test_a_unit_has_one_name_for_ever():
  work = launched.make_work()
  assert work.name == launched.make_work().name
  assert re.fullmatch(r'k15-pod-qwen25-7b-32k-[0-9a-f]{8}', work.name)
  assert work.workdir == '/gcs/b-1/rl/pod_qwen25_7b_32k/tau=0.4,seed=3'
  unit = sweep.Unit('other', {})
  other = works.make_work(launched.CLOUD, launched.CONFIG, unit, work.settings)
  assert other.name != work.name


def test_names_leave_room_for_what_kubernetes_appends():
  """A pod is NAME-trainer-0-1535-abcde: 25 more, and a label has 63."""
  config = 'experiments/' + 25 * 'long' + '.py:v'
  unit = sweep.Unit('seed=0', {})
  work = works.make_work(launched.CLOUD, config, unit, {})
  assert len(work.name) == 38
  assert re.fullmatch('[a-z]([a-z0-9-]*[a-z0-9])?', work.name)


def test_the_bucket_is_a_folder():
  mounted = launched.CLOUD.mounted
  assert mounted('gs://b-1/x/y') == '/gcs/b-1/x/y'
  assert mounted('math:gs://b-1/x') == 'math:/gcs/b-1/x'
  assert mounted('gs://b-11/x') == 'gs://b-11/x'
  plain = launched.make_cloud(bucket='b-1')
  assert plain.mount == '/gcs/b-1'
  assert launched.make_work(plain).workdir.startswith('/gcs/b-1/pod_')


def test_arguments():
  """The unit's own, paths of the bucket wherever they stood, the launcher's."""
  work = launched.make_work(
    checkpoint='gs://b-1/qwen',
    sft__files=('gs://b-1/a.jsonl', 'experiments/b.jsonl'),
  )
  assert works.arguments(launched.CLOUD, work, {'mesh.process_id': -1}) == [
    '--config=experiments/pod.py:qwen25_7b_32k',
    '--config.loss.tau=0.4',
    '--config.seed=3',
    '--config.checkpoint=/gcs/b-1/qwen',
    "--config.sft.files=('/gcs/b-1/a.jsonl', 'experiments/b.jsonl')",
    '--config.mesh.process_id=-1',
  ]


def test_paths_leave_out_the_name_of_a_set():
  sets = ('math:gs://b-1/m.json', 'gs://b-1/g.jsonl', 'x:experiments/a.jsonl')
  found = works.paths(launched.settings(evaluation__sets=sets))
  assert list(found) == [
    ('evaluation.sets', path)
    for path in (
      'gs://b-1/m.json',
      'gs://b-1/g.jsonl',
      'experiments/a.jsonl',
    )
  ]


def test_models_and_responses_of_long2short_are_mounted():
  work = launched.make_work(
    long2short__short_model='gs://b-1/short',
    long2short__responses='gs://b-1/responses.jsonl',
    short_rl__candidates=('gs://b-1/a', 'gs://b-1/b'),
  )
  told = works.arguments(launched.CLOUD, work, {})
  assert {
    '--config.long2short.short_model=/gcs/b-1/short',
    '--config.long2short.responses=/gcs/b-1/responses.jsonl',
    "--config.short_rl.candidates=('/gcs/b-1/a', '/gcs/b-1/b')",
  } <= set(told)


def test_below():
  root = pathlib.Path(__file__).resolve().parents[3]
  whole = f'{root}/experiments/pod.py:a'
  assert works.below(whole, root) == 'experiments/pod.py:a'
  assert works.below('/elsewhere/a.py', root) == '/elsewhere/a.py'
