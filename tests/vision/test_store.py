"""Pictures on disk: once each, whole or not at all, and what they were."""

import json

import numpy as np
import pytest

from k15.data_types import ImageRef
from k15.vision import images
from k15.vision import store


def pixels_of(height, width, seed=0):
  rng = np.random.default_rng([height, width, seed])
  return rng.integers(0, 256, (height, width, 3), np.uint8)


PIXELS = [pixels_of(4, 6), pixels_of(6, 4), pixels_of(4, 6), pixels_of(2, 2, 1)]


def write(directory):
  return store.write(
    directory, ((x, f'drawn {i}') for i, x in enumerate(PIXELS))
  )


def test_what_is_stored_comes_back_once_each(tmp_path):
  refs = write(tmp_path / 'images')
  kept = store.ImageStore(tmp_path / 'images')
  assert len(kept) == 3 and refs[0] == refs[2]
  assert refs[2].source == 'drawn 0'
  for ref, pixels in zip(refs, PIXELS, strict=True):
    np.testing.assert_array_equal(kept[ref.digest], pixels)
    assert ref == kept.refs[ref.digest]
    assert (ref.height, ref.width) == pixels.shape[:2]
  assert (tmp_path / 'images' / 'pixels.bin').stat().st_size == 72 + 72 + 12
  kept.verify()


def test_a_picture_that_is_not_there_is_named(tmp_path):
  write(tmp_path / 'images')
  kept = store.ImageStore(tmp_path / 'images')
  with pytest.raises(images.BadImage, match='has no picture f00'):
    kept.check(['f00'])


def test_a_store_is_replaced_whole_or_not_at_all(tmp_path):
  write(tmp_path / 'images')

  def cut():
    yield PIXELS[0], 'first'
    raise OSError('killed')

  with pytest.raises(OSError, match='killed'):
    store.write(tmp_path / 'images', cut())
  assert len(store.ImageStore(tmp_path / 'images')) == 3
  assert store.write(tmp_path / 'images', [(PIXELS[3], 'last')])
  assert len(store.ImageStore(tmp_path / 'images')) == 1
  store.write(tmp_path / 'images', [])
  assert len(store.ImageStore(tmp_path / 'images')) == 0


def test_a_store_that_was_changed_is_refused(tmp_path):
  directory = tmp_path / 'images'
  with pytest.raises(images.BadImage, match='holds no pictures'):
    store.ImageStore(directory)
  (ref, *_) = write(directory)
  content = bytearray((directory / 'pixels.bin').read_bytes())
  content[5] ^= 1
  (directory / 'pixels.bin').write_bytes(content)
  with pytest.raises(images.BadImage, match=f'{ref.digest} has become'):
    store.ImageStore(directory).verify()
  (directory / 'pixels.bin').write_bytes(content[:-1])
  with pytest.raises(images.BadImage, match='155 bytes, and its index 156'):
    store.ImageStore(directory)
  index = json.loads((directory / 'index.json').read_text())
  (directory / 'index.json').write_text(json.dumps(index | dict(format=9)))
  with pytest.raises(images.BadImage, match='of format 1'):
    store.ImageStore(directory)


def test_a_picture_drawn_otherwise_stops_the_run():
  ref = ImageRef(images.digest(PIXELS[0]), 4, 6, 'scenes 7')
  store.check_same(ref, PIXELS[0])
  with pytest.raises(images.BadImage, match='scenes 7 now shows'):
    store.check_same(ref, PIXELS[1])
