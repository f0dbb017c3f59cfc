"""Mixtures: shares as asked, rows as planned, any of them made by itself."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from k15.data import mixture


class Source:
  """Documents whose tokens say which document and which place they are of."""

  def __init__(self, lengths, domains):
    self.lengths, self.domains = np.array(lengths), np.array(domains)

  def part(self, i, begin, end):
    return 100 * (i + 1) + np.arange(begin, end)


def _full(plan):
  return dataclasses.replace(plan, is_full=np.ones(plan.num_rows, bool))


def _drawn(shares, sizes, num_tokens, seed=0):
  """Orders of documents of 1 to 9 tokens, so many of each domain."""
  domains = np.repeat(np.arange(len(sizes)), sizes)
  lengths = 1 + np.arange(len(domains)) % 9
  indices = np.arange(len(domains))
  order = mixture.order_of(
    indices, lengths, domains, np.array(shares), num_tokens, seed, 'sft'
  )
  return order, lengths, domains


def test_shares():
  names, tokens = ('a', 'b', 'c'), (10, 30, 0)
  shares = mixture.shares_of(dict(b=1, a=3), names, tokens)
  np.testing.assert_array_equal(shares, [0.75, 0.25, 0])
  shares = mixture.shares_of({}, names, tokens)
  np.testing.assert_array_equal(shares, [0.25, 0.75, 0])
  with pytest.raises(ValueError, match=r"weights name \['d'\], and the docu"):
    mixture.shares_of(dict(d=1), names, tokens)
  with pytest.raises(ValueError, match="'c' has the weight 2 and 0 tokens"):
    mixture.shares_of(dict(c=2), names, tokens)


def test_every_beginning_is_mixed_as_asked():
  shares = [0.6, 0.3, 0.1, 0.0]
  order, lengths, domains = _drawn(shares, (40, 40, 40, 40), 3000)
  given = np.zeros((len(order) + 1, 4))
  for n, document in enumerate(order):
    given[n + 1] = given[n]
    given[n + 1, domains[document]] += lengths[document]
  behind = np.abs(given - given.sum(1, keepdims=True) * shares)
  # A document has at most 9 tokens: no domain is ever three away.
  assert behind.max() < 27
  assert given[-1, 3] == 0 and given[-1].sum() >= 3000


def test_what_is_small_is_gone_through_again_in_another_order():
  order, lengths, domains = _drawn([0.5, 0.5], (5, 200), 200)
  small = [d for d in order if domains[d] == 0]
  turns = [small[i : i + 5] for i in range(0, len(small) - 4, 5)]
  assert len(turns) >= 3
  assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
  assert any(a != b for a, b in itertools.pairwise(turns))
  large = [d for d in order if domains[d] == 1]
  assert len(set(large)) == len(large)  # None twice before all came once.


def test_seed_and_stage_decide_the_order():
  same = [_drawn([0.5, 0.5], (50, 50), 100, seed)[0] for seed in (0, 0, 1)]
  np.testing.assert_array_equal(same[0], same[1])
  assert same[0].tolist() != same[2].tolist()


def test_rows_cut_from_documents():
  """By hand: documents of 3, 5 and 4 tokens in rows of 4."""
  source = Source([3, 5, 4], [0, 1, 0])
  plan = mixture.cut(np.array([0, 1, 2]), source.lengths, 4, 3)
  rows = [mixture.make_row(source, plan, i, 4) for i in range(4)]
  tokens = [r['tokens'].tolist() for r in rows]
  assert tokens == [
    [100, 101, 102, 200], [201, 202, 203, 204], [300, 301, 302, 303], [0] * 4
  ]  # fmt: skip
  assert rows[0]['segment_ids'].tolist() == [1, 1, 1, 2]
  assert rows[0]['positions'].tolist() == [0, 1, 2, 0]
  assert rows[0]['domain_ids'].tolist() == [0, 0, 0, 1]
  # The first of a piece has nothing before it, in the middle of a document too.
  assert rows[0]['loss_mask'].tolist() == [0, 1, 1, 0]
  assert rows[1]['loss_mask'].tolist() == [0, 1, 1, 1]
  assert rows[3]['segment_ids'].tolist() == [0] * 4
  with pytest.raises(ValueError, match='12 tokens for 4 rows of 4'):
    mixture.cut(np.array([0, 1, 2]), source.lengths, 4, 4)


def test_rows_of_whole_documents():
  """By hand: 3, then 5 cut into 4 and 1, then 2, in rows of 4."""
  source = Source([3, 5, 2], [0, 1, 0])
  plan = mixture.whole(np.array([0, 1, 2]), source.lengths, 4, 2)
  rows = [mixture.make_row(source, plan, i, 4) for i in range(2)]
  # The last token of the second document fits behind the first one.
  assert [r['tokens'].tolist() for r in rows] == [
    [100, 101, 102, 204], [200, 201, 202, 203]
  ]  # fmt: skip
  plan = mixture.whole(np.array([0, 1, 2]), source.lengths, 4, 3)
  last = mixture.make_row(source, plan, 2, 4)
  assert last['tokens'].tolist() == [300, 301, 0, 0]
  assert last['segment_ids'].tolist() == [1, 1, 0, 0]


def test_rows_that_attend_to_all_of_themselves():
  source = Source([3, 5, 4, 9], [0, 1, 0, 1])
  partial = mixture.cut(np.array([0, 1, 2]), source.lengths, 4, 3)
  full = _full(mixture.cut(np.array([3, 0]), source.lengths, 6, 2))
  plan = mixture.interleave(partial, full)
  assert plan.is_full.tolist() == [False, False, True, False, True]
  rows = [mixture.make_row(source, plan, i, 6) for i in range(5)]
  assert rows[2]['tokens'].tolist() == [400, 401, 402, 403, 404, 405]
  last = rows[4]
  assert last['tokens'].tolist() == [406, 407, 408, 100, 101, 102]
  assert last['segment_ids'].tolist() == [1] * 6
  assert last['positions'].tolist() == [0, 1, 2, 3, 4, 5]
  assert last['loss_mask'].tolist() == [0, 1, 1, 1, 1, 1]
  assert last['domain_ids'].tolist() == [1, 1, 1, 0, 0, 0]
  assert rows[0]['segment_ids'].tolist() == [1, 1, 1, 2, 0, 0]


def test_the_share_of_full_rows():
  source = Source([50] * 40, [0] * 40)
  order = np.arange(40)
  for full in (0, 1, 8, 20):
    plans = [
      mixture.cut(order, source.lengths, 50, n) for n in (20 - full, full)
    ]
    plan = mixture.interleave(plans[0], _full(plans[1]))
    assert plan.num_rows == 20 and plan.is_full.sum() == full
    # Mixed evenly: of the first n rows the same share, within one.
    ahead = np.cumsum(plan.is_full) - np.arange(1, 21) * full / 20
    assert np.abs(ahead).max() < 1


def test_measured_against_what_was_asked():
  order, lengths, domains = _drawn([0.5, 0.4, 0.1], (8, 100, 100), 1200)
  plan = mixture.cut(order, lengths, 30, 40)
  found = mixture.measured(
    [plan], lengths, domains, np.arange(208), 'abc', np.array([0.5, 0.4, 0.1])
  )
  assert sum(v['share'] for v in found.values()) == pytest.approx(1)
  for value in found.values():
    assert value['share'] == pytest.approx(value['asked'], abs=0.02)
  # 1 + ... + 8 tokens are 36: gone through 600 / 36 times.
  assert found['a']['turns'] == pytest.approx(600 / 36, rel=0.05)
  assert found['a']['there'] < 0.04 < 0.2 < found['c']['turns'] < 0.3
  assert json.loads(json.dumps(found)) == found


def test_any_batch_is_made_by_its_number():
  order, lengths, domains = _drawn([0.5, 0.5], (30, 30), 400)
  source = Source(lengths, domains)
  plan = mixture.cut(order, lengths, 16, 25)
  batches = mixture.batches(source, plan, 16, 4)
  assert len(batches) == 7
  assert batches[2]['tokens'].shape == (4, 16)
  again = mixture.batches(source, plan, 16, 4)
  for i in (6, 3, 0):
    for key, value in batches[i].items():
      np.testing.assert_array_equal(again[i][key], value)
  assert batches[6]['segment_ids'].any(axis=1).tolist() == [True] + [False] * 3
  # One after the other, the rows are the documents of the order.
  everything = np.concatenate([batches[i]['tokens'].ravel() for i in range(7)])
  whole = np.concatenate([source.part(d, 0, lengths[d]) for d in order])
  np.testing.assert_array_equal(everything[:400], whole[:400])
