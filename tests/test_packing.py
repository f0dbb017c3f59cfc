"""First-fit by hand, mixtures in proportion, rows that go on bit by bit."""

import json

import numpy as np
import pytest

from k15 import packing


class Source:
  """Example i has i + 2 tokens, 10 * i and on, the first one no target."""

  def __init__(self, count):
    self.lengths = np.arange(count) + 2

  def __getitem__(self, i):
    return np.arange(self.lengths[i]) + 10 * i, np.arange(self.lengths[i]) > 0


def test_first_fit_by_hand():
  # Rows of 10. 6 and 5 open rows 0 and 1; 3 goes to row 0 (9 in all), 4 to row
  # 1 (9), 2 to neither: row 2; 1 fills row 0; 8 goes beside the 2.
  rows = packing.first_fit(np.array([6, 5, 3, 4, 2, 1, 8]), 10)
  np.testing.assert_array_equal(rows, [0, 1, 0, 1, 2, 0, 2])


def test_only_the_newest_rows_stay_open():
  # The 2 would go to row 0, which was closed when row 2 was opened.
  rows = packing.first_fit(np.array([8, 9, 9, 2]), 10, max_open=2)
  np.testing.assert_array_equal(rows, [0, 1, 2, 3])
  rows = packing.first_fit(np.array([8, 9, 9, 2]), 10, max_open=3)
  np.testing.assert_array_equal(rows, [0, 1, 2, 0])


def test_no_row_is_too_full_and_few_are_empty():
  lengths = np.random.default_rng(0).integers(1, 100, 3000)
  rows = packing.first_fit(lengths, 128)
  used = np.bincount(rows, lengths)
  assert used.max() <= 128 and used.min() > 0
  assert lengths.sum() / (128 * len(used)) > 0.95


def test_too_long_a_sequence_is_refused():
  with pytest.raises(
    ValueError, match='sequence 1 of 11 tokens is longer than'
  ):
    packing.first_fit(np.array([3, 11]), 10)


def test_without_weights_an_epoch_has_each_example_once():
  orders = [packing.epoch_order([3, 4], (), epoch, 0) for epoch in range(2)]
  for order in orders:
    np.testing.assert_array_equal(np.sort(order), np.arange(7))
  assert (orders[0] != orders[1]).any()
  again = packing.epoch_order([3, 4], (), 1, 0)
  np.testing.assert_array_equal(again, orders[1])


def test_weights_are_the_shares_of_an_epoch():
  # 1,000 in all; of weights 3 and 1, 750 are of the file of 100 (every example
  # 7 or 8 times) and 250 of the file of 900, other ones in each epoch.
  orders = [packing.epoch_order([100, 900], (3, 1), e, 7) for e in range(3)]
  for order in orders:
    assert (order < 100).sum() == 750
    assert set(np.bincount(order[order < 100])) == {7, 8}
  second = [set(order[order >= 100]) for order in orders]
  assert [len(s) for s in second] == [250] * 3
  assert not second[0] & second[1] and not second[1] & second[2]


def test_the_papers_proportions():
  # 500, 200, 200, 5 and 20 thousand make 925 thousand: files of 185 examples
  # each make 925, of which the files get as many as the paper has thousands.
  order = packing.epoch_order([185] * 5, (500, 200, 200, 5, 20), 0, 0)
  counts = np.bincount(order // 185)
  np.testing.assert_array_equal(counts, [500, 200, 200, 5, 20])


@pytest.mark.parametrize(('epochs', 'num_rows'), [(2, 0), (0, 21)])
def test_a_plan_holds_whole_epochs(epochs, num_rows):
  lengths = Source(20).lengths  # 2 to 21, 230 in all: at least 8 rows of 32
  plan = packing.make_plan(lengths, [20], (), 32, 0, epochs, num_rows)
  assert plan.num_rows >= num_rows
  assert len(plan.order) == 20 * (epochs or 3)  # 8 to 10 rows each
  for first in range(0, len(plan.order), 20):
    part = np.sort(plan.order[first : first + 20])
    np.testing.assert_array_equal(part, np.arange(20))
  for i in range(plan.num_rows):
    assert 0 < lengths[plan.row(i)].sum() <= 32
  assert len(plan.row(plan.num_rows)) == 0


def test_nothing_to_plan_is_refused():
  with pytest.raises(ValueError, match='0 examples'):
    packing.make_plan(np.zeros(0, int), [0], (), 8, 0, 1)


def test_a_row_by_hand():
  row = packing.make_row(Source(3), [1, 0], 7)
  assert {k: v.dtype.name for k, v in row.items()} == {
    'tokens': 'int32', 'positions': 'int32', 'segment_ids': 'int32',
    'loss_mask': 'float32',
  }  # fmt: skip
  np.testing.assert_array_equal(row['tokens'], [10, 11, 12, 0, 1, 0, 0])
  np.testing.assert_array_equal(row['positions'], [0, 1, 2, 0, 1, 0, 0])
  np.testing.assert_array_equal(row['segment_ids'], [1, 1, 1, 2, 2, 0, 0])
  np.testing.assert_array_equal(row['loss_mask'], [0, 1, 1, 0, 1, 0, 0])


@pytest.mark.parametrize('after', [0, 1, 3])
def test_batches_go_on_bit_by_bit(after):
  source = Source(20)
  plan = packing.make_plan(source.lengths, [20], (), 32, 0, 2)
  make = lambda: packing.iterator(source, plan, 32, 4)  # noqa: E731
  running = make()
  for _ in range(after):
    next(running)
  state = json.loads(json.dumps(running.get_state()))
  resumed = make()
  resumed.set_state(state)
  rest = list(running)
  assert len(rest) == -(-plan.num_rows // 4) - after
  for expected, batch in zip(rest, resumed, strict=True):
    for key in expected:
      assert batch[key].shape == (4, 32)
      assert expected[key].tobytes() == batch[key].tobytes()


def test_the_last_batch_may_end_with_empty_rows():
  source = Source(3)  # 2, 3 and 4 tokens: one row each of 4 tokens
  plan = packing.make_plan(source.lengths, [3], (), 4, 0, 1)
  batches = list(packing.iterator(source, plan, 4, 2))
  used = [batch['segment_ids'].any(axis=1).tolist() for batch in batches]
  assert used == [[True, True], [True, False]]
