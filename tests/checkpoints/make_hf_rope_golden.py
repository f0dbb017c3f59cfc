"""Writes hf_rope_golden.json: rope settings as transformers computes them.

Run where torch and transformers are installed:
python tests/checkpoints/make_hf_rope_golden.py
"""

import json
import pathlib
import tempfile

import hf_checkpoints
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

GOLDEN = pathlib.Path(__file__).with_name('hf_rope_golden.json')
LENGTH = 'original_max_position_embeddings'
YARN = dict(rope_type='yarn', factor=4.0)
LLAMA3 = hf_checkpoints.LLAMA3
# Name -> what is changed in a config of heads of 16 dimensions, rope_theta
# 1e4 and max_position_embeddings 256; None takes a key away.
CASES = {
  'yarn': dict(rope_scaling=YARN),
  'yarn_type': dict(rope_scaling=dict(type='yarn', factor=4.0)),
  'yarn_both_types': dict(rope_scaling=YARN | dict(type='linear')),
  'yarn_length': dict(rope_scaling=YARN | {LENGTH: 64}),
  'yarn_outer_length': {'rope_scaling': YARN | {LENGTH: 64}, LENGTH: 32},
  'yarn_betas': dict(rope_scaling=YARN | dict(beta_fast=4, beta_slow=0.5)),
  'yarn_no_betas': dict(rope_scaling=YARN | dict(beta_fast=None, beta_slow=0)),
  'yarn_not_truncated': dict(
    rope_scaling=YARN | {'truncate': False, 'beta_fast': 3, LENGTH: 64}
  ),
  'yarn_attention_factor': dict(
    rope_scaling=YARN | dict(attention_factor=0.7, mscale=2.0)
  ),
  'yarn_mscale': dict(rope_scaling=YARN | dict(mscale=0.7)),
  'yarn_mscales': dict(
    rope_scaling=YARN | dict(mscale=0.707, mscale_all_dim=1.2)
  ),
  'yarn_mscale_of_0': dict(
    rope_scaling=YARN | dict(mscale=0.707, mscale_all_dim=0)
  ),
  'yarn_no_factor': dict(rope_scaling=YARN | {'factor': None, LENGTH: 32}),
  'yarn_shorter': dict(rope_scaling=YARN | dict(factor=0.5)),
  'yarn_theta_inside': dict(rope_scaling=YARN | dict(rope_theta=5e5)),
  'yarn_parameters': dict(
    rope_parameters=YARN | dict(rope_theta=1e6), rope_theta=None
  ),
  'scaling_before_parameters': dict(
    rope_scaling=YARN,
    rope_parameters=dict(rope_type='default', rope_theta=1e6),
  ),
  'parameters_before_theta': dict(
    rope_parameters=dict(rope_type='default', rope_theta=1e6)
  ),
  'empty_scaling': dict(
    rope_scaling={}, rope_parameters=dict(rope_type='default', rope_theta=1e6)
  ),
  'default': dict(rope_scaling=None),
  'no_theta': dict(rope_theta=None),
  'llama3': dict(rope_scaling=LLAMA3),
  'llama3_outer_length': {'rope_scaling': LLAMA3, LENGTH: 32},
  'llama3_no_length': dict(
    rope_scaling={key: LLAMA3[key] for key in LLAMA3 if key != LENGTH}
  ),
}


def config_of(changes):
  whole = hf_checkpoints.CASES['qwen3'] | dict(rope_theta=1e4) | changes
  removed = [key for key in changes if changes[key] is None]
  return {key: whole[key] for key in whole if key not in removed}


def default(config):
  """theta^(-2 i / h), for which transformers 5 has no function of its own."""
  h = config.head_dim
  return [
    config.rope_parameters['rope_theta'] ** (-i / h) for i in range(0, h, 2)
  ]


def reference(config):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'config.json'
    path.write_text(json.dumps(config))
    read = transformers.AutoConfig.from_pretrained(folder)
  kind = read.rope_parameters['rope_type']
  if kind == 'default':
    return default(read), 1.0
  frequencies, magnitude = ROPE_INIT_FUNCTIONS[kind](read)
  return frequencies.tolist(), magnitude


def main():
  golden = {}
  for name, changes in CASES.items():
    config = config_of(changes)
    frequencies, magnitude = reference(config)
    golden[name] = dict(
      config=config, frequencies=frequencies, magnitude=magnitude
    )
  golden = dict(transformers=transformers.__version__, cases=golden)
  GOLDEN.write_text(json.dumps(golden, indent=1) + '\n')
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
