"""First-fit by hand, mixtures in proportion, rows that go on bit by bit."""

import json

import numpy as np
import pytest

from k15.data import packing


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


def _pairs(count, seed=0):
  """Pairs whose tokens tell which pair they are: 1000 * number + place."""
  rng = np.random.default_rng(seed)
  pairs = []
  for i in range(count):
    p, r = rng.integers(1, 6), rng.integers(1, 20)
    tokens = 1000 * (i + 1) + np.arange(p + r, dtype=np.int32)
    pairs.append((tokens[:p], tokens[p:]))
  return pairs


def _sequences(batch):
  """(tokens, mask) of each packed sequence, after checking its layout."""
  for row in range(len(batch['tokens'])):
    ids = batch['segment_ids'][row]
    used = ids > 0
    assert not batch['loss_mask'][row][~used].any()
    for segment in range(1, ids.max() + 1):
      (places,) = np.nonzero(ids == segment)
      np.testing.assert_array_equal(np.diff(places), 1)
      np.testing.assert_array_equal(
        batch['positions'][row, places], np.arange(len(places))
      )
      yield batch['tokens'][row, places], batch['loss_mask'][row, places]


def test_packed_rows_hold_whole_examples():
  pairs = _pairs(50)
  stream = packing.best_fit_iterator(pairs, row_length=32, rows=4, seed=1)
  seen = []
  for _ in range(8):
    batch = next(stream)
    assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
      'tokens': ((4, 32), 'int32'),
      'positions': ((4, 32), 'int32'),
      'segment_ids': ((4, 32), 'int32'),
      'loss_mask': ((4, 32), 'float32'),
    }
    for tokens, mask in _sequences(batch):
      index = tokens[0] // 1000 - 1
      prompt, response = pairs[index]
      np.testing.assert_array_equal(tokens, np.concatenate([prompt, response]))
      np.testing.assert_array_equal(
        mask, [0.0] * len(prompt) + [1.0] * len(response)
      )
      seen.append(index)
  # 8 batches of 4 rows hold more than the 50 examples: an epoch and a part.
  assert len(set(seen)) == 50
  counts = np.bincount(seen)
  assert counts.max() <= 3


@pytest.mark.parametrize('after', [0, 1, 3, 4, 11])
def test_stream_resumes_bit_by_bit(after):
  def stream():
    return packing.best_fit_iterator(_pairs(40), row_length=32, rows=3, seed=5)

  running = stream()
  for _ in range(after):
    next(running)
  state = json.loads(json.dumps(running.get_state()))
  resumed = stream()
  next(resumed)  # It may have run before.
  resumed.set_state(state)
  for _ in range(9):
    expected, batch = next(running), next(resumed)
    for key in expected:
      assert expected[key].tobytes() == batch[key].tobytes()


def test_seed_decides_the_order():
  def first(seed):
    pairs = _pairs(40)
    return next(
      packing.best_fit_iterator(pairs, row_length=32, rows=3, seed=seed)
    )

  np.testing.assert_array_equal(first(3)['tokens'], first(3)['tokens'])
  assert (first(3)['tokens'] != first(4)['tokens']).any()


@pytest.mark.parametrize(
  ('lengths', 'message'),
  [
    ([], '0 examples'),
    ([(2, 3), (2, 7)], 'example 1 has 2 prompt tokens and 9 in all; .* to 8'),
    ([(0, 3)], 'example 0 has 0 prompt tokens'),
  ],
)
def test_refused_pairs(lengths, message):
  pairs = [(np.ones(p, np.int32), np.ones(r, np.int32)) for p, r in lengths]
  with pytest.raises(ValueError, match=message):
    packing.best_fit_iterator(pairs, row_length=8, rows=2, seed=0)


def test_rows_of_a_stream_are_well_filled():
  rng = np.random.default_rng(0)
  pairs = [
    (np.ones(20, np.int32), np.ones(rng.integers(50, 230), np.int32))
    for _ in range(500)
  ]
  stream = packing.best_fit_iterator(pairs, row_length=320, rows=16, seed=0)
  next(stream)
  tokens = 0
  for _ in range(10):
    tokens += np.count_nonzero(next(stream)['segment_ids'])
  assert tokens > 0.8 * 10 * 16 * 320
