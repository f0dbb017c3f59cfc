"""Every refusal before anything is sent, all of them at once."""

import pathlib
import re

import launched
import pytest

from launch.cloud import checks
from launch.cloud import works

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _refusals(cloud=launched.CLOUD, executor='gke', config=None, **units):
  units = units or dict(only=launched.settings())
  config = config or launched.CONFIG
  return checks.refusals(cloud, executor, config, units, ROOT)


def _only(*sentences, **changes):
  cloud = launched.make_cloud(**changes)
  assert _refusals(cloud) == list(sentences)


def test_nothing_is_wrong():
  assert _refusals() == []
  inside = launched.settings(
    checkpoint='gs://b-1/qwen',
    task__train_path='experiments/code_problems.jsonl',
    task__held_out_path='/gcs/b-1/held.jsonl',
  )
  assert _refusals(unit=inside) == []
  fills = launched.settings(mesh__fsdp=-1, rollout__mesh=(-1, 1, 4))
  assert _refusals(unit=fills) == []


def test_all_that_is_missing_at_once():
  found = _refusals(works.Cloud())
  assert [sentence.split(':')[0] for sentence in found] == [
    f'--{key} is missing'
    for key in ('project', 'location', 'bucket', 'topology')
  ]


def test_the_mesh_has_to_be_the_slice():
  """fsdp 64 and (16, 1, 4) are 64 devices; v5p:2x2x4 has 16 chips."""
  _only(
    'mesh is data 1 * fsdp 64 * tensor 1 * context 1, 64 devices, and v5p:2x2x4'
    ' has 16 chips',
    'rollout.mesh is (16, 1, 4), 64 devices, and v5p:2x2x4 has 16 chips',
    topology='v5p:2x2x4',
  )
  fills = launched.settings(mesh__data=-1, mesh__fsdp=48, rollout__mesh=())
  assert _refusals(unit=fills) == [
    'mesh is data -1 * fsdp 48 * tensor 1 * context 1, a multiple of 48'
    ' devices, and v5p:4x4x4 has 64 chips'
  ]
  twice = launched.settings(mesh__data=-1, mesh__fsdp=-1, rollout__mesh=())
  assert 'at most one is -1' in _refusals(unit=twice)[0]


@pytest.mark.parametrize(
  'changes, words',
  [
    (dict(topology='v9:4x4'), '--topology: topology .* chips are v4, v5e'),
    (dict(bucket='gs://B!'), '--bucket=gs://B! is none; write gs://NAME'),
    (dict(sandboxes=-1), '--sandboxes is -1, and has to be >= 0'),
    (
      dict(rollout_workers=2, rollout_topology='v5p:2x2x1'),
      '--rollout_workers=2: the 16 hosts of v5p:4x4x4 decode for themselves',
    ),
  ],
)
def test_refusals_of_the_place(changes, words):
  [found] = _refusals(launched.make_cloud(**changes))
  assert re.search(words, found)


def test_refusals_of_rollout_workers():
  small = launched.settings(mesh__fsdp=4, rollout__mesh=(1, 1, 4))
  cloud = launched.make_cloud(topology='v5p:2x2x1', rollout_workers=1)
  missing = _refusals(cloud, unit=small)
  assert missing == ['--rollout_topology is missing: a slice such as v5p:4x4x4']
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', rollout_workers=1, rollout_topology='v5e:1x1'
  )
  assert _refusals(cloud, unit=small) == [
    'a rollout worker splits heads over tensor 4, which does not divide its 1'
    ' chips'
  ]
  cloud = launched.make_cloud(
    topology='v5p:2x2x1', rollout_workers=1, rollout_topology='v5e:2x4'
  )
  assert _refusals(cloud, unit=small) == [
    '--rollout_topology=v5e:2x4 has 2 hosts, and a rollout worker is one'
    ' process'
  ]


def test_vertex_runs_a_trainer_alone():
  flat = launched.settings(mesh__fsdp=64, rollout__mesh=())
  cloud = launched.make_cloud(topology='v6e:8x8', sandboxes=1)
  [found] = _refusals(cloud, 'vertex', unit=flat)
  assert found.startswith('--sandboxes=1 and --rollout_workers=0 need')


def test_paths_have_to_be_in_the_bucket_or_the_image():
  """Said once with the units that it holds for."""
  outside = launched.settings(checkpoint='Qwen2.5-7B')
  sentence = (
    "checkpoint is 'Qwen2.5-7B', which is neither in gs://b-1 nor in the image:"
    ' copy it into the bucket, and name it gs://...'
  )
  fine = launched.settings()
  assert _refusals(a=outside, b=outside) == [sentence]
  assert _refusals(a=fine, b=outside) == [f'b: {sentence}']
  found = _refusals(a=fine, b=outside, c=outside)
  assert found == [f'b and 1 more: {sentence}']
  other = launched.settings(sft__files=('gs://other/x', '../x'))
  assert len(_refusals(unit=other)) == 2


def test_what_the_launcher_sets_is_not_the_configs():
  taken = launched.settings(mesh__num_processes=16)
  assert _refusals(unit=taken) == [
    'mesh.num_processes is 16, and the launcher is to set it'
  ]


def test_the_config_has_to_be_in_the_image(tmp_path):
  [found] = _refusals(config=f'{tmp_path}/a.py:smoke')
  assert 'is not in the image, which has k15, experiments, launch of' in found
