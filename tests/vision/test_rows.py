"""Rows of patches: where each lies, and what stands for a token."""

import numpy as np
import pytest

from k15.vision import images
from k15.vision import positions
from k15.vision import rows

IMAGE = 9
PROCESSOR = images.Processor(2, 2, 16, 4096)


def test_places_go_block_by_block():
  expected = [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [0, 3], [1, 2], [1, 3]]
  np.testing.assert_array_equal(rows.places((2, 4), 2), expected)
  raster = np.indices((2, 3)).reshape(2, -1).T
  np.testing.assert_array_equal(rows.places((2, 3), 1), raster)


def test_a_row_holds_its_pictures_in_order():
  first, second = np.zeros((4, 8, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
  tokens = np.array([5, 9, 9, 5, 9, 5, 5], np.int32)
  row = rows.row_of(PROCESSOR, tokens, IMAGE, [first, second], 16)
  np.testing.assert_array_equal(row.numbers, [1] * 8 + [2] * 4 + [0] * 4)
  np.testing.assert_array_equal(row.index, [-1, 0, 1, -1, 2, -1, -1])
  np.testing.assert_array_equal(row.sizes[:8], [[2, 4]] * 8)
  np.testing.assert_array_equal(row.sizes[12:], 1)
  np.testing.assert_array_equal(row.patches[8:12], 1)
  np.testing.assert_array_equal(row.places[8:12], rows.places((2, 2), 2))
  expected, _ = positions.rotary(tokens, IMAGE, [(1, 2), (1, 1)])
  np.testing.assert_array_equal(row.positions, expected)
  with pytest.raises(images.BadImage, match='12 patches of 2 pictures.* 8'):
    rows.row_of(PROCESSOR, tokens, IMAGE, [first, second], 8)
