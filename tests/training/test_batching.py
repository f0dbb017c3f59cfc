import numpy as np
import pytest

from k15.data_types import Segment, Trajectory
from k15.training import batching
from k15.training import sequences as sequences_lib
from k15.training.sequences import Sequence


def sequence(prompt_length, response_length, start=1, **values):
  """Tokens count up from `start`; the whole response is in the loss."""
  tokens = np.arange(start, start + prompt_length + response_length)
  prompt, response = np.split(tokens.astype(np.int32), [prompt_length])
  return Sequence(
    prompt, response, np.ones(response_length, bool), **values
  )


def trajectory():
  def segment(tokens, version):
    tokens = np.array(tokens, np.int32)
    return Segment(tokens, np.zeros(len(tokens), np.float32), version)

  segments = segment([5, 6], 3), segment([7], 4), segment([8, 9, 10], 5)
  return Trajectory(0, 'a', 0, segments)


def test_pack_by_hand():
  # Lengths 3, 5, 2 in rows of 6: 5 first, then 3 into the next row, then 2
  # after it.
  batch = batching.pack(
    [
      sequence(1, 2, 11, advantage=0.1, pg_weight=0.2, reg_weight=0.3),
      sequence(3, 2, 21, advantage=0.4, pg_weight=0.5, reg_weight=0.6),
      sequence(1, 1, 31, advantage=0.7, pg_weight=0.8, reg_weight=0.9),
    ],
    num_rows=3,
    row_length=6,
    max_sequences=2,
  )
  np.testing.assert_array_equal(
    batch.tokens,
    [[21, 22, 23, 24, 25, 0], [11, 12, 13, 31, 32, 0], [0] * 6],
  )
  np.testing.assert_array_equal(
    batch.positions, [[0, 1, 2, 3, 4, 0], [0, 1, 2, 0, 1, 0], [0] * 6]
  )
  np.testing.assert_array_equal(
    batch.segment_ids, [[1, 1, 1, 1, 1, 0], [1, 1, 1, 2, 2, 0], [0] * 6]
  )
  np.testing.assert_array_equal(
    batch.loss_mask, [[0, 0, 0, 1, 1, 0], [0, 1, 1, 0, 1, 0], [0] * 6]
  )
  np.testing.assert_allclose(batch.advantage, [[0.4, 0], [0.1, 0.7], [0, 0]])
  np.testing.assert_allclose(batch.pg_weight, [[0.5, 0], [0.2, 0.8], [0, 0]])
  np.testing.assert_allclose(batch.reg_weight, [[0.6, 0], [0.3, 0.9], [0, 0]])
  assert batch.num_rows == 2
  assert not batch.ref_logprobs.any()
  assert not batch.kl_logprobs.any()


def test_types():
  batch = batching.pack([sequence(1, 1)], 2, 4, 3)
  for name in ('tokens', 'positions', 'segment_ids', 'num_rows'):
    assert getattr(batch, name).dtype == np.int32, name
  for name in ('loss_mask', 'ref_logprobs', 'kl_logprobs'):
    assert getattr(batch, name).dtype == np.float32, name
    assert getattr(batch, name).shape == (2, 4), name
  for name in ('advantage', 'pg_weight', 'reg_weight'):
    assert getattr(batch, name).dtype == np.float32, name
    assert getattr(batch, name).shape == (2, 3), name


def test_one_sequence_a_row_is_a_padded_batch():
  sequences = [sequence(1, n) for n in (1, 3, 2)]
  batch = batching.pack(sequences, 3, 4, 1)
  assert batch.num_rows == 3
  # Longest first.
  np.testing.assert_array_equal((batch.segment_ids > 0).sum(axis=1), [4, 3, 2])
  assert batch.segment_ids.max() == 1


def test_no_sequences():
  batch = batching.pack([], 2, 4, 3)
  assert batch.num_rows == 0
  assert not batch.tokens.any()


def group(prompt, *responses):
  """Sequences with one prompt; every response is in the loss."""
  return [
    Sequence(
      np.array(prompt, np.int32),
      np.array(response, np.int32),
      np.ones(len(response), bool),
      advantage=response[0],
    )
    for response in responses
  ]


def test_responses_share_their_prompt_by_hand():
  # 1 2 is there once, and 3 in front of each response: 2 + 3 + 2 = 7 tokens.
  # The second group has 3 tokens left of the row.
  groups = group([1, 2, 3], [10, 11], [20]), group([4, 5], [30])
  batch = batching.pack_groups(groups, 2, 10, 6)
  np.testing.assert_array_equal(
    batch.tokens, [[1, 2, 3, 10, 11, 3, 20, 4, 5, 30], [0] * 10]
  )
  np.testing.assert_array_equal(
    batch.positions[0], [0, 1, 2, 3, 4, 2, 3, 0, 1, 2]
  )
  np.testing.assert_array_equal(
    batch.segment_ids[0], [1, 1, 2, 2, 2, 3, 3, 4, 4, 4]
  )
  np.testing.assert_array_equal(
    batch.prompt_ids[0], [1, 1, 1, 1, 1, 1, 1, 4, 4, 4]
  )
  np.testing.assert_array_equal(
    batch.loss_mask[0], [0, 0, 0, 1, 1, 0, 1, 0, 0, 1]
  )
  np.testing.assert_array_equal(batch.advantage[0], [0, 10, 20, 30, 0, 0])
  assert not batch.prompt_ids[1].any()
  assert batch.num_rows == 1


def test_a_group_longer_than_a_row_repeats_its_prompt():
  # 9 tokens less the prompt's 2: responses of 3, 3 and 2 behind its last token
  # are 4 + 4 + 3.  The longest goes first and the third beside it; the second
  # is alone, and keeps its prompt as it is: 3 + 3 tokens.
  responses = [10, 11, 12], [20, 21, 22], [30, 31]
  batch = batching.pack_groups([group([1, 2, 3], *responses)], 2, 9, 4)
  np.testing.assert_array_equal(
    batch.tokens,
    [[1, 2, 3, 10, 11, 12, 3, 30, 31], [1, 2, 3, 20, 21, 22, 0, 0, 0]],
  )
  np.testing.assert_array_equal(batch.prompt_ids, [[1] * 9, [1] * 6 + [0] * 3])
  np.testing.assert_array_equal(
    batch.segment_ids, [[1, 1, 2, 2, 2, 2, 3, 3, 3], [1] * 6 + [0] * 3]
  )


def test_a_prompt_of_one_token_is_not_shared():
  batch = batching.pack_groups([group([7], [1], [2]), []], 1, 8, 2)
  np.testing.assert_array_equal(batch.tokens, [[7, 1, 7, 2, 0, 0, 0, 0]])
  np.testing.assert_array_equal(batch.prompt_ids, batch.segment_ids)


def test_groups_that_do_not_fit():
  one = group([1, 2, 3], [4, 5], [6, 7])
  # Behind a prompt of 2 there is room for 2, and each has 1 + 2.
  with pytest.raises(ValueError, match='of 3 tokens is longer than a row of 2'):
    batching.pack_groups([one], 2, 4, 4)
  with pytest.raises(ValueError, match='need 2 rows of 8 tokens'):
    batching.pack_groups([one, one], 1, 8, 4)
  with pytest.raises(ValueError, match='row of 3 sequences, not of 2'):
    batching.pack_groups([one], 1, 8, 2)


def random_sequences(count, seed=0):
  rng = np.random.default_rng(seed)
  return [
    sequence(*rng.integers(1, (20, 180)), start=i, advantage=i)
    for i in range(count)
  ]


def test_every_sequence_is_found_again_whole():
  sequences = random_sequences(100)
  lengths = [s.length for s in sequences]
  rows, columns, starts = batching.place(lengths, 256, 5)
  batch = batching.pack(sequences, rows.max() + 1, 256, 5)
  assert batch.num_rows == rows.max() + 1
  np.testing.assert_array_equal(batch.advantage[rows, columns], np.arange(100))
  for s, row, column, start in zip(
    sequences, rows, columns, starts, strict=True
  ):
    where = np.flatnonzero(batch.segment_ids[row] == column + 1)
    np.testing.assert_array_equal(where, start + np.arange(s.length))
    np.testing.assert_array_equal(
      batch.tokens[row, where],
      np.concatenate([s.prompt_tokens, s.response_tokens]),
    )
    np.testing.assert_array_equal(
      batch.positions[row, where], np.arange(s.length)
    )
    assert batch.loss_mask[row, where].sum() == s.loss_tokens
  # Nothing else is there.
  assert np.count_nonzero(batch.segment_ids) == sum(lengths)
  assert batch.loss_mask.sum() == sum(s.loss_tokens for s in sequences)


def test_packing_is_tight_and_deterministic():
  lengths = [s.length for s in random_sequences(300)]
  places = batching.place(lengths, 512, 100)
  for left, right in zip(
    places, batching.place(lengths, 512, 100), strict=True
  ):
    np.testing.assert_array_equal(left, right)
  # First-fit-decreasing needs at most 11/9 of the best, plus one row.
  assert places[0].max() + 1 <= 11 / 9 * np.ceil(sum(lengths) / 512) + 1


def test_what_does_not_fit():
  with pytest.raises(ValueError, match='sequence 1 of 9 tokens .* row of 8'):
    batching.pack([sequence(1, 2), sequence(4, 5)], 4, 8, 2)
  with pytest.raises(ValueError, match='3 sequences of 15 tokens need 3 rows'):
    batching.pack([sequence(2, 3)] * 3, 2, 8, 2)
  with pytest.raises(ValueError, match='need 2 rows of 8 tokens and 2 seq'):
    batching.pack([sequence(1, 1)] * 3, 1, 8, 2)
  with pytest.raises(ValueError, match='prompt'):
    sequence(0, 3)
  with pytest.raises(ValueError, match='mask of 2 for a response of 3'):
    Sequence(np.zeros(1), np.zeros(3), np.ones(2))


def test_all_or_the_last_segments_enter_the_loss():
  prompt = np.array([1, 2], np.int32)
  everything = sequences_lib.sequence_of(trajectory(), prompt, 'all', 5, 0.5)
  np.testing.assert_array_equal(everything.response_tokens, range(5, 11))
  assert everything.loss_tokens == 6
  assert everything.length == 8
  assert everything.advantage == 0.5
  # The last segment is the response's own, in this iteration or a later one.
  for iteration in (5, 6):
    last = sequences_lib.sequence_of(trajectory(), prompt, 'last', iteration)
    np.testing.assert_array_equal(last.loss_mask, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(
      last.is_current, np.array([0, 0, 0, 1, 1, 1]) * (iteration == 5)
    )


@pytest.mark.parametrize(
  ('loss_segments', 'expected'),
  [
    ('last:1', [0, 0, 0, 1, 1, 1]),
    ('last:2', [0, 0, 1, 1, 1, 1]),
    ('last:3', [1] * 6),
    ('last:12', [1] * 6),
  ],
)
def test_the_last_segments_by_their_number(loss_segments, expected):
  versions = np.array([3, 3, 4, 5, 5, 5])
  mask = sequences_lib.segments_in_loss(versions, loss_segments)
  np.testing.assert_array_equal(mask, expected)


def test_a_response_without_tokens_has_none_in_the_loss():
  empty = Trajectory(0, 'a', 0)
  for loss_segments in ('all', 'last', 'last:2'):
    made = sequences_lib.sequence_of(empty, np.array([1]), loss_segments, 5)
    assert made.loss_tokens == made.is_current.sum() == 0


@pytest.mark.parametrize('value', ['first', '', 'last:0', 'last:', 'last:-1'])
def test_other_segments_are_refused(value):
  with pytest.raises(ValueError, match="not 'all', 'last' or 'last:m'"):
    sequences_lib.segments_in_loss(np.array([1]), value)


def test_with_weights():
  sequences = sequences_lib.with_weights(
    [sequence(1, 2), sequence(1, 3)], [0.1, 0.2], [0.3, 0.4]
  )
  assert [s.pg_weight for s in sequences] == [0.1, 0.2]
  assert [s.reg_weight for s in sequences] == [0.3, 0.4]
  with pytest.raises(ValueError):
    sequences_lib.with_weights(sequences, [0.1], [0.3, 0.4])


@pytest.mark.parametrize(
  'count, num_parts, lengths',
  [
    (8, 2, [4, 4]),
    (9, 3, [3, 3, 3]),
    (7, 2, [3, 4]),
    (3, 1, [3]),
    (3, 3, [1, 1, 1]),
    (10, 4, [2, 3, 2, 3]),
    (0, 0, []),
  ],
)
def test_split_minibatches(count, num_parts, lengths):
  parts = batching.split_minibatches(list(range(count)), num_parts)
  assert [len(part) for part in parts] == lengths
  assert sum(parts, []) == list(range(count))


@pytest.mark.parametrize(('count', 'num_parts'), [(2, 0), (2, 3), (0, 1)])
def test_split_minibatches_makes_no_empty_parts(count, num_parts):
  with pytest.raises(ValueError, match=f'do not make {num_parts} minibatches'):
    batching.split_minibatches(list(range(count)), num_parts)
