"""Placeholders and M-RoPE positions.

`make_vision_golden.py` wrote what transformers says of the same grids.
"""

import pathlib

import numpy as np
import pytest

from k15.vision import images
from k15.vision import positions

GOLDEN = np.load(pathlib.Path(__file__).with_name('vision_golden.npz'))
GRIDS = ((2, 3), (1, 1), (4, 2))  # those of make_vision_golden.py, merged
IMAGE = 9


def tokens_of(*counts):
  """Text and placeholders in turn; a text first."""
  parts = [
    np.full(count, IMAGE if i % 2 else 5) for i, count in enumerate(counts)
  ]
  return np.concatenate(parts).astype(np.int32)


def test_positions_are_those_of_transformers():
  tokens = np.where(GOLDEN['kinds'] == 1, IMAGE, 5)
  found, delta = positions.rotary(tokens, IMAGE, GRIDS)
  np.testing.assert_array_equal(found, GOLDEN['positions'])
  assert delta == GOLDEN['delta']


def test_positions_by_hand():
  # Two words, a picture of 2 x 2 at 2, a word that begins behind its side.
  found, delta = positions.rotary(tokens_of(2, 4, 1), IMAGE, [(2, 2)])
  expected = [
    [0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 2, 3], [2, 3, 2], [2, 3, 3], [4, 4, 4],
  ]  # fmt: skip
  np.testing.assert_array_equal(found, expected)
  assert delta == 4 + 1 - 7


def test_pictures_without_a_word_between_them_stay_two():
  found, _ = positions.rotary(tokens_of(0, 3, 1), IMAGE, [(1, 2), (1, 1)])
  expected = [[0, 0, 0], [0, 0, 1], [2, 2, 2], [3, 3, 3]]
  np.testing.assert_array_equal(found, expected)


def test_text_alone_is_counted_through():
  found, delta = positions.rotary(tokens_of(4), IMAGE, [])
  np.testing.assert_array_equal(found, np.arange(4)[:, None].repeat(3, 1))
  assert delta == 0


def test_placeholders_are_expanded_once():
  tokens = np.array([1, IMAGE, 2, IMAGE], np.int32)
  found = positions.expand(tokens, IMAGE, [3, 1])
  np.testing.assert_array_equal(found, [1, 9, 9, 9, 2, 9])
  positions.check(found, IMAGE, [3, 1])
  index = positions.feature_index(found, IMAGE)
  np.testing.assert_array_equal(index, [-1, 0, 1, 2, -1, 3])
  with pytest.raises(images.BadImage, match='4 placeholders.* 2 pictures'):
    positions.expand(found, IMAGE, [3, 1])
  with pytest.raises(images.BadImage, match='2 placeholders.* 0 pictures'):
    positions.expand(tokens, IMAGE, [])


@pytest.mark.parametrize(
  'counts, message',
  [
    ([3], '4 placeholders.*have 3 tokens'),
    ([], '4 placeholders.*have 0 tokens'),
    ([1, 3], 'cut pictures of .1, 3. tokens'),
  ],
)
def test_tokens_that_do_not_fit_their_pictures_are_refused(counts, message):
  tokens = tokens_of(1, 2, 1, 2)
  with pytest.raises(images.BadImage, match=message):
    positions.check(tokens, IMAGE, counts)
