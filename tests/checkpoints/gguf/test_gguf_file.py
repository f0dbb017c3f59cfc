"""Files that are cut off or broken are refused in a sentence, whatever byte."""

import gguf_files
import hf_checkpoints
import numpy as np
import pytest

from k15.checkpoints import tensor_files
from k15.checkpoints.gguf import gguf_file

QWEN2 = hf_checkpoints.CASES['qwen2']


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return gguf_files.write(tmp_path_factory.mktemp('gguf') / 'm.gguf', QWEN2)


def refused(tmp_path, content):
  """The sentence that refuses a file of this content; None: it is read."""
  (tmp_path / 'broken.gguf').write_bytes(content)
  try:
    gguf_file.GgufFile(tmp_path / 'broken.gguf')
  except tensor_files.BadWeights as error:
    assert str(error).startswith(f'{tmp_path / "broken.gguf"}: ')
    return str(error)
  return None


def test_fields_and_tensors(path):
  file = gguf_file.GgufFile(path)
  values = file.fields.values
  assert values['general.architecture'] == 'qwen2'
  assert values['qwen2.attention.layer_norm_rms_epsilon'] == 1e-6
  assert values['tokenizer.ggml.token_type'][:3] == [3, 3, 1]
  assert file.shapes()['blk.1.ffn_down.weight'] == (32, 48)
  arrays = hf_checkpoints.tensors(QWEN2)
  np.testing.assert_array_equal(
    file.read('blk.1.ffn_down.weight'),
    arrays['model.layers.1.mlp.down_proj.weight'],
  )


def test_files_that_are_cut_off(path, tmp_path):
  content = path.read_bytes()
  for length in [*range(0, 2000, 37), *range(2000, len(content), 997)]:
    assert refused(tmp_path, content[:length]), length
  assert 'is no GGUF file' in refused(tmp_path, b'')
  assert 'is no GGUF file' in refused(tmp_path, b'PK' + content[2:])
  text = refused(tmp_path, content[:-100])
  assert f'tensor {gguf_files.name_of("lm_head.weight")} ends at' in text
  assert f'and the file has {len(content) - 100}' in text
  place = content.index(b'tokenizer.ggml.token_type') + 50
  assert 'field tokenizer.ggml.token_type begins before' in refused(
    tmp_path, content[:place]
  )


def test_lengths_that_are_wrong(path, tmp_path):
  """A length of 2 ** 56 does not fill the memory."""
  content = path.read_bytes()
  for key in ('tokenizer.ggml.tokens', 'tokenizer.ggml.token_type'):
    place = content.index(key.encode()) + len(key) + 8  # Two types before it.
    broken = content[: place + 7] + b'\x01' + content[place + 8 :]
    assert f'field {key}' in refused(tmp_path, broken)


def test_bytes_that_are_wrong(path, tmp_path):
  content = path.read_bytes()
  rng = np.random.default_rng(0)
  header = content.index(b'blk.0.attn_norm.weight') + 2000
  seen = 0
  for place in rng.integers(0, header, 300):
    broken = bytearray(content)
    broken[place] ^= 1 << rng.integers(8)
    seen += refused(tmp_path, bytes(broken)) is not None
  assert seen > 50


def test_versions(path, tmp_path):
  content = path.read_bytes()
  for version in (b'\x01\0\0\0', b'\0\0\0\x03'):
    text = refused(tmp_path, content[:4] + version + content[8:])
    assert 'of GGUF, not 2 or 3, or big-endian' in text
