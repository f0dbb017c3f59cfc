"""Names of slices, and what is wrong with them."""

import pytest

from launch.plan import chips


def test_parse():
  topology = chips.parse('v5p:4x4x4')
  assert topology.num_chips == 64 and topology.chip.name == 'v5p'
  assert topology.name == 'v5p:4x4x4'
  assert chips.parse('v5e:1x1').num_chips == 1


@pytest.mark.parametrize(
  'name, words',
  [
    ('v5p', 'write CHIP:AxB'),
    ('v3:2x2', 'chips are v4, v5e, v5p, v6e'),
    ('v5p:4x4', 'has 2 dimensions, and v5p has 3'),
    ('v5e:4x4x4', 'has 3 dimensions, and v5e has 2'),
    ('v5e:3x4', '3 is not a multiple of 2; a host of v5e has 2x2x1 chips'),
    ('v6e:16x32', 'has 512 chips; the largest slice of v6e has 256'),
  ],
)
def test_refusals(name, words):
  with pytest.raises(chips.TopologyError, match=words):
    chips.parse(name)


@pytest.mark.parametrize(
  'name, hosts, chips_per_host',
  [('v5p:4x4x4', 16, 4), ('v5e:2x4', 2, 4), ('v6e:1x1', 1, 1)],
)
def test_hosts(name, hosts, chips_per_host):
  topology = chips.parse(name)
  assert topology.num_hosts == hosts
  assert topology.chips_per_host == chips_per_host
