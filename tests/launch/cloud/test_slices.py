"""Which slices there are, and what Google calls them."""

import pytest

from launch.cloud import slices
from launch.plan import chips


@pytest.mark.parametrize(
  'name, executor',
  [
    ('v5p:4x4x4', 'gke'), ('v5p:2x2x1', 'gke'), ('v5p:4x4x12', 'gke'),
    ('v4:2x4x4', 'gke'), ('v5e:16x16', 'gke'), ('v6e:1x1', 'gke'),
    ('v5e:4x8', 'vertex'), ('v6e:2x4', 'vertex'),
  ],
)  # fmt: skip
def test_offered(name, executor):
  slices.check(chips.parse(name), executor)


@pytest.mark.parametrize(
  'name, executor, words',
  [
    ('v5p:4x4x4', 'vertex', 'vertex has no v5p; its chips are v5e, v6e'),
    ('v5e:4x6', 'gke', 'no v5e slice of 24 chips as 4x6; there are 1x1, 2x2'),
    ('v5e:8x4', 'gke', 'as 8x4; there are 1x1'),
    ('v5p:2x2x8', 'gke', 'as 2x2x8; there are 2x2x1, .* A <= B <= C'),
    ('v5p:8x4x4', 'gke', 'as 8x4x4'),
    ('v4:1x1x1', 'gke', 'as 1x1x1'),
  ],
)
def test_refusals(name, executor, words):
  with pytest.raises(chips.TopologyError, match=words):
    slices.check(chips.parse(name), executor)


def test_names():
  assert slices.node_labels(chips.parse('v5e:4x8')) == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
    'cloud.google.com/gke-tpu-topology': '4x8',
  }
  machines = {
    name: slices.vertex_machine(chips.parse(name))
    for name in ('v5e:1x1', 'v5e:16x16', 'v6e:1x1', 'v6e:2x2')
  }
  assert machines == {
    'v5e:1x1': 'ct5lp-hightpu-1t', 'v5e:16x16': 'ct5lp-hightpu-4t',
    'v6e:1x1': 'ct6e-standard-1t', 'v6e:2x2': 'ct6e-standard-4t',
  }  # fmt: skip
