"""Adapters in peft's files, and their logits as peft computes them.

`make_adapters_golden.py` wrote what peft and transformers make of the base and
the adapters of `hf_adapters`.
"""

import dataclasses
import json
import pathlib

import hf_adapters
import hf_checkpoints
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from k15.checkpoints import adapters as adapters_lib
from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.devices import sharding
from k15.model import heads
from k15.model import lora
from k15.model import policy
from k15.runtime import weights
from k15.runtime.context import Layout

GOLDEN = np.load(pathlib.Path(__file__).with_name('adapters_golden.npz'))
TARGETS = ('q', 'k', 'v', 'o', 'gate', 'up', 'down')


def _load(folder, case, scan_layers, mesh=(1, 1, 1)):
  """Shape, base and the adapters of peft's tensors."""
  directory = hf_checkpoints.write(folder, hf_checkpoints.CASES[case])
  shape = dataclasses.replace(
    hf_config.read_config(directory),
    scan_layers=scan_layers,
    lora_rank=hf_adapters.RANK,
    lora_alpha=hf_adapters.ALPHA,
    lora_targets=TARGETS,
  )
  layout = Layout(shape, sharding.make_mesh(*mesh))
  params = hf.load(directory, shape, weights.param_layout(layout))
  tensors = hf_adapters.tensors(hf_checkpoints.CASES[case])

  def read(path, like):
    layer, *_, name, which = (entry.key for entry in path)
    names = dict(q='self_attn', k='self_attn', v='self_attn', o='self_attn')
    name = name.removesuffix('_lora')
    layers = range(2) if layer == 'layers' else [int(layer.split('_')[1])]
    x = [
      tensors[
        f'base_model.model.model.layers.{i}.{names.get(name, "mlp")}'
        f'.{name}_proj.lora_{which.upper()}.weight'
      ].T
      for i in layers
    ]
    x = np.stack(x) if layer == 'layers' else x[0]
    return jax.device_put(x, like.sharding)

  like = weights.state_layout(layout, _nothing(shape)).params
  return shape, params, jax.tree_util.tree_map_with_path(read, like)


def _nothing(shape):
  axes = lora.logical_axes(shape)
  return weights.optimizer_lib.make('sgd', 0.9, 0.9, 1e-8, 0.0, 0.0, axes)


def _logits(shape, params):
  tokens = hf_checkpoints.prompt()[None]
  positions = np.arange(tokens.shape[1], dtype=np.int32)[None]

  @jax.jit
  def run(params):
    ones = jnp.ones_like(tokens)
    hidden, _ = policy.forward(shape, params, tokens, positions, ones)
    return heads.logits_of(shape, params, hidden)[0]

  return np.asarray(run(params))


@pytest.mark.parametrize('scan_layers', [False, True])
@pytest.mark.parametrize('case', hf_adapters.CASES)
def test_logits_are_those_of_peft(case, scan_layers, tmp_path):
  shape, params, pairs = _load(tmp_path, case, scan_layers)
  expected = GOLDEN[case]
  assert np.abs(_logits(shape, params) - expected).max() > 0.1
  for both in (lora.joined(params, pairs), lora.merged(shape, params, pairs)):
    found = _logits(shape, both)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
  ('scan_layers', 'mesh'),
  [(False, (1, 1, 1)), (True, (1, 1, 1)), (True, (1, 2, 2))],
)
def test_files_are_those_of_peft(scan_layers, mesh, tmp_path):
  case = 'qwen3' if mesh == (1, 1, 1) else 'qwen2'
  shape, _, pairs = _load(tmp_path / 'base', case, scan_layers, mesh)
  directory = tmp_path / 'adapters'
  adapters_lib.export(directory, shape, pairs, tmp_path / 'base')
  theirs = hf_adapters.write(tmp_path / 'theirs', hf_checkpoints.CASES[case])
  ours, expected = (
    load_file(path / 'adapter_model.safetensors')
    for path in (directory, theirs)
  )
  assert ours.keys() == expected.keys() and len(ours) == 2 * 2 * 7
  jax.tree.map(np.testing.assert_array_equal, ours, expected)
  ours, expected = (
    json.loads((path / 'adapter_config.json').read_text())
    for path in (directory, theirs)
  )
  assert ours['base_model_name_or_path'] == str(tmp_path / 'base')
  assert set(ours.pop('target_modules')) == set(expected.pop('target_modules'))
  assert expected.items() <= ours.items()
