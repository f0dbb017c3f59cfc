"""Two directories into one: to the bit at the ends, never of two families."""

import contextlib
import dataclasses
import json
import shutil

import hf_checkpoints
import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import small_checkpoint
import small_run

from k15.checkpoints import merging
from k15.checkpoints import models
from k15.checkpoints import tensor_files
from k15.runtime import weights

ORIGIN = models.Origin('merge', 1, 0)


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """A context and two models of its shape."""
  folder = tmp_path_factory.mktemp('merging')
  context = small_run.make_context(folder)
  for seed, name in enumerate(('long', 'short')):
    _save(context, folder / name, weights.init_params(context.layout, seed))
  return context, folder / 'long', folder / 'short'


def _save(context, directory, params, shape=None, tokenizer=None):
  models.save(
    directory, shape or context.shape, params,
    tokenizer or context.task.tokenizer, 32, models.Origin('sft', 1, 1), None,
  )  # fmt: skip


def _copy(directory, to):
  shutil.copytree(directory, to)
  return to


def _weights(directory):
  """Name -> bytes of every tensor."""
  tensors = safetensors.numpy.load_file(directory / tensor_files.SINGLE)
  return {name: tensor.tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize('share, same', [(0.0, 1), (1.0, 2)])
def test_at_the_ends_the_file_is_one_of_theirs(two, tmp_path, share, same):
  merging.merge(tmp_path / 'm', two[1], two[2], share, ORIGIN)
  assert _weights(tmp_path / 'm') == _weights(two[same])


def test_the_mean_is_a_model(two, tmp_path):
  context, long, short = two
  merging.merge(tmp_path / 'm', long, short, 0.5, ORIGIN)
  a, b, mean = (
    weights.load_params(context, path) for path in (long, short, tmp_path / 'm')
  )
  jax.tree.map(
    lambda x, y, z: np.testing.assert_array_equal((x + y) / 2, z), a, b, mean
  )
  assert models.read_origin(tmp_path / 'm') == ORIGIN
  tokenizer = models.read_tokenizer(tmp_path / 'm')
  assert tokenizer.words == context.task.tokenizer.words
  merging.merge(tmp_path / 'n', short, long, 0.5, ORIGIN)
  assert _weights(tmp_path / 'm') == _weights(tmp_path / 'n')


def test_an_earlier_model_is_replaced(two, tmp_path):
  for share in (0.5, 0.0):
    merging.merge(tmp_path / 'm', two[1], two[2], share, ORIGIN)
  assert _weights(tmp_path / 'm') == _weights(two[1])
  assert [path.name for path in tmp_path.iterdir()] == ['m']


def test_several_files(two, tmp_path):
  merging.merge(tmp_path / 'm', two[1], two[2], 0.0, ORIGIN, 4096)
  assert len(list((tmp_path / 'm').glob('*.safetensors'))) > 1
  params = weights.load_params(two[0], tmp_path / 'm')
  long = weights.load_params(two[0], two[1])
  jax.tree.map(np.testing.assert_array_equal, params, long)


def test_tied_embeddings_are_merged_once(two, tmp_path):
  """Some writers store them twice; here one of the two models does."""
  context, long, short = two
  assert context.shape.tie_embeddings
  twice = _copy(long, tmp_path / 'twice')
  path = twice / tensor_files.SINGLE
  tensors = safetensors.numpy.load_file(path)
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  safetensors.numpy.save_file(tensors, path)
  merging.merge(tmp_path / 'm', twice, short, 0.5, ORIGIN)
  merging.merge(tmp_path / 'n', long, short, 0.5, ORIGIN)
  assert 'lm_head.weight' not in _weights(tmp_path / 'm')
  assert _weights(tmp_path / 'm') == _weights(tmp_path / 'n')


def test_the_tokenizer_goes_along(tmp_path):
  from_hub = small_checkpoint.write(tmp_path / 'hub')
  merging.merge(tmp_path / 'm', from_hub, from_hub, 0.5, ORIGIN)
  for name in ('tokenizer.json', 'config.json'):
    assert (tmp_path / 'm' / name).read_bytes() == (
      from_hub / name
    ).read_bytes()


def test_another_shape_is_named(two, tmp_path):
  context, long, _ = two
  other = small_run.make_context(tmp_path, policy__d_ff=16)
  _save(other, tmp_path / 'other', weights.init_params(other.layout, 0))
  with pytest.raises(ValueError, match='not of one family: d_ff is 32 and 16'):
    merging.merge(tmp_path / 'm', long, tmp_path / 'other', 0.5, ORIGIN)
  assert not (tmp_path / 'm').exists()


def test_another_tokenizer_is_named(two, tmp_path):
  context, long, short = two
  words = json.loads((short / models.BYTE_TOKENIZER).read_text())
  other = _copy(short, tmp_path / 'other')
  words['words'] = ['so']
  (other / models.BYTE_TOKENIZER).write_text(json.dumps(words))
  with pytest.raises(ValueError, match='byte_tokenizer.json differs'):
    merging.merge(tmp_path / 'm', long, other, 0.5, ORIGIN)


def test_another_dtype_is_named(two, tmp_path):
  context, long, short = two
  half = dataclasses.replace(context.shape, param_dtype='bfloat16')
  _save(
    context, tmp_path / 'half', weights.init_params(context.layout, 0), half
  )
  with pytest.raises(ValueError, match="is .'F32', .* and .'BF16'"):
    merging.merge(tmp_path / 'm', long, tmp_path / 'half', 0.5, ORIGIN)


def test_tensors_of_several_dtypes_keep_theirs(tmp_path):
  """Norms in float32, the rest in bfloat16, as some checkpoints have them."""
  config = hf_checkpoints.CASES['qwen3']
  drawn = [hf_checkpoints.tensors(config, seed) for seed in (0, 1)]
  for name, arrays in zip(('long', 'short'), drawn, strict=True):
    for tensor in arrays:
      if not tensor.endswith('norm.weight'):
        arrays[tensor] = arrays[tensor].astype(ml_dtypes.bfloat16)
    hf_checkpoints.write(tmp_path / name, config, arrays, files=2)
  long, short, m = (tmp_path / name for name in ('long', 'short', 'm'))
  merging.merge(m, long, short, 0.5, ORIGIN)
  with contextlib.closing(tensor_files.Files(m)) as files:
    for name, a in drawn[0].items():
      b = drawn[1][name]
      whole = (slice(None),) * a.ndim
      mean = (a.astype(np.float32) + b.astype(np.float32)) / 2
      found = files.read(name, whole)
      assert found.dtype == a.dtype
      np.testing.assert_array_equal(found, mean.astype(a.dtype))


def test_weights_that_are_not_finite_are_named(two, tmp_path):
  bad = _copy(two[2], tmp_path / 'bad')
  tensors = safetensors.numpy.load_file(bad / tensor_files.SINGLE)
  tensors['model.norm.weight'] = tensors['model.norm.weight'] * np.nan
  safetensors.numpy.save_file(tensors, bad / tensor_files.SINGLE)
  with pytest.raises(ValueError, match='of tensor model.norm.weight are not'):
    merging.merge(tmp_path / 'm', two[1], bad, 0.5, ORIGIN)
  assert not (tmp_path / 'm').exists()
