"""Conversations about small pictures, and a run of a tiny policy that sees."""

import base64
import io

import numpy as np
import PIL.Image
import small_run

from k15.vision import images

# What a run of `small_run` needs to see; patches of 8 pixels are a token each.
SEEING = dict(
  vision__enabled=True,
  vision__num_layers=1,
  vision__width=8,
  vision__num_heads=2,
  vision__d_ff=16,
  vision__mrope_section=(2, 1, 1),
  vision__min_pixels=64,
  vision__max_pixels=4096,
  vision__patch_buckets=(4, 16),
  vision__row_patches=32,
)


def pixels_of(rows=1, columns=2, shade=0):
  """Of so many tokens, a picture of its own for each shade."""
  pixels = np.full((8 * rows, 8 * columns, 3), 40, np.uint8)
  pixels[:, :8] = shade
  return pixels


def png(*shape, **settings):
  """The bytes of such a picture's file."""
  file = io.BytesIO()
  PIL.Image.fromarray(pixels_of(*shape, **settings)).save(file, 'PNG')
  return file.getvalue()


def url(*shape, **settings):
  """The same as a data URL."""
  data = base64.b64encode(png(*shape, **settings)).decode()
  return f'data:image/png;base64,{data}'


def digest(*shape, **settings):
  """Its name."""
  return images.digest(pixels_of(*shape, **settings))


def make_context(folder, **changes):
  """Of `small_run`, of a policy that sees."""
  return small_run.make_context(folder, **SEEING | changes)
