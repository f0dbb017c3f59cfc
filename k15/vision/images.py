"""Pictures as arrays: bytes of a file to pixels, and pixels to patches.

The rules are those of Qwen2-VL's processor (transformers,
image_processing_pil_qwen2_vl.py), which Qwen2.5-VL and Qwen3-VL share: a
picture is resized so that whole blocks of merge x merge patches cover it, and
its patches come block by block.  Or every picture becomes one square, as with
Idefics3's (image_processing_pil_idefics3.py).  Patches stay bytes; the tower
normalizes them, so that a batch holds a quarter of what float32 would take, and
no frame twice.

Axes: h, w pixels of a picture; n patches, each of 3 p p numbers (channel, row,
column), p pixels wide.
"""

import dataclasses
import hashlib
import io
import math
import warnings

import numpy as np
import PIL
from PIL import Image
from PIL import ImageOps

FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF')
MOST_BYTES = 64 << 20  # of a file
# A file of some kilobytes may claim any size; Pillow alone would only warn.
MOST_PIXELS = 1 << 26
MOST_ASPECT = 200  # longer side over shorter one, as the processors have it


class BadImage(ValueError):
  """A picture that cannot be read or used: a sentence."""


@dataclasses.dataclass(frozen=True)
class Processor:
  """How pixels become patches.

  Attributes:
    patch_size: p, pixels of a patch's side.
    merge_size: patches of a block's side; a block makes one token.
    min_pixels, max_pixels: of a picture once it is resized.
    square: pixels of the side of a square that every picture becomes, by
      Lanczos and not by a bicubic filter; 0: its shape is kept.
    longest: pixels of its longer side before it becomes that square.
  """

  patch_size: int
  merge_size: int
  min_pixels: int
  max_pixels: int
  square: int = 0
  longest: int = 0

  @property
  def block(self) -> int:
    """Pixels of a block's side."""
    return self.patch_size * self.merge_size


def decode(data: bytes, most_pixels: int = 0) -> np.ndarray:
  """Pixels of a file: turned as EXIF says, what is transparent over white.

  Of several frames the first is taken.

  Args:
    data: a file of one of FORMATS.
    most_pixels: of it, where that is less than MOST_PIXELS; 0: no less.

  Returns:
    uint8 [h, w, 3], RGB.

  Raises:
    BadImage: it is no such file, or has over MOST_BYTES or `most_pixels`.
  """
  most_pixels = most_pixels or MOST_PIXELS
  if len(data) > MOST_BYTES:
    raise BadImage(f'no picture: {len(data)} bytes, more than {MOST_BYTES}')
  try:
    with warnings.catch_warnings():
      # The bound is below; and what else Pillow wonders at is no news here.
      warnings.simplefilter('ignore')
      # Only these: other readers of Pillow start programs or follow paths.
      with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > most_pixels:
          raise BadImage(
            f'{image.height} x {image.width} pixels, more than {most_pixels} in'
            ' all'
          )
        return _over_white(ImageOps.exif_transpose(image))
  except BadImage as error:
    raise BadImage(f'no picture: {error}') from None
  except Exception as error:  # Whatever a hostile file makes a decoder raise.
    raise BadImage(f'no picture: {type(error).__name__}: {error}') from None


def _over_white(image):
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return np.array(image.convert('RGB'))


def digest(pixels: np.ndarray) -> str:
  """SHA-256 of what a picture shows: its size and its pixels.

  Without the size, six by four pixels would be four by six.

  Args:
    pixels: uint8 [h, w, 3].
  """
  height, width = _size(pixels)
  header = f'k15 image 1|RGB|{height}x{width}|'.encode()
  return hashlib.sha256(header + pixels.tobytes()).hexdigest()


def resized_size(
  processor: Processor, height: int, width: int
) -> tuple[int, int]:
  """Pixels of the sides once resized: whole blocks, as near as they can be.

  Each side is rounded to blocks, halves to even; where that has too many or too
  few pixels, both are scaled by one factor and rounded down or up.

  Args:
    processor: says of what size.
    height, width: of the picture, in pixels.

  Raises:
    BadImage: one side is over MOST_ASPECT times the other.
  """
  if not (height > 0 and width > 0):
    raise BadImage(f'a picture of {height} x {width} pixels has none')
  if max(height, width) > MOST_ASPECT * min(height, width):
    raise BadImage(
      f'a picture of {height} x {width} pixels: one side is over'
      f' {MOST_ASPECT} times the other'
    )
  if processor.square:
    return processor.square, processor.square
  block = processor.block
  least, most = processor.min_pixels, processor.max_pixels
  sides = [round(side / block) * block for side in (height, width)]
  if sides[0] * sides[1] > most:
    beta = math.sqrt(height * width / most)
    sides = [
      max(block, math.floor(side / beta / block) * block)
      for side in (height, width)
    ]
  elif sides[0] * sides[1] < least:
    beta = math.sqrt(least / (height * width))
    sides = [math.ceil(side * beta / block) * block for side in (height, width)]
  return sides[0], sides[1]


def grid(processor: Processor, height: int, width: int) -> tuple[int, int]:
  """Rows and columns of patches of a picture of so many pixels."""
  sides = resized_size(processor, height, width)
  return sides[0] // processor.patch_size, sides[1] // processor.patch_size


def num_tokens(processor: Processor, height: int, width: int) -> int:
  """Tokens that such a picture takes in a prompt, one a block."""
  rows, columns = grid(processor, height, width)
  return rows * columns // processor.merge_size**2


def patches(
  processor: Processor, pixels: np.ndarray
) -> tuple[np.ndarray, tuple[int, int]]:
  """Resizes a picture and cuts it up, block by block.

  Args:
    processor: says how.
    pixels: uint8 [h, w, 3].

  Returns:
    uint8 [n, 3 p p], and the rows and columns of patches.
  """
  height, width = resized_size(processor, *_size(pixels))
  by = Image.Resampling.BICUBIC
  if processor.square:
    by = Image.Resampling.LANCZOS
    pixels = _resized(pixels, *_even(processor.longest, *pixels.shape[:2]), by)
  pixels = _resized(pixels, height, width, by)
  p, m = processor.patch_size, processor.merge_size
  rows, columns = height // p, width // p
  pixels = pixels[: rows * p, : columns * p]  # A square may have some over.
  cut = pixels.reshape(rows // m, m, p, columns // m, m, p, 3)
  # Block row, block column, row and column in it; channel, pixels.
  cut = cut.transpose(0, 3, 1, 4, 6, 2, 5)
  return cut.reshape(rows * columns, 3 * p * p), (rows, columns)


def _resized(pixels, height, width, by):
  if (height, width) == pixels.shape[:2]:
    return pixels
  return np.asarray(Image.fromarray(pixels).resize((width, height), by))


def _even(longest, height, width):
  """Sides of which the longer one is `longest`, and the other one is even."""
  aspect = width / height
  if width >= height:
    other = int(longest / aspect)
    return max(other + other % 2, 1), longest
  other = int(longest * aspect)
  return longest, max(other + other % 2, 1)


def feature_key(processor: Processor, image_digest: str) -> str:
  """Names what a tower makes of a picture: settings that change it, and Pillow.

  They belong here and not to the digest: one picture has many features.
  """
  return f'{image_digest}|{processor}|Pillow {PIL.__version__}'


def _size(pixels):
  if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
    raise BadImage(
      f'pixels are uint8 [h, w, 3], not {pixels.dtype} {list(pixels.shape)}'
    )
  return pixels.shape[:2]
