"""Rope settings as transformers reads them, and those that are refused."""

import json
import pathlib

import hf_checkpoints
import numpy as np
import pytest

from k15.checkpoints import hf_config
from k15.model import rope

# Of make_hf_rope_golden.py.
GOLDEN = json.loads(
  pathlib.Path(__file__).with_name('hf_rope_golden.json').read_text()
)['cases']
YARN = dict(type='yarn', factor=2)
LLAMA3 = dict(hf_checkpoints.LLAMA3)


def _read(folder, config):
  (folder / 'config.json').write_text(json.dumps(config))
  return hf_config.read_config(folder)


@pytest.mark.parametrize('name', GOLDEN)
def test_frequencies_and_magnitude_are_those_of_transformers(name, tmp_path):
  case = GOLDEN[name]
  config = _read(tmp_path, case['config'])
  frequencies, magnitude = rope.turns_of(config)
  np.testing.assert_allclose(frequencies, case['frequencies'], rtol=1e-6)
  assert magnitude == pytest.approx(case['magnitude'], rel=1e-6)
  # What is written is read as the same.
  raw, _ = hf_config.to_json(
    config, hf_config.Generation(max_length=256), 'float32'
  )
  again, magnitude = rope.turns_of(_read(tmp_path, raw))
  np.testing.assert_array_equal(again, frequencies)
  assert magnitude == pytest.approx(case['magnitude'], rel=1e-6)


def test_one_object_for_a_kind_of_layer(tmp_path):
  config = hf_checkpoints.CASES['qwen3'] | dict(
    layer_types=['full_attention'] * 2,
    rope_parameters=dict(full_attention=YARN | dict(rope_theta=5e5)),
  )
  read = _read(tmp_path, config)
  assert (read.rope_scaling, read.rope_theta) == ('yarn', 5e5)


REFUSED = [
  (dict(rope_scaling='yarn'), "rope_scaling is 'yarn', and has to be a JSON"),
  (dict(rope_scaling=[YARN]), 'rope_scaling is .* has to be a JSON object'),
  (
    dict(rope_parameters=3),
    'rope_parameters is 3, and has to be a JSON object',
  ),
  (dict(rope_theta=None), 'rope_theta is None, and has to be a number > 0'),
  (dict(rope_theta='1e4'), "rope_theta is '1e4', and has to be a number > 0"),
  (dict(rope_theta=1), 'rope_theta is 1, and has to be a number > 1'),
  (dict(rope_parameters=dict(rope_theta=None)), 'rope_parameters: rope_theta'),
  (dict(rope_scaling=dict(type='linear', factor=2)), "rope scaling 'linear'"),
  (dict(rope_scaling=dict(type='dynamic', factor=2)), "rope scaling 'dynamic'"),
  (dict(rope_scaling=dict(type=['yarn'], factor=2)), 'type is .* be a text'),
  (dict(rope_scaling=dict(factor=2)), 'there is a factor and no rope_type'),
  (dict(rope_scaling=dict(type='yarn')), 'rope_scaling: factor is None'),
  (dict(rope_scaling=YARN | dict(factor=-1)), 'factor is -1, and has to be'),
  (dict(rope_scaling=YARN | dict(attn_factor=1.5)), 'attn_factor is 1.5, and'),
  (dict(rope_scaling=YARN | dict(attention_factor='1')), "factor is '1', and"),
  (dict(rope_scaling=YARN | dict(beta_fast='32')), "beta_fast is '32', and"),
  (dict(rope_scaling=YARN | dict(truncate='no')), "truncate is 'no', and has"),
  (dict(rope_scaling=YARN | dict(mscale=-1, mscale_all_dim=1)), 'mscale is -1'),
  (
    dict(rope_scaling=YARN | dict(extrapolation_factor=2)),
    "extrapolation_factor is not a setting of 'yarn' that is known",
  ),
  (
    dict(rope_scaling=YARN | dict(original_max_position_embeddings=0.5)),
    'original_max_position_embeddings is 0.5, and has to be an int >= 1',
  ),
  (dict(rope_scaling=YARN | dict(partial_rotary_factor=0.5)), 'partial_rotary'),
  (
    dict(rope_scaling=dict(type='llama3', factor=2)),
    'low_freq_factor is None, and has to be a number > 0',
  ),
  (
    dict(rope_scaling=LLAMA3 | dict(high_freq_factor=1)),
    'high_freq_factor is 1, and has to be above low_freq_factor = 1.0',
  ),
]


@pytest.mark.parametrize('changes, message', REFUSED)
def test_other_settings_are_refused_in_a_sentence(changes, message, tmp_path):
  with pytest.raises(ValueError, match=f'config.json: .*{message}'):
    _read(tmp_path, hf_checkpoints.CASES['qwen3'] | changes)
