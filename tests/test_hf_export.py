"""Written directories are read again, by k15 and, where it is, transformers."""

import dataclasses
import importlib.util
import json
import pathlib

import hf_checkpoints
import hf_tokenizers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from k15 import hf
from k15 import hf_config
from k15 import hf_export
from k15 import run_weights
from k15 import sharding
from k15.context import Layout
from k15.hf_tokenizer import HfTokenizer

GOLDEN = np.load(pathlib.Path(__file__).with_name('hf_golden.npz'))
CASES = hf_checkpoints.CASES
GENERATION = hf_config.Generation(max_length=256, eos_ids=(1,))
REFERENCE = ('torch', 'transformers')
needs_transformers = pytest.mark.skipif(
  not all(importlib.util.find_spec(name) for name in REFERENCE),
  reason='torch and transformers are not installed; hf_golden.npz has what '
  'they computed',
)


def load(directory, mesh=(1, 1, 1), **changes):
  config = dataclasses.replace(hf_config.read_config(directory), **changes)
  layout = run_weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
  return config, hf.load(directory, config, layout)


def read(directory):
  """Name -> array of all files."""
  arrays = {}
  for path in directory.glob('*.safetensors'):
    with safe_open(path, 'numpy') as file:
      assert file.metadata() == {'format': 'pt'}
      arrays |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
  return arrays


@pytest.mark.parametrize('name', CASES)
def test_every_family_is_written_as_it_was_read(name, tmp_path):
  source = hf_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params = load(source)
  hf_export.export(tmp_path / 'out', config, params, GENERATION, 'float32')
  written, original = read(tmp_path / 'out'), read(source)
  assert written.keys() == original.keys()
  for tensor, array in original.items():
    np.testing.assert_array_equal(written[tensor], array)
  _, again = load(tmp_path / 'out')
  jax.tree.map(np.testing.assert_array_equal, params, again)


def test_split_scanned_parameters_in_several_files(tmp_path):
  source = hf_checkpoints.write(tmp_path / 'in', CASES['qwen3'])
  config, params = load(source, (1, 2, 2), scan_layers=True)
  hf_export.export(
    tmp_path / 'out', config, params, GENERATION, 'float32',
    max_file_bytes=20_000,
  )  # fmt: skip
  files = sorted(path.name for path in (tmp_path / 'out').glob('*.safetensors'))
  assert len(files) > 2
  assert files[0] == f'model-00001-of-{len(files):05}.safetensors'
  original, written = read(source), read(tmp_path / 'out')
  assert written.keys() == original.keys()
  for tensor, array in original.items():
    np.testing.assert_array_equal(written[tensor], array)
  path = tmp_path / 'out' / 'model.safetensors.index.json'
  size = json.loads(path.read_text())['metadata']['total_size']
  assert size == sum(array.nbytes for array in original.values())
  _, again = load(tmp_path / 'out', (1, 2, 2), scan_layers=True)
  jax.tree.map(np.testing.assert_array_equal, params, again)


def test_bfloat16_and_the_tokenizer(tmp_path):
  source = hf_tokenizers.write(tmp_path / 'in')
  config = json.loads((source / 'config.json').read_text())
  hf_checkpoints.write(source, config)
  config, params = load(source)
  generation = hf_config.read_generation(source)
  hf_export.export(
    tmp_path / 'out', config, params, generation, tokenizer_from=source
  )
  _, again = load(tmp_path / 'out')
  jax.tree.map(
    lambda x, y: np.testing.assert_array_equal(x.astype(jnp.bfloat16), y),
    params,
    again,
  )
  ours, theirs = HfTokenizer(source), HfTokenizer(tmp_path / 'out')
  question = [dict(role='user', content='is')]
  np.testing.assert_array_equal(
    ours.encode_rendered(ours.render(question)),
    theirs.encode_rendered(theirs.render(question)),
  )
  assert ours.eos_ids == theirs.eos_ids


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, monkeypatch):
  source = hf_checkpoints.write(tmp_path / 'in', CASES['llama'])
  config, params = load(source)
  with pytest.raises(ValueError, match='in is not empty'):
    hf_export.export(source, config, params, GENERATION)
  with pytest.raises(ValueError, match="dtype 'int8' is not one of"):
    hf_export.export(tmp_path / 'out', config, params, GENERATION, 'int8')
  with monkeypatch.context() as patch:
    patch.setattr(hf_export, '_write_json', None)
    with pytest.raises(TypeError):
      hf_export.export(tmp_path / 'out', config, params, GENERATION)
  assert not (tmp_path / 'out').exists()
  hf_export.export(tmp_path / 'out', config, params, GENERATION)
  assert not (tmp_path / 'out.partial').exists()


@needs_transformers
@pytest.mark.parametrize('name', CASES)
def test_transformers_opens_what_was_written(name, tmp_path):
  import make_hf_golden

  source = hf_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params = load(source)
  hf_export.export(tmp_path / 'out', config, params, GENERATION, 'float32')
  logits, tokens = make_hf_golden.reference(tmp_path / 'out')
  np.testing.assert_allclose(logits, GOLDEN[f'{name}/logits'], atol=1e-5)
  np.testing.assert_array_equal(tokens, GOLDEN[f'{name}/tokens'])


@needs_transformers
def test_transformers_tokenizer_gives_the_same_ids(tmp_path):
  import transformers

  directory = hf_tokenizers.write(tmp_path)
  ours = HfTokenizer(directory)
  theirs = transformers.AutoTokenizer.from_pretrained(directory)
  chat = [
    dict(role='system', content='the sum'),
    dict(role='user', content='é'),
  ]
  for variables in ({}, dict(enable_thinking=False)):
    ids = theirs.apply_chat_template(
      chat, add_generation_prompt=True, return_dict=False, **variables
    )
    assert ours.encode_rendered(ours.render(chat, **variables)).tolist() == ids
