"""Writes moonvit_golden.npz: a small random MoonViT and what it sees.

Run where torch and transformers are installed: python
tests/model/make_moonvit_golden.py
"""

import pathlib

import numpy as np
import torch
from transformers.models.kimi_k25 import modeling_kimi_k25 as kimi

GOLDEN = pathlib.Path(__file__).with_name('moonvit_golden.npz')
GRIDS, PATCH = ((6, 4), (2, 8)), 2
WIDTH, OUT = 16, 24


def main():
  vision = kimi.Kimi_K25VisionConfig(
    patch_size=PATCH, pos_emb_height=5, pos_emb_width=5,
    num_attention_heads=2, num_hidden_layers=2, hidden_size=WIDTH,
    intermediate_size=20, merge_kernel_size=[2, 2],
  )  # fmt: skip
  vision._attn_implementation = 'eager'
  whole = kimi.Kimi_K25Config(
    vision_config=vision,
    projection_hidden_size=WIDTH,
    text_config=dict(
      model_type='qwen3', hidden_size=OUT, num_hidden_layers=1,
      intermediate_size=8, num_attention_heads=2, vocab_size=32,
    ),
  )  # fmt: skip
  tower = kimi.Kimi_K25VisionModel(whole.vision_config).eval()
  projector = kimi.Kimi_K25MultimodalProjection(whole).eval()
  rng = np.random.default_rng(0)
  arrays = {}
  for part, module in (('tower', tower), ('projector', projector)):
    for name, x in module.named_parameters():
      drawn = rng.normal(0, 0.2, x.shape).astype(np.float32)
      is_scale = 'norm' in name and name.endswith('weight')
      x.data = torch.from_numpy(drawn + np.float32(is_scale))
      arrays[f'{part}.{name}'] = x.detach().numpy()
  pixels = [
    rng.integers(0, 256, (rows * PATCH, columns * PATCH, 3), np.uint8)
    for rows, columns in GRIDS
  ]
  patches = [(x.astype(np.float32) / 255 - 0.5) / 0.5 for x in pixels]
  patches = [
    x.reshape(rows, PATCH, columns, PATCH, 3)
    .transpose(0, 2, 4, 1, 3)
    .reshape(rows * columns, 3, PATCH, PATCH)
    for x, (rows, columns) in zip(patches, GRIDS, strict=True)
  ]
  grids = torch.tensor([(1, *grid) for grid in GRIDS])
  with torch.no_grad():
    seen = tower(torch.from_numpy(np.concatenate(patches)), grid_thw=grids)
    arrays['features'] = projector(seen.pooler_output)[:, 0].numpy()
  for i, x in enumerate(pixels):
    arrays[f'pixels/{i}'] = x
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')
  print({name: x.shape for name, x in arrays.items()})


if __name__ == '__main__':
  main()
