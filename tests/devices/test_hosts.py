"""One process alone; `test_two_processes` runs two."""

import jax
import numpy as np
import pytest

from k15.devices import hosts


def test_a_process_alone_agrees_with_itself():
  hosts.join('', 1, 0)
  assert jax.process_count() == 1 and hosts.is_first()
  assert hosts.any_of(True) and not hosts.any_of(False)
  values = np.array([0.1, 1e300])
  assert hosts.of_first(values) is values
  assert hosts.to_host(dict(x=jax.numpy.ones(2)))['x'].tolist() == [1, 1]
  hosts.wait('here')


def test_number_of_a_process():
  assert hosts._process_id(4, 3, {}) == 3
  assert hosts._process_id(4, -1, {'K15_PROCESS_ID': '2'}) == 2
  # What the config says counts, whatever the environment says.
  assert hosts._process_id(4, 1, {'K15_PROCESS_ID': '2'}) == 1
  for number, text, sentence in (
    (-1, '', r"-1, and \$K15_PROCESS_ID is '', no number"),
    (-1, 'two', "is 'two', no number"),
    (-1, '4', 'process 4 is none of mesh.num_processes, 4'),
    (4, '', 'process 4 is none of mesh.num_processes, 4'),
  ):
    with pytest.raises(ValueError, match=sentence):
      hosts._process_id(4, number, {'K15_PROCESS_ID': text})
