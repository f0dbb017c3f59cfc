"""Files become pixels, whatever is in them, and pixels have one name each."""

import hashlib
import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from k15.vision import images
from k15.vision import references

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)


def to_file(image, kind='PNG', **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def test_a_file_without_loss_is_its_pixels():
  image = PIL.Image.fromarray(PIXELS)
  for kind in ('PNG', 'BMP', 'TIFF'):
    assert (images.decode(to_file(image, kind)) == PIXELS).all()


def test_what_is_transparent_is_white():
  pixels = np.zeros((1, 3, 4), np.uint8)
  pixels[0, 1] = 255, 0, 0, 255
  pixels[0, 2] = 0, 0, 0, 51  # a fifth of black: 255 - 51 = 204
  found = images.decode(to_file(PIL.Image.fromarray(pixels)))
  assert found.tolist() == [[[255] * 3, [255, 0, 0], [204] * 3]]


def test_a_picture_is_turned_as_its_camera_says():
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # The first row is the right side.
  data = to_file(PIL.Image.fromarray(PIXELS), exif=exif)
  assert (images.decode(data) == np.rot90(PIXELS, -1)).all()


def test_the_first_frame_of_a_moving_picture():
  frames = [PIL.Image.new('RGB', (2, 2), c) for c in ('red', 'blue')]
  data = to_file(frames[0], 'GIF', save_all=True, append_images=frames[1:])
  assert (images.decode(data) == [255, 0, 0]).all()


def test_the_digest_is_of_sides_and_bytes():
  head = b'k15 image 1|RGB|6x4|'
  expected = hashlib.sha256(head + bytes(range(72))).hexdigest()
  assert images.digest(PIXELS) == expected
  turned = PIXELS.reshape(4, 6, 3)
  assert turned.tobytes() == PIXELS.tobytes()
  assert images.digest(turned) != expected
  found = references.of_pixels(PIXELS, 'here')
  assert (found.height, found.width, found.source) == (6, 4, 'here')
  with pytest.raises(ValueError, match=r'float64 \(6, 4, 3\), not uint8'):
    images.digest(PIXELS / 255)


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
    (to_file(PIL.Image.fromarray(PIXELS))[:-30], 'no picture: '),
    (_bomb(), '(100000 x 100000 pixels|decompression bomb)'),
  ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(data, reason):
  with pytest.raises(ValueError, match=reason) as error:
    images.decode(data)
  assert '\n' not in str(error.value)


def test_a_large_file_is_not_even_opened(monkeypatch):
  monkeypatch.setattr(images, 'MAX_BYTES', 10)
  with pytest.raises(ValueError, match='11 bytes, more than 10'):
    images.decode(bytes(11))
