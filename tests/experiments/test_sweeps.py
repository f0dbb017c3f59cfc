"""Sweeps as config files write them."""

import pytest

from experiments import sweeps


def test_a_product_varies_its_last_sweep_fastest():
  rates = sweeps.over('optimizer.learning_rate', [1e-4, 3e-4])
  assert list(sweeps.product(rates, sweeps.seeds(2, first=5))) == [
    {'optimizer.learning_rate': 1e-4, 'seed': 5},
    {'optimizer.learning_rate': 1e-4, 'seed': 6},
    {'optimizer.learning_rate': 3e-4, 'seed': 5},
    {'optimizer.learning_rate': 3e-4, 'seed': 6},
  ]


def test_a_product_takes_generators_and_groups_of_keys():
  table = {'ours': {}, 'ReST': {'loss.method': 'rest', 'loss.tau': 0.0}}
  seeds = ({'seed': s} for s in (1, 2))
  assert list(sweeps.product(sweeps.arms(table), seeds)) == [
    {'seed': 1},
    {'seed': 2},
    {'loss.method': 'rest', 'loss.tau': 0.0, 'seed': 1},
    {'loss.method': 'rest', 'loss.tau': 0.0, 'seed': 2},
  ]


def test_together_goes_side_by_side():
  starts = sweeps.over('checkpoint', ['runs/0', 'runs/1'])
  assert sweeps.together(sweeps.seeds(2), starts) == [
    {'seed': 0, 'checkpoint': 'runs/0'},
    {'seed': 1, 'checkpoint': 'runs/1'},
  ]


def test_what_does_not_go_together():
  with pytest.raises(ValueError, match=r'sweeps of \[2, 3\] overrides'):
    sweeps.together(sweeps.seeds(2), sweeps.over('loss.tau', [0, 1, 2]))
  with pytest.raises(ValueError, match='seed is in two of the sweeps'):
    list(sweeps.product(sweeps.seeds(2), sweeps.seeds(2)))


def test_overrides_are_copies():
  table = {'ours': {'loss.tau': 0.1}}
  sweeps.arms(table)[0]['seed'] = 1
  assert table == {'ours': {'loss.tau': 0.1}}
