"""Pictures by name: pixels become a reference, and go to whoever keeps them."""

from collections.abc import Callable

import numpy as np

from k15.data_types import ImageRef
from k15.vision import images

MARK = '<image>'  # in a prompt, where a picture stands

# What keeps pixels, uint8 [H, W, 3]: a store, or nothing.
Keep = Callable[[ImageRef, np.ndarray], None]


def of_pixels(pixels: np.ndarray, source: str) -> ImageRef:
  """By which a problem names its picture; `source` says where it came from."""
  height, width, _ = pixels.shape
  return ImageRef(images.digest(pixels), height, width, source)


def forget(image: ImageRef, pixels: np.ndarray) -> None:
  """A `Keep` that keeps nothing: the reference alone is of use."""
  del image, pixels
