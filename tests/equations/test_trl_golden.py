"""GRPO, its relatives and TRL's own code agree on the same arrays.

`make_trl_golden.py` wrote what TRL makes of them.
"""

import pathlib
import types

import jax
import numpy as np
import pytest

from experiments import losses as experiment
from k15.equations import advantages
from k15.stages.rl import methods

GOLDEN = dict(np.load(pathlib.Path(__file__).with_name('trl_golden.npz')))
# Name there -> variant of experiments/losses.py, and what else differs.
CASES = {
  'grpo': ('grpo', {}),
  'dr_grpo': ('dr_grpo', {}),
  'dapo': ('dapo', {}),
  # Means over the tokens of a batch, and the batch is all there is.
  'bnpo': ('dapo', dict(grpo_beta=0.3, reg_norm='token_mean')),
  'gspo': ('gspo', {}),
  'gspo wide': (
    'gspo', dict(grpo_clip=0.05, grpo_clip_high=0.1, grpo_beta=0.3),
  ),
}  # fmt: skip


def rows_of(config, num_rows):
  """Six responses, in rows of as many as there are place for."""
  mask = GOLDEN['mask']
  per_row = len(mask) // num_rows
  numbers = np.arange(len(mask)) % per_row + 1
  lengths = mask.sum(1).astype(int)

  def weights(norm):
    found = advantages.sequence_weights(lengths, norm, mask.shape[1])
    return found.reshape(num_rows, -1)

  def packed(name):
    return GOLDEN[name].reshape(num_rows, -1)

  return packed('logprobs'), types.SimpleNamespace(
    ref_logprobs=packed('old_logprobs'),
    behavior_logprobs=packed('old_logprobs'),
    kl_logprobs=packed('kl_logprobs'),
    segment_ids=np.repeat(numbers, mask.shape[1]).reshape(num_rows, -1),
    loss_mask=packed('mask'),
    current_mask=packed('mask'),
    advantage=packed('advantages'),
    pg_weight=weights(config.loss.pg_norm),
    reg_weight=weights(config.loss.reg_norm),
  )


def test_all_that_is_there_is_compared():
  assert {name.split('/')[0] for name in GOLDEN if '/' in name} == set(CASES)


@pytest.mark.parametrize('num_rows', [1, 6])
@pytest.mark.parametrize('name', CASES)
def test_loss_and_gradient(name, num_rows):
  variant, changes = CASES[name]
  config = experiment.get_config(variant)
  config.loss.update(changes)
  logprobs, rows = rows_of(config, num_rows)
  loss = methods.make_loss(config)
  value, gradient = jax.value_and_grad(lambda x: loss(x, rows)[0])(logprobs)
  np.testing.assert_allclose(value, GOLDEN[f'{name}/loss'], atol=1e-6)
  expected = GOLDEN[f'{name}/gradient'].reshape(num_rows, -1)
  np.testing.assert_allclose(gradient, expected, atol=1e-6)
  assert np.count_nonzero(expected) > 5
