"""Pictures from files to pixels, and the hash by which they are known.

Pixels are uint8 [H, W, 3], red, green, blue.  Files come from anywhere: only
common formats are opened, and none that would grow beyond a bound.
"""

import hashlib
import io
import warnings

import numpy as np
import PIL.Image
import PIL.ImageOps

FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF')
MAX_BYTES = 64 << 20  # of a file
MAX_PIXELS = 64 << 20  # 8192 x 8192: 192 MiB of pixels


def decode(data: bytes) -> np.ndarray:
  """uint8 [H, W, 3] of a file: turned as its EXIF says, transparency on white.

  Of a moving picture, the first frame.

  Raises:
    ValueError: too large, in another format, or broken.
  """
  if len(data) > MAX_BYTES:
    raise ValueError(f'{len(data)} bytes, more than {MAX_BYTES}')
  try:
    with warnings.catch_warnings():
      # The bound is below; and what else Pillow wonders at is no news here.
      warnings.simplefilter('ignore')
      with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
        height, width = image.height, image.width
        if height * width > MAX_PIXELS:
          raise ValueError(
            f'{height} x {width} pixels, more than {MAX_PIXELS} in all'
          )
        return _on_white(PIL.ImageOps.exif_transpose(image))
  except ValueError as error:
    raise ValueError(f'no picture: {error}') from None
  except Exception as error:  # Whatever a hostile file makes a decoder raise.
    raise ValueError(f'no picture: {type(error).__name__}: {error}') from None


def _on_white(image):
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = PIL.Image.new('RGBA', image.size, 'white')
    image = PIL.Image.alpha_composite(white, image)
  return np.array(image.convert('RGB'))


def digest(pixels: np.ndarray) -> str:
  """64 hexadecimal digits, of uint8 [H, W, 3].

  The sides belong to it: the bytes of 6 x 4 and of 4 x 6 may be the same.
  """
  if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
    raise ValueError(f'{pixels.dtype} {pixels.shape}, not uint8 [H, W, 3]')
  height, width, _ = pixels.shape
  head = f'k15 image 1|RGB|{height}x{width}|'.encode()
  return hashlib.sha256(head + pixels.tobytes()).hexdigest()
