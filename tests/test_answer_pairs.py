"""The labelled set: balanced, distinct, split for good, reproducible."""

import collections
import itertools

import numpy as np
import pytest

from k15 import answer_pairs


def first(count, seed=0, **kwargs):
  rng = np.random.default_rng(seed)
  pairs = answer_pairs.stream(answer_pairs.KINDS, rng, **kwargs)
  return list(itertools.islice(pairs, count))


def test_kinds_and_labels_take_turns():
  pairs = first(20)
  turns = [(pair.kind, pair.is_correct) for pair in pairs]
  once = list(itertools.product(answer_pairs.KINDS, (True, False)))
  assert turns == once * 2


def test_held_out_and_training_pairs_never_meet():
  train, held_out = first(3000), first(300, seed=1, held_out=True)
  assert not {p.case for p in train} & {p.case for p in held_out}
  assert not any(map(answer_pairs.is_held_out, train))
  assert all(map(answer_pairs.is_held_out, held_out))


def test_about_one_pair_in_sixteen_is_held_out():
  rng = np.random.default_rng(0)
  share = np.mean([
    answer_pairs.is_held_out(answer_pairs.make_pair('ordering', False, rng))
    for _ in range(4000)
  ])  # fmt: skip
  # The standard deviation is sqrt(15) / 16 / sqrt(4000) = 0.004.
  assert abs(share - 1 / 16) < 0.015


def test_a_set_is_distinct_and_balanced():
  pairs = answer_pairs.make_pairs(103, answer_pairs.KINDS, True, 0)
  assert len({pair.case for pair in pairs}) == 103
  counts = collections.Counter((p.kind, p.is_correct) for p in pairs)
  # 103 = 10 turns of 10, and three more.
  assert sorted(counts.values()) == [10] * 7 + [11] * 3


def test_draws_are_reproducible_and_differ_by_seed():
  draw = (20, answer_pairs.KINDS, False)
  assert answer_pairs.make_pairs(*draw, 3) == answer_pairs.make_pairs(*draw, 3)
  assert answer_pairs.make_pairs(*draw, 3) != answer_pairs.make_pairs(*draw, 4)


def test_a_judge_sees_neither_label_nor_reasoning():
  (pair,) = first(1)
  assert pair.case == (pair.question, pair.reference, pair.response)


def test_refuses_what_it_does_not_know_or_have():
  with pytest.raises(ValueError, match="unknown kind 'matrix'"):
    answer_pairs.make_pair('matrix', True, np.random.default_rng(0))
  with pytest.raises(ValueError, match='of 2000 distinct pairs'):
    answer_pairs.make_pairs(2000, ('decimal',), True, 0)
