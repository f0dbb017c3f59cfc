"""Files to pixels to patches, as Qwen2-VL's processor in transformers has them.

`make_vision_golden.py` wrote what it makes of the same pixels, and Idefics3's.
"""

import hashlib
import io
import pathlib
import struct
import zlib

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


def test_squares_are_those_of_transformers():
  for height, width, longest, side, *expected in GOLDEN['squared'].tolist():
    processor = images.Processor(side, 1, 1, 1, side, longest)
    patches, grid = images.patches(processor, pixels_of(height, width))
    assert (grid, images.num_tokens(processor, height, width)) == ((1, 1), 1)
    digest = hashlib.sha256(patches.tobytes()).digest()
    assert [int.from_bytes(digest[:7])] == expected, (height, width)


def test_what_is_left_over_of_a_square_is_not_seen():
  processor = images.Processor(4, 1, 1, 1, 10, 10)
  whole, grid = images.patches(processor, pixels_of(10, 10))
  assert grid == (2, 2)
  expected = pixels_of(10, 10)[4:8, :4].transpose(2, 0, 1)
  np.testing.assert_array_equal(whole[2].reshape(3, 4, 4), expected)


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


def test_the_first_frame_of_a_moving_picture():
  frames = [Image.new('RGB', (2, 2), c) for c in ('red', 'blue')]
  data = file_of(frames[0], 'GIF', save_all=True, append_images=frames[1:])
  assert (images.decode(data) == [255, 0, 0]).all()


def _bomb():
  """A PNG of a few bytes that says it has 100,000 x 100,000 pixels."""

  def chunk(name, data):
    crc = struct.pack('>I', zlib.crc32(name + data))
    return struct.pack('>I', len(data)) + name + data + crc

  header = struct.pack('>IIBBBBB', 100_000, 100_000, 8, 2, 0, 0, 0)
  parts = chunk(b'IHDR', header), chunk(b'IDAT', zlib.compress(b'\0'))
  return b'\x89PNG\r\n\x1a\n' + b''.join(parts) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
  'data, reason',
  [
    (b'', 'no picture: UnidentifiedImageError'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'UnidentifiedImageError'),
    # PostScript would be handed to a program.
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'Unidentified'),
    (file_of(Image.fromarray(pixels_of(6, 4)))[:-30], 'no picture: '),
    (_bomb(), '(100000 x 100000 pixels|decompression bomb)'),
  ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(data, reason):
  with pytest.raises(ValueError, match=reason) as error:
    images.decode(data)
  assert '\n' not in str(error.value)


def test_a_large_file_is_not_even_opened(monkeypatch):
  monkeypatch.setattr(images, 'MOST_BYTES', 10)
  with pytest.raises(ValueError, match='11 bytes, more than 10'):
    images.decode(bytes(11))


def test_a_picture_may_be_too_large(monkeypatch):
  monkeypatch.setattr(images, 'MOST_PIXELS', 1599)
  with pytest.raises(images.BadImage, match='40 x 40 pixels, more than 1599'):
    images.decode(file_of(Image.fromarray(pixels_of(40, 40))))


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
