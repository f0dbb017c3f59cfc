"""Shapes to plan for are configs that could run."""

import jax
import pytest

from experiments import base
from experiments import pod
from experiments import shapes
from k15.config import checks
from k15.data import arithmetic

SLICES = {
  'qwen25_7b_32k': 64, 'qwen25_7b_128k': 64, 'qwen25_32b_32k': 64,
  'qwen25_32b_128k': 128, 'qwen25_72b_32k': 256, 'qwen25_72b_128k': 512,
}  # fmt: skip


@pytest.mark.parametrize('variant', SLICES)
def test_configs_fit_their_slices(variant):
  config = pod.get_config(variant)
  checks.validate(config, SLICES[variant], arithmetic.KINDS)


def test_shapes_fill_only_keys_there_are():
  for fill in shapes.SHAPES.values():
    config = base.get_config()
    fill(config.policy)
    checks.validate(config, jax.device_count(), arithmetic.KINDS)


def test_unknown_variants_are_refused():
  with pytest.raises(ValueError, match='qwen25_7b_32k'):
    pod.get_config('qwen')
