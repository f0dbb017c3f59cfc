"""Rows with pictures: how they are planned, made, and gone on with."""

import json

import jax
import numpy as np
import pytest
import small_pictures
import small_tower

from k15.data import packing
from k15.vision.shown_rows import Shown

CONFIG = small_tower.config_of('deep')
SHELF = small_pictures.Shelf()
SMALL, LARGE = SHELF.add(1, 2), SHELF.add(2, 3)  # 8 and 24 patches
SHOWN = Shown(small_pictures.sight_of(CONFIG), SHELF, 32)
ROW, PATCHES = 256, 128


def test_first_fit_by_hand():
  # Rows of 10 tokens and 8 patches.  The second has no room for patches beside
  # the first, the third has; 8 patches open a row, the text fills the first.
  rows = packing.first_fit(
    np.array([3, 3, 3, 3, 4]), 10, patches=np.array([6, 4, 2, 8, 0]),
    row_patches=8,
  )  # fmt: skip
  np.testing.assert_array_equal(rows, [0, 1, 0, 2, 0])


def test_no_row_is_too_full():
  rng = np.random.default_rng(0)
  lengths, patches = rng.integers(1, 60, 500), rng.choice([0, 16, 64], 500)
  rows = packing.first_fit(lengths, ROW, 16, patches, PATCHES)
  assert np.bincount(rows, lengths).max() <= ROW
  assert 64 < np.bincount(rows, patches).max() <= PATCHES
  with pytest.raises(
    ValueError, match='sequence 2 with 9 patches of pictures does not fit a row'
  ):
    packing.first_fit(np.ones(3, int), 4, patches=np.array([0, 8, 9]),
                      row_patches=8)  # fmt: skip


def examples(count=300, num_patches=40):
  """Lengths, patches, and which have pictures: every second one."""
  rng = np.random.default_rng(1)
  lengths = rng.integers(20, 60, count)
  has_images = np.arange(count) % 2 == 0
  patches = np.where(has_images, num_patches, 0)
  return lengths + patches, patches, has_images


def mixed(share, ramp, num_rows=60, seed=0, parts=None):
  lengths, patches, has_images = parts or examples()
  return packing.make_mixed_plan(
    lengths, has_images, ROW, num_rows, share, ramp, seed, 'pretrain_joint',
    patches, PATCHES,
  )  # fmt: skip


def share_of(plan, first, last):
  """Of the tokens of some rows, those of examples with pictures."""
  lengths, _, has_images = examples()
  some = np.concatenate([plan.row(i) for i in range(first, last)])
  return lengths[some][has_images[some]].sum() / lengths[some].sum()


@pytest.mark.parametrize('ramp', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('share', [0.1, 0.3, 0.7])
def test_pictures_become_their_share_of_the_tokens(share, ramp):
  plan, found = mixed(share, ramp)
  lengths, patches, _ = examples()
  assert plan.num_rows == 60
  kept, longest = lengths[plan.order].sum(), lengths.max()
  # At most one example is owed, the last one goes beyond the end, and what did
  # not fit the rows is left out.
  most = (2 * longest + 60 * ROW - kept) / kept
  assert most < 0.07
  assert abs(found - share * (1 - ramp / 2)) < most
  assert found == pytest.approx(share_of(plan, 0, 60))
  rows = [plan.row(i) for i in range(60)]
  assert max(lengths[row].sum() for row in rows) <= ROW
  assert max(patches[row].sum() for row in rows) <= PATCHES
  # It rises, and then stays: an example is a hundredth of these tokens.
  quarters = [share_of(plan, i, i + 15) for i in range(0, 60, 15)]
  near = longest / (15 * ROW) + 0.02
  assert all(b > a - near for a, b in zip(quarters, quarters[1:], strict=False))
  if ramp:
    assert quarters[0] < share / 2 < quarters[-1]


def test_none_or_all():
  _, _, has_images = examples()
  plan, found = mixed(0.0, 0.5)
  assert found == 0 and not has_images[plan.order].any()
  plan, found = mixed(1.0, 0.0)
  assert found == 1 and has_images[plan.order].all()
  # Up to all, from none.
  plan, found = mixed(1.0, 1.0)
  assert 0.4 < found < 0.6 and share_of(plan, 0, 6) < 0.2


def test_a_seed_is_a_plan():
  plan, again, other = mixed(0.3, 0.5), mixed(0.3, 0.5), mixed(0.3, 0.5, seed=1)
  np.testing.assert_array_equal(plan[0].order, again[0].order)
  np.testing.assert_array_equal(plan[0].starts, again[0].starts)
  assert (plan[0].order[:50] != other[0].order[:50]).any()


def test_what_cannot_be_mixed_is_refused():
  lengths, patches, has_images = examples()
  texts = lengths, 0 * patches, np.zeros(300, bool)
  pictures = lengths, patches, np.ones(300, bool)
  with pytest.raises(ValueError, match='0 examples of pictures, and'):
    mixed(0.3, 0.5, parts=texts)
  for share, ramp in ((0.3, 0.0), (1.0, 0.5)):
    with pytest.raises(ValueError, match='0 examples of texts alone'):
      mixed(share, ramp, parts=pictures)
  assert mixed(0.0, 0.5, parts=texts)[1] == 0
  assert mixed(1.0, 0.0, parts=pictures)[1] == 1
  # 100 patches of about 140 tokens: 0.8 of a row would have 146.
  heavy = examples(num_patches=100)
  with pytest.raises(
    ValueError, match='image_share is 0.8, .* a row has room for 128'
  ):
    mixed(0.8, 0.0, parts=heavy)


class Source:
  """Examples of which every third is a text, and some show one picture."""

  seen = [(SMALL,), (SMALL, LARGE), (), (LARGE,), (SMALL,), ()] * 3

  def __init__(self):
    self._tokens = [
      small_pictures.request(*seen, seed=i, after=2 + i % 5).prompt
      for i, seen in enumerate(self.seen)
    ]
    self.lengths = np.array(list(map(len, self._tokens)))
    self.patches = np.array(
      [sum(SHOWN.patches_of(seen).values()) for seen in self.seen]
    )

  def __getitem__(self, i):
    return self._tokens[i], self._tokens[i] != small_tower.IMAGE

  def images(self, i):
    return self.seen[i]


def test_a_row_by_hand():
  source = Source()
  row = packing.make_row(source, [0, 2, 1], 48, SHOWN)
  lengths = source.lengths[[0, 2, 1]]
  images = row['images']
  # The small picture stands once, though two examples show it.
  assert np.bincount(images.numbers).tolist() == [0, 8, 24]
  placeholders = row['tokens'] == small_tower.IMAGE
  assert images.index[placeholders].tolist() == [0, 1, 0, 1, *range(2, 8)]
  assert (images.index[~placeholders] == -1).all()
  # Each example counts from 0; a text's three positions are its columns.
  starts = np.cumsum([0, *lengths])
  text = slice(starts[1], starts[2])
  columns = np.arange(lengths[1])[:, None]
  np.testing.assert_array_equal(images.positions[text], columns + [[0, 0, 0]])
  assert not images.positions[starts[2]].any()
  assert not images.positions[starts[3] :].any()
  blind = packing.make_row(source, [0, 2, 1], 48)
  assert 'images' not in blind
  for key, value in blind.items():
    np.testing.assert_array_equal(row[key], value)


@pytest.mark.parametrize('after', [0, 1, 3])
def test_batches_go_on_bit_by_bit(after):
  source = Source()
  plan = packing.make_plan(
    source.lengths, [18], (), 48, 0, 2, patches=source.patches, row_patches=32
  )

  def make():
    return packing.iterator(source, plan, 48, 2, SHOWN)

  running = make()
  for _ in range(after):
    next(running)
  state = json.loads(json.dumps(running.get_state()))
  resumed = make()
  next(resumed)
  resumed.set_state(state)
  rest = list(running)
  assert len(rest) == -(-plan.num_rows // 2) - after and len(rest) > 1
  for expected, batch in zip(rest, resumed, strict=True):
    assert batch['images'].patches.shape == (2, 32, 12)
    assert batch['images'].positions.shape == (2, 48, 3)
    jax.tree.map(np.testing.assert_array_equal, expected, batch)
  assert sum(batch['images'].numbers.any() for batch in rest)
