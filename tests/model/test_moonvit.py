"""The tower of Kimi-VL against transformers, which has it in Kimi K2.5.

`make_moonvit_golden.py` drew the weights and wrote what it sees.
"""

import dataclasses
import pathlib

import flax.linen as nn
import jax
import numpy as np
import pytest

from k15.checkpoints import hf_config
from k15.model import policy
from k15.model import tower
from k15.vision import images
from k15.vision import positions
from k15.vision import rows

GOLDEN = np.load(pathlib.Path(__file__).with_name('moonvit_golden.npz'))
VISION = tower.VisionConfig(
  num_layers=2, width=16, num_heads=2, d_ff=20, patch_size=2, merge_size=2,
  temporal_size=1, norm='layer', mlp='gelu_tanh', grid=5, between='bicubic',
  alternates=True, final_norm=True, eps=1e-5, image_id=7,
)  # fmt: skip
CONFIG = policy.PolicyConfig(
  vocab_size=8, num_layers=1, d_model=24, num_heads=2, num_kv_heads=1,
  head_dim=8, d_ff=16, vision=VISION,
)  # fmt: skip
LINEAR = {'up_proj': 'mlp.fc1', 'down_proj': 'mlp.fc2', 'proj': 'attn.proj'}


def params():
  """The golden weights as parameters of the tower."""

  def linear(name, theirs):
    kernel, bias = GOLDEN[f'{theirs}.weight'].T, GOLDEN[f'{theirs}.bias']
    return {name: kernel, f'{name}_bias': bias}

  def norm(theirs):
    return dict(scale=GOLDEN[f'{theirs}.weight'], bias=GOLDEN[f'{theirs}.bias'])

  made = dict(
    patch=GOLDEN['tower.patch_embed.proj.weight'][:, :, None],
    patch_bias=GOLDEN['tower.patch_embed.proj.bias'],
    places=GOLDEN['tower.patch_embed.pos_emb.position_embeddings'].reshape(
      25, 16
    ),
    norm=norm('tower.final_layernorm'),
    merger=dict(norm=norm('projector.pre_norm'))
    | linear('up_proj', 'projector.in_proj')
    | linear('down_proj', 'projector.out_proj'),
  )
  for i in range(2):
    at = f'tower.layers.{i}'
    block = {name: norm(f'{at}.{name}') for name in ('norm1', 'norm2')}
    parts = [linear(x, f'{at}.attn.{x}_proj') for x in 'qkv']
    block['qkv'] = np.stack([p[x] for p, x in zip(parts, 'qkv', strict=True)])
    block['qkv_bias'] = np.stack(
      [p[f'{x}_bias'] for p, x in zip(parts, 'qkv', strict=True)]
    )
    for name, theirs in LINEAR.items():
      block |= linear(name, f'{at}.{theirs}')
    made[f'layer_{i}'] = block
  return made


def test_features_are_those_of_transformers():
  own = params()
  boxed = policy.boxed(CONFIG)
  shapes = jax.tree.map(lambda x: x.shape, nn.unbox(boxed)['vision'])
  assert jax.tree.map(lambda x: x.shape, own) == shapes
  processor = images.Processor(2, 2, 1, 1 << 20)
  pictures = [GOLDEN['pixels/0'], GOLDEN['pixels/1']]
  counts = [images.num_tokens(processor, *x.shape[:2]) for x in pictures]
  tokens = positions.expand(np.array([7, 1, 7]), 7, counts)
  row = rows.row_of(processor, tokens, 7, pictures, 44)
  seen = jax.tree.map(lambda x: x[None], row)
  found = jax.jit(policy.encode, static_argnums=0)(
    CONFIG, dict(vision=own), seen
  )
  used = found.merged[0, : sum(counts)]
  np.testing.assert_allclose(used, GOLDEN['features'], atol=2e-5)


def test_it_is_written_as_no_other_model():
  sees = dataclasses.replace(
    CONFIG, mrope_section=(2, 1, 1), mrope_interleaved=True, banned_ids=(7,)
  )
  with pytest.raises(ValueError, match='no architecture has the vision'):
    hf_config.to_json(sees, hf_config.Generation(8), 'float32')
