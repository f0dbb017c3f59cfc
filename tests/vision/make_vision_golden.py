"""Writes vision_golden.npz: sizes, patches and positions of transformers.

Run where torch, transformers and Pillow are installed: python
tests/vision/make_vision_golden.py
"""

import hashlib
import pathlib

import numpy as np
import torch
from transformers import Qwen3VLConfig
from transformers import Qwen3VLModel
from transformers.models.idefics3.image_processing_pil_idefics3 import (
  Idefics3ImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
  Qwen2VLImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
  smart_resize,
)

GOLDEN = pathlib.Path(__file__).with_name('vision_golden.npz')
# Height, width, patch, merge, least and most pixels.
PICTURES = (
  (50, 70, 14, 2, 3136, 1 << 20),
  (30, 20, 8, 1, 256, 4096),
  (61, 47, 16, 2, 1024, 2048),
  (16, 48, 8, 1, 256, 4096),
)
# Rows and columns of patches of the pictures of a row, with merge 2; between
# them stand so many tokens of text.
GRIDS = ((4, 6), (2, 2), (8, 4))
TEXTS = (3, 1, 2, 5)


def pixels(height, width):
  return np.random.default_rng([height, width]).integers(
    0, 256, (height, width, 3), np.uint8
  )


def resized():
  """int64 [300, 7]: height, width, factor, least, most; height, width."""
  rng, rows = np.random.default_rng(0), []
  for _ in range(300):
    height, width = np.exp(rng.uniform(1, 8, 2)).astype(int).tolist()
    factor = int(rng.choice([8, 16, 28, 32]))
    least = int(rng.choice([256, 3136, 65536]))
    most = least * int(rng.choice([4, 16, 256]))
    if max(height, width) <= 200 * min(height, width):
      new = smart_resize(height, width, factor, least, most)
      rows.append((height, width, factor, least, most, *new))
  return np.array(rows)


def cut(height, width, patch, merge, least, most):
  """uint8 [n, 3 p p], and rows and columns."""
  processor = Qwen2VLImageProcessorPil(
    patch_size=patch, merge_size=merge, temporal_patch_size=2,
    size=dict(shortest_edge=least, longest_edge=most),
  )  # fmt: skip
  out = processor(images=[pixels(height, width)], return_tensors='np')
  mean, std = (
    np.array(x, np.float64).reshape(3, 1)
    for x in (processor.image_mean, processor.image_std)
  )
  values = out['pixel_values'].reshape(-1, 3, 2, patch * patch)
  assert (values[:, :, 0] == values[:, :, 1]).all()
  values = (values[:, :, 0] * std + mean) * 255
  whole = np.round(values)
  assert np.abs(values - whole).max() < 1e-3
  whole = whole.astype(np.uint8).reshape(len(whole), -1)
  return whole, out['image_grid_thw'][0, 1:]


def squared():
  """int64 [60, 5]: height, width, longest, square; 7 bytes of a SHA-256.

  It is that of the picture, channel, row and column, once it is the square.
  """
  rng, rows = np.random.default_rng(1), []
  for _ in range(60):
    height, width = np.exp(rng.uniform(2, 6, 2)).astype(int).tolist()
    longest, square = int(rng.integers(20, 90)), int(rng.integers(8, 50))
    processor = Idefics3ImageProcessorPil(
      size=dict(longest_edge=longest), do_image_splitting=False,
      max_image_size=dict(longest_edge=square),
    )  # fmt: skip
    out = processor(images=[pixels(height, width)], return_tensors='np')
    values = (out['pixel_values'][0, 0].astype(np.float64) * 0.5 + 0.5) * 255
    whole = np.round(values)
    assert np.abs(values - whole).max() < 1e-3
    digest = hashlib.sha256(whole.astype(np.uint8).tobytes()).digest()[:7]
    rows.append((height, width, longest, square, int.from_bytes(digest)))
  return np.array(rows)


def positions():
  """int64 [T] types, int64 [T, 3] positions, delta."""
  vision = dict(
    depth=1, hidden_size=16, intermediate_size=16, num_heads=2, patch_size=8,
    out_hidden_size=16, num_position_embeddings=16,
    deepstack_visual_indexes=[],
  )  # fmt: skip
  text = dict(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=1, num_key_value_heads=1, head_dim=16,
    rope_parameters=dict(
      rope_type='default', rope_theta=1e4, mrope_section=[3, 3, 2]
    ),
  )  # fmt: skip
  model = Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision))
  kinds = [0] * TEXTS[0]
  for (rows, columns), count in zip(GRIDS, TEXTS[1:], strict=True):
    kinds += [1] * (rows * columns // 4) + [0] * count
  kinds = torch.tensor([kinds])
  grids = torch.tensor([(1, *grid) for grid in GRIDS])
  found, delta = model.get_rope_index(kinds, kinds, image_grid_thw=grids)
  return kinds[0].numpy(), found[:, 0].numpy().T, delta[0].numpy()


def main():
  arrays = dict(resized=resized(), squared=squared())
  for i, picture in enumerate(PICTURES):
    arrays[f'patches/{i}'], arrays[f'grid/{i}'] = cut(*picture)
  arrays['kinds'], arrays['positions'], arrays['delta'] = positions()
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
