"""Files to pixels to patches, as Qwen2-VL's processor in transformers has them.

`make_vision_golden.py` wrote what it makes of the same pixels.
"""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from k15.vision import images

GOLDEN = np.load(pathlib.Path(__file__).with_name('vision_golden.npz'))
# As in make_vision_golden.py.
PICTURES = (
  (50, 70, 14, 2, 3136, 1 << 20),
  (30, 20, 8, 1, 256, 4096),
  (61, 47, 16, 2, 1024, 2048),
  (16, 48, 8, 1, 256, 4096),
)
TINY = images.Processor(8, 1, 256, 4096)


def pixels_of(height, width):
  return np.random.default_rng([height, width]).integers(
    0, 256, (height, width, 3), np.uint8
  )


def file_of(image, kind='PNG', **options):
  out = io.BytesIO()
  image.save(out, kind, **options)
  return out.getvalue()


def test_sizes_are_those_of_transformers():
  rows = GOLDEN['resized'].tolist()
  assert len(rows) > 250
  for height, width, factor, least, most, *expected in rows:
    processor = images.Processor(factor, 1, least, most)
    assert images.resized_size(processor, height, width) == tuple(expected)


@pytest.mark.parametrize('number', range(len(PICTURES)))
def test_patches_are_those_of_transformers(number):
  height, width, *settings = PICTURES[number]
  processor = images.Processor(*settings)
  patches, grid = images.patches(processor, pixels_of(height, width))
  np.testing.assert_array_equal(patches, GOLDEN[f'patches/{number}'])
  assert grid == tuple(GOLDEN[f'grid/{number}'])
  assert grid == images.grid(processor, height, width)
  tokens = images.num_tokens(processor, height, width)
  assert tokens == len(patches) // processor.merge_size**2


def test_halves_are_rounded_to_even_blocks():
  # 20 / 8 = 2.5 -> 2; 28 / 8 = 3.5 -> 4.
  assert images.resized_size(TINY, 20, 28) == (16, 32)


def test_long_and_empty_pictures_are_refused():
  with pytest.raises(images.BadImage, match='8 x 1608 pixels.*over 200 times'):
    images.resized_size(TINY, 8, 1608)
  with pytest.raises(images.BadImage, match='0 x 8'):
    images.resized_size(TINY, 0, 8)


def test_what_is_transparent_lies_over_white():
  image = Image.new('RGBA', (2, 1), (10, 20, 30, 255))
  image.putpixel((1, 0), (10, 20, 30, 0))
  expected = [[[10, 20, 30], [255, 255, 255]]]
  np.testing.assert_array_equal(images.decode(file_of(image)), expected)
  palette = Image.new('P', (2, 1), 0)
  palette.putpalette([0, 0, 255, 9, 9, 9])
  palette.putpixel((1, 0), 1)
  found = images.decode(file_of(palette, transparency=1))
  np.testing.assert_array_equal(found, [[[0, 0, 255], [255, 255, 255]]])


def test_a_photograph_is_turned_as_its_file_says():
  exif = Image.Exif()
  exif[0x0112] = 6  # Orientation: turn by a quarter, clockwise.
  image = Image.fromarray(pixels_of(4, 6))
  found = images.decode(file_of(image, exif=exif))
  np.testing.assert_array_equal(found, np.rot90(pixels_of(4, 6), -1))


@pytest.mark.parametrize('mode', ['L', '1', 'CMYK', 'I;16'])
def test_every_mode_has_three_channels(mode):
  image = Image.new(mode, (3, 2))
  kind = 'JPEG' if mode == 'CMYK' else 'PNG'
  assert images.decode(file_of(image, kind)).shape == (2, 3, 3)


def test_files_that_are_no_pictures_are_refused(monkeypatch):
  whole = file_of(Image.fromarray(pixels_of(40, 40)))
  for data in (b'', b'%!PS-Adobe-3.0 EPSF-3.0\n', whole[:400]):
    with pytest.raises(images.BadImage, match='cannot be read'):
      images.decode(data)
  monkeypatch.setattr(images, 'MOST_PIXELS', 1599)
  with pytest.raises(images.BadImage, match='40 x 40 pixels has more than'):
    images.decode(whole)


def test_the_digest_knows_size_and_pixels():
  pixels = np.zeros((4, 6, 3), np.uint8)
  # sha256(b'k15 image 1|RGB|4x6|' + bytes(72))
  assert images.digest(pixels).startswith('bfe76ff1e50148ef')
  others = [pixels.reshape(6, 4, 3), pixels + np.uint8(1)]
  assert len({images.digest(x) for x in [pixels, *others]}) == 3
  # In whatever order the pixels lie in memory.
  turned = np.asfortranarray(pixels_of(4, 6))
  assert images.digest(turned) == images.digest(pixels_of(4, 6))
  for wrong in (pixels[..., :2], pixels.astype(np.float32)):
    with pytest.raises(images.BadImage, match='pixels are uint8'):
      images.digest(wrong)


def test_features_are_named_by_their_settings_too():
  other = images.Processor(8, 1, 256, 2048)
  assert images.feature_key(TINY, 'd') != images.feature_key(other, 'd')
