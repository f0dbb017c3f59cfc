"""One tiny policy that sees, with each kind of tower, and rows for it."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from k15.model import policy
from k15.model import tower
from k15.vision import images as images_lib
from k15.vision import rows as rows_lib

IMAGE, VIDEO = 60, 61
# Three blocks, merge 2, features behind two of them; each family has its own.
DEEP = tower.VisionConfig(
  num_layers=3, width=32, num_heads=2, d_ff=40, patch_size=2, merge_size=2,
  temporal_size=2, norm='layer', mlp='gelu_tanh', grid=4, deepstack=(0, 2),
  image_id=IMAGE, video_id=VIDEO,
)  # fmt: skip
WINDOWS = dataclasses.replace(
  DEEP, norm='rms', mlp='swiglu', grid=0, deepstack=(), window=1,
  full_layers=(1,),
)  # fmt: skip
TINY = dataclasses.replace(
  DEEP, merge_size=1, temporal_size=1, deepstack=(), mlp='quick_gelu'
)
CONFIG = policy.PolicyConfig(
  vocab_size=64, num_layers=3, d_model=32, num_heads=4, num_kv_heads=2,
  head_dim=8, d_ff=48, vision=DEEP, mrope_section=(2, 1, 1),
  mrope_interleaved=True, banned_ids=(IMAGE, VIDEO),
)  # fmt: skip
TOWERS = {'deep': DEEP, 'windows': WINDOWS, 'tiny': TINY}
LENGTH, NUM_PATCHES = 40, 48


def config_of(name, **changes):
  return dataclasses.replace(CONFIG, vision=TOWERS[name], **changes)


def random_params(config, seed=1, std=0.2):
  """Random in every leaf: at init biases are 0 and scales 1, hiding bugs."""
  boxed = policy.boxed(config)
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    values = rng.normal(0, std, leaf.shape).astype(np.float32)
    return values + (path[-1].key == 'scale')

  return jax.tree_util.tree_map_with_path(draw, nn.unbox(boxed))


def picture(config, rows, columns, seed=0):
  """Pixels of so many features."""
  v = config.vision
  side = v.patch_size * v.merge_size
  rng = np.random.default_rng([rows, columns, seed])
  size = (rows * side, columns * side, 3)
  return rng.integers(0, 256, size, np.uint8)


def sequence(before, rows, columns, after, seed=0):
  rng = np.random.default_rng([before, after, seed])
  words = rng.integers(0, 60, before + after).astype(np.int32)
  middle = np.full(rows * columns, IMAGE, np.int32)
  return np.concatenate([words[:before], middle, words[before:]])


def row_of(config, sequences, pictures):
  """Tokens, columns, segment ids and `Images` of a packed row, [1, ...]."""
  v = config.vision
  processor = images_lib.Processor(v.patch_size, v.merge_size, 1, 1 << 20)
  arrays = np.zeros((3, 1, LENGTH), np.int32)
  positions, start = np.zeros((LENGTH, 3), np.int32), 0
  for i, (tokens, seen) in enumerate(zip(sequences, pictures, strict=True)):
    here = slice(start, start + len(tokens))
    arrays[0, 0, here] = tokens
    arrays[1, 0, here] = np.arange(len(tokens))
    arrays[2, 0, here] = i + 1
    # Every sequence counts from 0; the row's features are in order.
    own = rows_lib.row_of(processor, tokens, IMAGE, seen, NUM_PATCHES)
    positions[here] = own.positions
    start += len(tokens)
  whole = [x for seen in pictures for x in seen]
  joined = np.concatenate(sequences)
  images = rows_lib.row_of(processor, joined, IMAGE, whole, NUM_PATCHES)
  index = np.full(LENGTH, -1, np.int32)
  index[:start] = images.index
  images = images.replace(index=index, positions=positions)
  return *arrays, jax.tree.map(lambda x: jnp.asarray(x[None]), images)
