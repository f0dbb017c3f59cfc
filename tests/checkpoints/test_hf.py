"""Checkpoints against transformers, on meshes, within memory; bad ones named.

`make_hf_golden.py` wrote what transformers makes of the same files.

Written directories are read again, by k15 and, where it is, transformers.
"""

import dataclasses
import importlib.util
import json
import pathlib
import tracemalloc

import hf_checkpoints
import hf_tokenizers
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints.hf_tokenizer import HfTokenizer
from k15.devices import sharding
from k15.model import heads
from k15.model import kv_cache
from k15.model import policy
from k15.runtime import weights
from k15.runtime.context import Layout

GOLDEN = np.load(pathlib.Path(__file__).with_name('hf_golden.npz'))
CASES = hf_checkpoints.CASES
QWEN2 = CASES['qwen2']


def load(directory, mesh=(1, 1, 1), **changes):
  """The config and parameters of a directory."""
  config = dataclasses.replace(hf_config.read_config(directory), **changes)
  layout = weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
  return config, hf.load(directory, config, layout)


def logits_of(config, params):
  """Float32 [PROMPT, V] of the prompt."""
  tokens = hf_checkpoints.prompt()[None]
  positions = np.arange(tokens.shape[1], dtype=np.int32)[None]

  @jax.jit
  def run(params):
    ones = np.ones_like(tokens)
    hidden, _ = policy.forward(config, params, tokens, positions, ones)
    return heads.logits_of(config, params, hidden)[0]

  return np.asarray(run(params))


def greedy(config, params):
  """int32 [NEW], one token at a time against the cache."""
  prompt = hf_checkpoints.prompt()
  steps = len(prompt) + hf_checkpoints.NEW - 1
  given = jnp.pad(prompt, (0, steps - len(prompt)))

  @jax.jit
  def run(params):
    def step(carry, t):
      token, cache = carry
      token = jnp.where(t < len(prompt), given[t], token)
      hidden, cache = policy.decode(config, params, token[None], t[None], cache)
      logits = heads.logits_of(config, params, hidden)[0]
      token = jnp.argmax(logits).astype(jnp.int32)
      return (token, cache), token

    start = jnp.int32(0), kv_cache.empty(config, 1, steps)
    return jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))[1]

  return np.asarray(run(params))[len(prompt) - 1 :]


def assert_same(params, others):
  jax.tree.map(np.testing.assert_array_equal, params, others)


@pytest.mark.parametrize('name', CASES)
def test_logits_and_greedy_tokens_are_those_of_transformers(name, tmp_path):
  directory = hf_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params = load(directory)
  logits = logits_of(config, params)
  np.testing.assert_allclose(logits, GOLDEN[f'{name}/logits'], atol=1e-4)
  tokens = greedy(config, params)
  np.testing.assert_array_equal(tokens, GOLDEN[f'{name}/tokens'])


@pytest.mark.parametrize('name', ['qwen2_yarn', 'qwen3_yarn', 'llama3'])
def test_the_scaling_of_positions_is_seen_in_the_logits(name, tmp_path):
  directory = hf_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params = load(directory, rope_scaling='none')
  difference = np.abs(logits_of(config, params) - GOLDEN[f'{name}/logits'])
  assert difference.max() > 0.01


@pytest.mark.parametrize('mesh', [(1, 2, 2), (2, 1, 2), (2, 4, 1)], ids=str)
@pytest.mark.parametrize('scan_layers', [False, True])
def test_any_mesh_and_scanned_layers_hold_the_same(mesh, scan_layers, tmp_path):
  directory = hf_checkpoints.write(tmp_path / 'in', CASES['qwen3'], files=3)
  _, params = load(directory)
  config, others = load(directory, mesh, scan_layers=scan_layers)
  layout = weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
  jax.tree.map(
    lambda x, like: np.testing.assert_equal(x.sharding, like.sharding),
    others,
    layout,
  )
  if scan_layers:
    layers = [params.pop(f'layer_{i}') for i in range(config.num_layers)]
    params['layers'] = jax.tree.map(lambda *xs: np.stack(xs), *layers)
  assert_same(params, others)


def test_bfloat16_files_and_other_dtypes_of_the_policy(tmp_path):
  arrays = hf_checkpoints.tensors(QWEN2)
  arrays = {name: x.astype(ml_dtypes.bfloat16) for name, x in arrays.items()}
  directory = hf_checkpoints.write(tmp_path / 'in', QWEN2, arrays)
  _, halves = load(directory, param_dtype='bfloat16')
  _, wholes = load(directory)
  assert halves['embedding'].dtype == jnp.bfloat16
  assert wholes['embedding'].dtype == jnp.float32
  gate = arrays['model.layers.1.mlp.gate_proj.weight'].T.astype(np.float32)
  np.testing.assert_array_equal(wholes['layer_1']['gate'], gate)
  assert_same(jax.tree.map(lambda x: x.astype(np.float32), halves), wholes)


@pytest.mark.parametrize('scan_layers', [False, True])
@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 2, 2)], ids=str)
def test_the_host_holds_one_tensor_above_the_result(
  scan_layers, mesh, tmp_path
):
  # numpy and safetensors tell tracemalloc what they allocate.  Every matrix
  # has 1 MiB; all 17 of them together would be seen at once.
  changes = dict(vocab_size=512, hidden_size=512, intermediate_size=512)
  config = QWEN2 | changes | dict(head_dim=128, num_key_value_heads=4)
  directory = hf_checkpoints.write(tmp_path / 'in', config, files=2)
  config, _ = load(directory, mesh, scan_layers=scan_layers)  # Compiles.
  layout = weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
  excess = []
  for _ in range(3):  # A thread of jax lets go of arrays, sometimes late.
    tracemalloc.start()
    params = hf.load(directory, config, layout)
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    excess.append(peak - left)
    assert left < 1 << 20
  assert sum(x.nbytes for x in jax.tree.leaves(params)) > 16 << 20
  assert min(excess) < 1.2 * (1 << 20) and max(excess) < 4 << 20


def _break_config(**changes):
  return lambda directory: (directory / 'config.json').write_text(
    json.dumps(QWEN2 | changes)
  )


def _break_tensors(drop=(), **changes):
  def change(directory):
    arrays = hf_checkpoints.tensors(QWEN2) | changes
    arrays = {name: x for name, x in arrays.items() if name not in drop}
    hf_checkpoints.write(directory, QWEN2, arrays)

  return change


def _break_index(change):
  def broken(directory):
    (directory / 'model.safetensors').unlink()
    hf_checkpoints.write(directory, QWEN2, files=2)
    path = directory / 'model.safetensors.index.json'
    index = json.loads(path.read_text())
    change(index['weight_map'])
    path.write_text(json.dumps(index))

  return broken


def _cut(directory):
  path = directory / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-100])


NORM, HEAD = 'model.norm.weight', 'lm_head.weight'
FIRST, SECOND = (f'model-0000{i}-of-00002.safetensors' for i in (1, 2))
BROKEN = {
  'no_weights': (
    lambda d: (d / 'model.safetensors').unlink(),
    'has neither model.safetensors nor model.safetensors.index.json',
  ),
  'cut': (_cut, 'model.safetensors is damaged'),
  'missing': (_break_tensors([NORM, HEAD]), f'{HEAD}, {NORM} missing'),
  'extra': (
    _break_tensors(**{'model.layers.2.mlp.up_proj.bias': np.zeros(2)}),
    'model.layers.2.mlp.up_proj.bias not of this architecture',
  ),
  'shape': (
    _break_tensors(**{NORM: np.zeros(7, np.float32)}),
    rf'{NORM} has the shape \(7,\), and the config asks for \(32,\)',
  ),
  'dtype': (
    _break_tensors(**{NORM: np.zeros(32, np.int8)}),
    f'{NORM} is I8, not one of',
  ),
  'width': (
    _break_config(intermediate_size=64),
    r'mlp.*_proj.weight has the shape .*48.*, and the config asks for .*64',
  ),
  'tied': (_break_config(tie_word_embeddings=True), f'{HEAD} differs from'),
  'index_file': (
    _break_index(lambda m: m.update({NORM: 'model-9.safetensors'})),
    'has no model-9.safetensors',
  ),
  'index_other_file': (
    _break_index(lambda m: m.update({NORM: FIRST, HEAD: SECOND})),
    'is not in model-0000',
  ),
  'index_gap': (_break_index(lambda m: m.pop(NORM)), f'not name {NORM}, in'),
  'index_path': (
    _break_index(lambda m: m.update({NORM: '../x.safetensors'})),
    "'../x.safetensors', which is no file name",
  ),
  'index_empty': (_break_index(lambda m: m.clear()), 'has no weight_map'),
}  # fmt: skip


@pytest.mark.parametrize('name', BROKEN)
def test_a_bad_directory_is_named_before_device_work(
  name, tmp_path, monkeypatch
):
  damage, message = BROKEN[name]
  directory = hf_checkpoints.write(tmp_path / 'in', QWEN2)
  damage(directory)
  monkeypatch.setattr(jax, 'device_put', None)
  with pytest.raises(ValueError, match=message) as error:
    load(directory)
  assert '\n' not in str(error.value)


def test_what_others_write_besides_is_no_mistake(tmp_path):
  tied = CASES['llama3']
  arrays = hf_checkpoints.tensors(tied)
  more = {
    'lm_head.weight': arrays['model.embed_tokens.weight'],
    'model.layers.0.self_attn.rotary_emb.inv_freq': np.ones(4, np.float32),
  }
  _, params = load(hf_checkpoints.write(tmp_path / 'plain', tied))
  _, others = load(hf_checkpoints.write(tmp_path / 'more', tied, arrays | more))
  assert_same(params, others)


@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize('scan_layers', [False, True])
def test_weights_that_are_not_finite_are_named(scan_layers, mesh, tmp_path):
  arrays = hf_checkpoints.tensors(QWEN2)
  name = 'model.layers.1.mlp.up_proj.weight'
  arrays[name][5, 7] = np.nan
  arrays[name][40, 31] = np.inf
  directory = hf_checkpoints.write(tmp_path, QWEN2, arrays)
  message = f'safetensors: 2 of the 1536 values of tensor {name} are not finite'
  with pytest.raises(ValueError, match=message):
    load(directory, mesh, scan_layers=scan_layers)


GENERATION = hf_config.Generation(max_length=256, eos_ids=(1,))
REFERENCE = ('torch', 'transformers')
needs_transformers = pytest.mark.skipif(
  not all(importlib.util.find_spec(name) for name in REFERENCE),
  reason='torch and transformers are not installed; hf_golden.npz has what '
  'they computed',
)


def load_of_hf_export(directory, mesh=(1, 1, 1), **changes):
  config = dataclasses.replace(hf_config.read_config(directory), **changes)
  layout = weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
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
  config, params = load_of_hf_export(source)
  hf.export(tmp_path / 'out', config, params, GENERATION, 'float32')
  written, original = read(tmp_path / 'out'), read(source)
  assert written.keys() == original.keys()
  for tensor, array in original.items():
    np.testing.assert_array_equal(written[tensor], array)
  _, again = load_of_hf_export(tmp_path / 'out')
  jax.tree.map(np.testing.assert_array_equal, params, again)


def test_split_scanned_parameters_in_several_files(tmp_path):
  source = hf_checkpoints.write(tmp_path / 'in', CASES['qwen3'])
  config, params = load_of_hf_export(source, (1, 2, 2), scan_layers=True)
  hf.export(
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
  _, again = load_of_hf_export(tmp_path / 'out', (1, 2, 2), scan_layers=True)
  jax.tree.map(np.testing.assert_array_equal, params, again)


def test_bfloat16_and_the_tokenizer(tmp_path):
  source = hf_tokenizers.write(tmp_path / 'in')
  config = json.loads((source / 'config.json').read_text())
  hf_checkpoints.write(source, config)
  config, params = load_of_hf_export(source)
  generation = hf_config.read_generation(source)
  hf.export(tmp_path / 'out', config, params, generation, tokenizer_from=source)
  _, again = load_of_hf_export(tmp_path / 'out')
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
  config, params = load_of_hf_export(source)
  with pytest.raises(ValueError, match='in is not empty'):
    hf.export(source, config, params, GENERATION)
  with pytest.raises(ValueError, match="dtype 'int8' is not one of"):
    hf.export(tmp_path / 'out', config, params, GENERATION, 'int8')
  with monkeypatch.context() as patch:
    patch.setattr(hf, '_write_json', None)
    with pytest.raises(TypeError):
      hf.export(tmp_path / 'out', config, params, GENERATION)
  assert not (tmp_path / 'out').exists()
  hf.export(tmp_path / 'out', config, params, GENERATION)
  assert not (tmp_path / 'out.partial').exists()


@needs_transformers
@pytest.mark.parametrize('name', CASES)
def test_transformers_opens_what_was_written(name, tmp_path):
  import make_hf_golden

  source = hf_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params = load_of_hf_export(source)
  hf.export(tmp_path / 'out', config, params, GENERATION, 'float32')
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
