"""Sequences -> packed batches of a fixed shape.

Host side, numpy.  Sequences are packed first-fit-decreasing: taken longest
first, each goes to the first row with room, and none is ever split.  Where the
policy sees, a row has room for so many patches of pictures, too.  With
max_sequences = 1 every row holds one sequence: a padded batch.  Responses of a
group may also share their prompt, which is then packed, and computed, once for
all that lie in a row.
"""

import dataclasses

import numpy as np

from k15.data_types import Batch
from k15.training.sequences import Sequence
from k15.vision.shown_rows import Shown
from k15.vision.shown_rows import Span


def place(
  lengths, row_length: int, max_sequences: int, images=(), shown=None
):
  """First-fit-decreasing: finds a place for every sequence.

  Also tells how many rows are needed, rows.max() + 1, and where sequence i
  of a packed batch is found again: values[rows[i], columns[i]] of [B, S].

  Args:
    lengths: int [N], tokens.
    row_length: tokens of a row, T.
    max_sequences: sequences of a row, S.
    images: the pictures of each sequence, N of them; what a row has already
      takes no room in it.
    shown: lays them out; None: there are none.

  Returns:
    int64 [N] each: rows, columns (the place in a row) and starts (the first
    token).  Equal lengths keep their order.

  Raises:
    ValueError: if a sequence is longer than a row.
    images.BadImage: if one has more patches than a row has room for.
  """
  lengths = np.asarray(lengths, np.int64)
  seen = shown and [shown.patches_of(own) for own in images]
  if len(lengths) and lengths.max() > row_length:
    raise ValueError(
      f'sequence {lengths.argmax()} of {lengths.max()} tokens is longer than'
      f' a row of {row_length}'
    )
  rows, columns, starts = np.zeros((3, len(lengths)), np.int64)
  used = np.zeros(len(lengths), np.int64)  # tokens of each row
  count = np.zeros(len(lengths), np.int64)  # sequences of each row
  there = [{} for _ in lengths]  # digest -> patches, of each row
  # Longest first: short ones then fill what is left.  There are as many rows as
  # sequences, so one with room is always found.
  for i in np.argsort(-lengths, kind='stable'):
    fits = (used + lengths[i] <= row_length) & (count < max_sequences)
    row = fits.argmax()
    if seen and seen[i]:
      row = next(
        row
        for row in np.flatnonzero(fits)
        if sum((there[row] | seen[i]).values()) <= shown.row_patches
      )
      there[row] |= seen[i]
    rows[i], columns[i], starts[i] = row, count[row], used[row]
    used[row] += lengths[i]
    count[row] += 1
  return rows, columns, starts


def pack(
  sequences: list[Sequence],
  num_rows: int,
  row_length: int,
  max_sequences: int,
  shown: Shown | None = None,
) -> Batch:
  """Packs sequences into a batch of [num_rows, row_length] numpy arrays.

  Args:
    sequences: N of them, perhaps none.
    num_rows: B.
    row_length: T, tokens.
    max_sequences: S, sequences of a row.
    shown: lays out pictures; None: the policy sees none.

  Returns:
    A Batch; its ref_logprobs and kl_logprobs are 0, to be filled in.

  Raises:
    ValueError: if a sequence is longer than a row, or rows do not suffice.
    images.BadImage: if one has more patches than a row has room for.
  """
  lengths = [sequence.length for sequence in sequences]
  images = [sequence.images for sequence in sequences]
  places = place(lengths, row_length, max_sequences, images, shown)
  batch = _fill(sequences, places, num_rows, row_length, max_sequences)
  return _with_images(batch, shown, _spans(sequences, places))


def _spans(sequences, places):
  """Of sequences that each have their own prompt."""
  return [
    Span(row, start, start + s.length, start + s.length, s.images)
    for s, row, _, start in zip(sequences, *places, strict=True)
    if s.images
  ]


def pack_groups(
  groups: list[list[Sequence]],
  num_rows: int,
  row_length: int,
  max_sequences: int,
  shown: Shown | None = None,
) -> Batch:
  """The same for groups, whose responses share their prompt.

  A group is split into as few parts as fit a row each.  A part is its prompt up
  to the last token, as a sequence without a response, then each response behind
  that last token, from which its first one is predicted.  A response that is
  alone in its part stays a sequence with its prompt.

  Args:
    groups: sequences with the same prompt tokens, in lists.
    num_rows: B.
    row_length: T, tokens.
    max_sequences: S, sequences of a row, shared prompts among them.
    shown: lays out pictures; None: the policy sees none.

  Raises:
    ValueError: if a sequence is longer than a row, or rows do not suffice.
    images.BadImage: if a prompt has more patches than a row has room for.
  """
  parts = [part for group in groups for part in _parts(group, row_length)]
  lengths = [sum(s.length for s in part) for part in parts]
  images = [part[0].images for part in parts]
  rows, _, starts = place(
    lengths, row_length, max(1, len(parts)), images, shown
  )
  places, counts = [], np.zeros(len(parts), int)  # sequences of each row
  for part, row, start in zip(parts, rows, starts, strict=True):
    ends = start + np.cumsum([0, *(sequence.length for sequence in part)])
    columns = counts[row] + np.arange(len(part))
    places += [(row, *pair) for pair in zip(columns, ends[:-1], strict=True)]
    counts[row] += len(part)
  if counts.max(initial=0) > max_sequences:
    raise ValueError(
      f'a row of {counts.max()} sequences, not of {max_sequences} at most'
    )
  places = np.array(places, np.int64).reshape(-1, 3).T
  sequences = [sequence for part in parts for sequence in part]
  batch = _fill(sequences, places, num_rows, row_length, max_sequences)
  prompt_ids = batch.segment_ids.copy()
  for part, row, start, length in zip(
    parts, rows, starts, lengths, strict=True
  ):
    if len(part) > 1:
      behind, end = start + part[0].length, start + length
      prompt_ids[row, start:end] = batch.segment_ids[row, start]
      # Rotary positions of a response go on from its prompt, wherever both lie
      # in the row: it is computed as if it were alone.
      batch.positions[row, behind:end] += part[0].length
  spans = [
    Span(row, start, start + part[0].length, start + length, part[0].images)
    for part, row, start, length in zip(
      parts, rows, starts, lengths, strict=True
    )
    if part[0].images
  ]
  return _with_images(batch.replace(prompt_ids=prompt_ids), shown, spans)


def _with_images(batch, shown, spans):
  """The batch with its pictures; of a policy that sees, always with some
  room for them: all its batches run one program."""
  if shown is None:
    return batch
  images = shown.rows(batch.tokens, batch.positions, spans)
  return batch.replace(images=images)


def _parts(group, row_length):
  """Lists of a shared prompt and the responses behind it, or of one sequence.

  As responses go to the first part with room, no two parts are half empty.
  """
  if not group:
    return []
  # Without the last token: the first one of each response is predicted from it,
  # so each response needs its own.
  shared = group[0].prompt_tokens[:-1]
  behind = [
    dataclasses.replace(s, prompt_tokens=s.prompt_tokens[-1:], images=())
    for s in group
  ]
  lengths = [sequence.length for sequence in behind]
  which, _, _ = place(lengths, row_length - len(shared), len(group))
  parts = []
  for part in range(which.max() + 1):
    members = np.flatnonzero(which == part)
    if len(members) == 1 or not len(shared):
      parts += [[group[i]] for i in members]
    else:
      prompt = Sequence(
        shared, shared[:0], np.zeros(0, bool), images=group[0].images
      )
      parts.append([prompt, *(behind[i] for i in members)])
  return parts


def pack_pairs(
  pairs: list[tuple[Sequence, Sequence]],
  num_rows: int,
  row_length: int,
  max_pairs: int,
  shown: Shown | None = None,
) -> Batch:
  """The same for pairs, which stay together: pair p has columns 2p, 2p + 1.

  Args:
    pairs: N of them.
    num_rows: B.
    row_length: T, tokens; a pair has to fit.
    max_pairs: pairs of a row; S is twice that.
    shown: lays out pictures, those of both alike; None: it sees none.

  Raises:
    ValueError: if a pair is longer than a row, or rows do not suffice.
    images.BadImage: if one has more patches than a row has room for.
  """
  first = np.array([pair[0].length for pair in pairs], np.int64)
  second = np.array([pair[1].length for pair in pairs], np.int64)
  images = [pair[0].images for pair in pairs]
  rows, columns, starts = place(
    first + second, row_length, max_pairs, images, shown
  )
  places = (
    np.repeat(rows, 2),
    np.stack([2 * columns, 2 * columns + 1], 1).ravel(),
    np.stack([starts, starts + first], 1).ravel(),
  )
  sequences = [sequence for pair in pairs for sequence in pair]
  batch = _fill(sequences, places, num_rows, row_length, 2 * max_pairs)
  return _with_images(batch, shown, _spans(sequences, places))


def _fill(sequences, places, num_rows, row_length, max_sequences):
  """The batch; places are the row, column and first token of each sequence."""
  rows, columns, starts = places
  needed = rows.max(initial=-1) + 1
  if needed > num_rows:
    raise ValueError(
      f'{len(sequences)} sequences of {sum(s.length for s in sequences)} tokens'
      f' need {needed} rows of {row_length} tokens and {max_sequences}'
      f' sequences, not {num_rows}'
    )
  tokens, positions, segment_ids = np.zeros((3, num_rows, row_length), np.int32)
  loss_mask, behavior_logprobs, current_mask = np.zeros(
    (3, num_rows, row_length), np.float32
  )
  values = np.zeros((3, num_rows, max_sequences), np.float32)
  for sequence, row, column, start in zip(
    sequences, rows, columns, starts, strict=True
  ):
    response_start = start + len(sequence.prompt_tokens)
    end = start + sequence.length
    tokens[row, start:response_start] = sequence.prompt_tokens
    tokens[row, response_start:end] = sequence.response_tokens
    positions[row, start:end] = np.arange(sequence.length)
    # From 1, for 0 is padding, to which no token of a segment attends.
    segment_ids[row, start:end] = column + 1
    loss_mask[row, response_start:end] = sequence.loss_mask
    behavior_logprobs[row, response_start:end] = sequence.behavior_logprobs
    current_mask[row, response_start:end] = sequence.is_current
    values[:, row, column] = (
      sequence.advantage,
      sequence.pg_weight,
      sequence.reg_weight,
    )
  return Batch(
    tokens=tokens,
    positions=positions,
    segment_ids=segment_ids,
    loss_mask=loss_mask,
    ref_logprobs=np.zeros_like(loss_mask),
    kl_logprobs=np.zeros_like(loss_mask),
    behavior_logprobs=behavior_logprobs,
    current_mask=current_mask,
    advantage=values[0],
    pg_weight=values[1],
    reg_weight=values[2],
    num_rows=np.array(needed, np.int32),
  )


def split_minibatches(groups: list, num_parts: int) -> list[list]:
  """Splits into parts as even as can be.

  Args:
    groups: G things, kept in order.
    num_parts: from 1 to G; 0 if there are none.

  Returns:
    Lists whose lengths differ by at most 1.

  Raises:
    ValueError: more parts than things, or things and no part.
  """
  count = len(groups)
  if not min(count, 1) <= num_parts <= count:
    raise ValueError(f'{count} groups do not make {num_parts} minibatches')
  # By integers: with rounded shares the last part could be empty.
  ends = [count * (part + 1) // num_parts for part in range(num_parts)]
  return [groups[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def supervised(arrays: dict[str, np.ndarray]) -> Batch:
  """Packed rows of a supervised stage; every target token weighs the same.

  Args:
    arrays: [B, T] as of `packing.make_row`, or with `domain_ids` or `images`
      as well.
  """
  shape = (len(arrays['tokens']), 1)
  # A mean over the batch, not over each micro-batch: those with few targets
  # would weigh as much as those with many.
  weight = 1.0 / max(1.0, float(arrays['loss_mask'].sum()))
  zeros = np.zeros_like(arrays['loss_mask'])
  used = arrays['segment_ids'].any(axis=1)  # the last batch may have less
  return Batch(
    tokens=arrays['tokens'],
    positions=arrays['positions'],
    segment_ids=arrays['segment_ids'],
    loss_mask=arrays['loss_mask'],
    ref_logprobs=zeros,
    kl_logprobs=zeros,
    behavior_logprobs=zeros,
    current_mask=zeros,
    advantage=np.zeros(shape, np.float32),
    pg_weight=np.full(shape, weight, np.float32),
    reg_weight=np.zeros(shape, np.float32),
    num_rows=np.array(used.sum(), np.int32),
    domain_ids=arrays.get('domain_ids'),
    images=arrays.get('images'),
  )
