"""GGUF files against transformers and the hub's layout; bad ones named.

`make_gguf_golden.py` wrote what transformers makes of the same files.
"""

import dataclasses
import os
import pathlib
import shutil
import tracemalloc

import gguf
import gguf_files
import hf_checkpoints
import jax
import numpy as np
import pytest
import small_checkpoint
import small_run
from safetensors.numpy import load_file

from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.checkpoints import stage_inputs
from k15.checkpoints.gguf import from_gguf
from k15.checkpoints.gguf import gguf_file
from k15.checkpoints.hf_tokenizer import HfTokenizer
from k15.config import resume
from k15.devices import fingerprints
from k15.devices import sharding
from k15.model import heads
from k15.model import policy
from k15.model import rope
from k15.runtime import context as context_lib
from k15.runtime import weights
from k15.runtime.context import Layout

GOLDEN = np.load(pathlib.Path(__file__).with_name('gguf_golden.npz'))
CASES = hf_checkpoints.CASES
QWEN3 = CASES['qwen3']


def logits_of(directory, tokens):
  """Float32 [T, V]."""
  config = hf_config.read_config(directory)
  layout = weights.param_layout(Layout(config, sharding.make_mesh(1, 1, 1)))
  params = hf.load(directory, config, layout)
  tokens = tokens[None]
  positions = np.arange(tokens.shape[1], dtype=np.int32)[None]

  @jax.jit
  def run(params):
    ones = np.ones_like(tokens)
    hidden, _ = policy.forward(config, params, tokens, positions, ones)
    return heads.logits_of(config, params, hidden)[0]

  return np.asarray(run(params))


@pytest.mark.parametrize('name', gguf_files.READ)
def test_logits_are_those_of_transformers(name, tmp_path):
  config, kind = gguf_files.READ[name]
  path = gguf_files.write(tmp_path / 'm.gguf', config, kind=kind)
  logits = logits_of(models.directory_of(path), hf_checkpoints.prompt())
  np.testing.assert_allclose(logits, GOLDEN[name], atol=1e-4)


def test_smollm2_writes_what_it_writes_in_transformers(tmp_path):
  from_gguf.convert(gguf_files.smollm2(), tmp_path / 'hub')
  tokens = GOLDEN['smollm2/tokens']
  tokenizer = HfTokenizer(tmp_path / 'hub')
  prompt = tokenizer.encode_rendered(tokenizer.render(gguf_files.CHAT))
  np.testing.assert_array_equal(prompt, tokens[: -gguf_files.NEW])
  logits = logits_of(tmp_path / 'hub', tokens)
  # Each is within 1e-4 of what float64 computes, of logits up to 40.
  np.testing.assert_allclose(
    logits[:, gguf_files.LOGITS], GOLDEN['smollm2/logits'], atol=2e-4
  )
  written = logits[len(prompt) - 1 : -1].argmax(axis=-1)
  np.testing.assert_array_equal(written, tokens[len(prompt) :])


@pytest.mark.parametrize('name', CASES)
def test_it_becomes_the_directory_that_it_was_made_of(name, tmp_path):
  """Rope settings too, which transformers does not read out of such files."""
  path = gguf_files.write(tmp_path / 'm.gguf', CASES[name])
  hub = hf_checkpoints.write(tmp_path / 'hub', CASES[name])
  directory = models.directory_of(path)
  shapes = [hf_config.read_config(d) for d in (directory, hub)]
  turns = [rope.turns_of(shape) for shape in shapes]
  np.testing.assert_allclose(turns[0][0], turns[1][0], rtol=1e-6)
  assert turns[0][1] == turns[1][1]
  # Of so few frequencies, several lengths make the same divisors.
  ours, theirs = (
    dataclasses.replace(shape, rope_original_length=0) for shape in shapes
  )
  assert ours == theirs
  assert hf_config.read_generation(directory) == hf_config.Generation(
    max_length=256, eos_ids=(1,), bos_id=0
  )
  ours, theirs = (load_file(d / 'model.safetensors') for d in (directory, hub))
  assert ours.keys() == theirs.keys()
  for tensor, array in theirs.items():
    np.testing.assert_array_equal(ours[tensor], array)


def test_the_settings_of_published_llamas_are_found(tmp_path):
  """From 32 divisors, in float32, of Llama 3.1 and 3.2."""
  for factor in (8.0, 32.0):
    scaling = CASES['llama3']['rope_scaling'] | dict(
      factor=factor, original_max_position_embeddings=8192
    )
    config = CASES['llama3'] | dict(head_dim=64, rope_scaling=scaling)
    path = gguf_files.write(tmp_path / f'{factor}.gguf', config)
    shape = hf_config.read_config(models.directory_of(path))
    assert shape.rope_scaling == 'llama3'
    assert (shape.rope_factor, shape.rope_original_length) == (factor, 8192)


def test_what_is_quantized_is_computed_and_what_has_16_bits_is_kept(tmp_path):
  x = hf_checkpoints.tensors(QWEN3)['model.layers.0.self_attn.v_proj.weight']
  expected = {
    'F16': x.astype(np.float16),
    'Q8_0': _dequantized(x, 'Q8_0'),
    'Q4_1': _dequantized(x, 'Q4_1'),
  }
  for kind, array in expected.items():
    path = gguf_files.write(tmp_path / f'{kind}.gguf', QWEN3, kind=kind)
    found = load_file(models.directory_of(path) / 'model.safetensors')
    found = found['model.layers.0.self_attn.v_proj.weight']
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def _dequantized(x, kind):
  kind = gguf.GGMLQuantizationType[kind]
  return gguf.dequantize(gguf.quantize(x, kind), kind)


def test_the_host_holds_one_tensor_at_a_time(tmp_path):
  changes = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=8)
  config = QWEN3 | changes
  path = gguf_files.write(tmp_path / 'm.gguf', config, kind='Q8_0')
  from_gguf.convert(path, tmp_path / 'first')  # Traces the policy.
  tracemalloc.start()
  from_gguf.convert(path, tmp_path / 'second')
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  size = (tmp_path / 'second' / 'model.safetensors').stat().st_size
  # The largest has 0.5 MiB; it is joined of parts, so there are two of it.
  assert size > 12 << 20 and peak < 3 << 20


def test_it_is_converted_once_and_anew_when_it_changes(tmp_path, capfd):
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3)
  directory = models.directory_of(path)
  assert directory == tmp_path / 'm.gguf.hub'
  assert 'converted into' in capfd.readouterr().out
  before = fingerprints.of_model(directory)
  assert models.directory_of(path) == directory
  assert not capfd.readouterr().out
  copy = shutil.copyfile(path, tmp_path / 'copy.gguf')  # Another date.
  assert fingerprints.of_model(models.directory_of(copy)) == before
  arrays = hf_checkpoints.tensors(QWEN3, seed=1)
  gguf_files.write(path, QWEN3, arrays)
  state = path.stat()  # The clock of some filesystems is coarse.
  os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
  assert fingerprints.of_model(models.directory_of(path)) != before
  found = load_file(directory / 'model.safetensors')
  norm = 'model.norm.weight'
  np.testing.assert_array_equal(found[norm], arrays[norm])
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'copy.gguf', 'copy.gguf.hub', 'm.gguf', 'm.gguf.hub',
  ]  # fmt: skip


def test_a_stage_refuses_another_file_than_it_began_with(tmp_path):
  hub = small_checkpoint.write(tmp_path / 'hub')
  path = gguf_files.of_directory(tmp_path / 'm.gguf', hub, 'gpt-2')
  workdir = tmp_path / 'run'

  def begin():
    config = small_run.make_config(tmp_path, checkpoint=str(path))
    context_lib.adopt_checkpoint(config)
    assert config.policy.d_model == CASES['qwen2']['hidden_size']
    source = models.directory_of(path)
    stage_inputs.check(workdir, 'sft', source, resume.to_json(config))

  begin()
  (workdir / 'models/sft').mkdir(parents=True)  # As if it had saved.
  begin()
  path.unlink()
  tall = CASES['qwen2'] | dict(vocab_size=small_checkpoint.VOCAB)
  arrays = hf_checkpoints.tensors(tall, seed=1)
  gguf_files.of_directory(path, hub, 'gpt-2', arrays=arrays)
  with pytest.raises(stage_inputs.Changed, match="stage 'sft' began with"):
    begin()


UP = 'model.layers.0.mlp.up_proj.weight'
REFUSED = {
  'architecture': (
    dict(general__architecture='gemma'),
    "general.architecture is 'gemma', and has to be one of",
  ),
  'adapter': (dict(general__type='adapter'), "general.type is 'adapter'"),
  'missing': (dict(qwen3__block_count=None), 'qwen3.block_count is None'),
  'type': (
    dict(qwen3__context_length=[1, 2]),
    r'qwen3.context_length is \[1, 2\], and has to be an int',
  ),
  'experts': (
    dict(qwen3__expert_count=8),
    'qwen3.expert_count 8 is not supported',
  ),
  'windows': (
    dict(qwen3__attention__sliding_window=4096),
    'qwen3.attention.sliding_window 4096 is not supported',
  ),
  'causal': (
    dict(qwen3__attention__causal=False),
    'qwen3.attention.causal False is not supported',
  ),
  'heads': (
    dict(qwen3__attention__value_length=8),
    'qwen3.attention.value_length is 8, and has to be 16, the width of a head',
  ),
  'kv_heads': (
    dict(qwen3__attention__head_count_kv=3),
    'num_key_value_heads is 3, and has to be a divisor of 4 heads',
  ),
  'linear': (
    dict(qwen3__rope__scaling__type='linear', qwen3__rope__scaling__factor=2.0),
    "rope scaling 'linear' is not one of",
  ),
  'yarn': (
    dict(
      qwen3__rope__scaling__type='yarn', qwen3__rope__scaling__factor=2.0,
      qwen3__rope__scaling__yarn_log_multiplier=0.1,
    ),
    "yarn_log_multiplier is not a setting of 'yarn'",
  ),
  'divisors': (
    dict(extra={'rope_freqs.weight': np.arange(1, 9, dtype=np.float32)}),
    "rope_freqs.weight holds divisors .* not those of 'llama3'",
  ),
  'tensor': (
    dict(extra={'blk.0.ffn_gate_inp.weight': np.ones((2, 32), np.float32)}),
    'blk.0.ffn_gate_inp.weight not of this architecture',
  ),
  'no_tensor': (
    dict(arrays={k: x for k, x in hf_checkpoints.tensors(QWEN3).items()
                 if k != UP}),
    'tensors do not match the config: blk.0.ffn_up.weight missing',
  ),
  'shape': (
    dict(arrays=hf_checkpoints.tensors(QWEN3)
         | {UP: np.ones((7, 32), np.float32)}),
    r'tensor blk.0.ffn_up.weight has the shape \(7, 32\), and the config',
  ),
  'parts': (dict(split__count=3), 'is one of 3 parts: llama-gguf-split'),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_not_computed_is_refused_by_name(name, tmp_path):
  changes, message = REFUSED[name]
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3, **changes)
  assert_refused(path, message)


def assert_refused(path, message):
  with pytest.raises(ValueError, match=message) as error:
    models.directory_of(path)
  assert str(error.value).startswith(str(path))
  assert '\n' not in str(error.value)
  assert [p.name for p in path.parent.iterdir()] == ['m.gguf']


def test_types_that_the_package_does_not_compute_or_know(tmp_path):
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3)
  _retype(path, 'output_norm.weight', gguf.GGMLQuantizationType.I32)
  assert_refused(path, 'tensor output_norm.weight is I32, which is not')
  _retype(path, 'output_norm.weight', 99)
  assert_refused(path, 'tensor output_norm.weight is of type 99, which gguf')


def _retype(path, tensor, kind):
  """The type is behind the name, the number of axes and one of them."""
  content = bytearray(path.read_bytes())
  place = content.index(tensor.encode()) + len(tensor) + 4 + 8
  content[place] = kind
  path.write_bytes(content)


def test_the_command(tmp_path, capsys):
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3)
  from_gguf.main([str(path), str(tmp_path / 'out')])
  assert capsys.readouterr().out == (
    f'{tmp_path}/out: 2 layers of width 32, 96 tokens\n'
  )
  assert models.directory_of(tmp_path / 'out') == tmp_path / 'out'
  with pytest.raises(SystemExit, match=f'k15: {tmp_path}/out is not empty'):
    from_gguf.main([str(path), str(tmp_path / 'out')])
  with pytest.raises(SystemExit, match='k15: .*none.gguf: cannot be read'):
    from_gguf.main([str(tmp_path / 'none.gguf'), str(tmp_path / 'other')])


def test_where_no_directory_can_be_made(tmp_path):
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3)
  (tmp_path / 'm.gguf.hub').write_text('a file')
  with pytest.raises(ValueError, match=f'from_gguf {path} DIRECTORY makes one'):
    models.directory_of(path)
  assert len(list(tmp_path.iterdir())) == 2


def test_without_the_package(tmp_path, monkeypatch):
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3)
  monkeypatch.setattr(gguf_file, 'gguf', None)
  with pytest.raises(ValueError, match=r"pip install 'k15\[gguf\]'"):
    models.directory_of(path)


def test_a_divisor_of_one_is_no_scaling(tmp_path):
  ones = {'rope_freqs.weight': np.ones(8, np.float32)}
  path = gguf_files.write(tmp_path / 'm.gguf', QWEN3, extra=ones)
  found = hf_config.read_config(models.directory_of(path))
  plain = gguf_files.write(tmp_path / 'plain.gguf', QWEN3)
  assert found == hf_config.read_config(models.directory_of(plain))
  assert dataclasses.asdict(found)['rope_scaling'] == 'none'
