"""Every variant of experiments/losses.py is a config that can run."""

import pytest

from experiments import losses
from k15.config import checks
from k15.data import arithmetic


@pytest.mark.parametrize('name', losses.VARIANTS)
def test_a_variant_and_its_smoke_are_valid(name):
  for variant in (name, f'{name}_smoke'):
    config = losses.get_config(variant)
    checks.validate(config, 1, arithmetic.KINDS)
    assert (config.rl.iterations < 10) == (variant != name)


def test_only_what_a_variant_says_differs():
  plain, dapo = losses.get_config('k15'), losses.get_config('dapo')
  assert plain.loss.method == 'mirror_descent'
  assert dapo.loss.grpo_clip_high == 0.28
  dapo.update_from_flattened_dict(
    {key: plain.loss[key.split('.')[1]] for key in losses.VARIANTS['dapo']
     if key.startswith('loss.')}
  )  # fmt: skip
  for key in ('refill_rounds', 'overlong_penalty', 'overlong_tokens'):
    dapo.rl[key] = plain.rl[key]
  assert dapo == plain
  with pytest.raises(ValueError, match="unknown variant 'ppo'"):
    losses.get_config('ppo')


def test_the_sweep_has_every_variant_with_every_seed():
  units = list(losses.sweep())
  assert len(units) == 5 * len(losses.VARIANTS)
