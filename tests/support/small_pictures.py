"""Requests with pictures for the tiny policies of `small_tower`."""

import numpy as np
import small_tower

from k15.data_types import ImageRef
from k15.rollout import slots
from k15.rollout.requests import Request
from k15.vision import images
from k15.vision import positions
from k15.vision.sight import Sight

NUM_PATCHES = 24


class Shelf(dict):
  """Pixels by digest, in memory."""

  def check(self, digests):
    for digest in digests:
      if digest not in self:
        raise images.BadImage(f'the shelf has no picture {digest}')

  def add(self, rows, columns, seed=0, name='deep'):
    """The reference of a picture of so many features."""
    config = small_tower.config_of(name)
    pixels = small_tower.picture(config, rows, columns, seed)
    digest = images.digest(pixels)
    self[digest] = pixels
    return ImageRef(digest, *pixels.shape[:2], 'a test')


def sight_of(config):
  v = config.vision
  return Sight(
    processor=images.Processor(v.patch_size, v.merge_size, 1, 1 << 20),
    image_id=v.image_id,
    patch_buckets=(8, NUM_PATCHES),
    banned_ids=config.banned_ids,
  )


def make_decoder(name='deep', **changes):
  config = small_tower.config_of(name)
  settings = dict(
    num_slots=4, columns=small_tower.LENGTH, tokens_per_call=4,
    prefill_batch=2, eos_ids=(99,), sight=sight_of(config),
  )  # fmt: skip
  return slots.SlotDecoder(config, **settings | changes)


def expand(sight, tokens, images):
  counts = list(map(sight.num_tokens, images))
  return positions.expand(tokens.astype(np.int32), sight.image_id, counts)


def request(*images, sample_index=0, before=3, after=4, seed=0, **changes):
  """Words, the pictures and words again; equal words for an equal seed."""
  sight = sight_of(small_tower.config_of('deep'))
  rng = np.random.default_rng([before, after, seed])
  words = rng.integers(0, 59, before + after)
  marks = np.full(len(images), small_tower.IMAGE)
  tokens = np.concatenate([words[:before], marks, words[before:]])
  settings = dict(
    group_id=1, sample_index=sample_index,
    prompt=expand(sight, tokens, images),
    response=np.zeros(0, np.int32), budget=12, seed=5, images=images,
  )  # fmt: skip
  return Request(**settings | changes)
