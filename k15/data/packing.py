"""Which example lies in which row: a plan of the whole stage, made beforehand.

Kimi k1.5, section 2.5.2, packs several examples into each training sequence.
Examples are drawn in the order of an epoch, first-fit: each goes to the first
open row with room, none is ever split.  A plan of rows instead of a stream
makes the number of steps of an epoch known, and any row can be made alone: the
state of a reader is one number.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from k15 import quiet_imports as quiet
from k15 import streams
from k15.data_types import ImageRef
from k15.vision.shown_rows import Shown
from k15.vision.shown_rows import Span


class TokenPair(NamedTuple):
  """An example: int32 [T] each, and the pictures of the prompt.

  The response ends with the end-of-sequence token.
  """

  prompt: np.ndarray
  response: np.ndarray
  images: tuple[ImageRef, ...] = ()


# Rows that may still be filled; more find better places and cost more time.
MAX_OPEN_ROWS = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """Examples of every row.

  Attributes:
    order: int64 [N], numbers of examples, row by row.
    starts: int64 [rows + 1], where in `order` each row begins.
  """

  order: np.ndarray
  starts: np.ndarray

  @property
  def num_rows(self) -> int:
    return len(self.starts) - 1

  def row(self, i: int) -> np.ndarray:
    """Examples of row i; none beyond the last one."""
    if i >= self.num_rows:
      return self.order[:0]
    return self.order[self.starts[i] : self.starts[i + 1]]


def first_fit(
  lengths: np.ndarray,
  row_length: int,
  max_open: int = MAX_OPEN_ROWS,
  patches: np.ndarray | None = None,
  row_patches: int = 0,
) -> np.ndarray:
  """The row of each sequence: the first one with room, else a new one.

  Args:
    lengths: int [N], tokens, in the order they come.
    row_length: tokens of a row.
    max_open: of the rows that are not full, only the newest ones are tried.
    patches: int [N], of the pictures of each; None: there are none.
    row_patches: patches of a row.

  Returns:
    int64 [N]; rows are numbered as they are opened.

  Raises:
    ValueError: a sequence is longer than a row, or has more patches.
  """
  lengths = np.asarray(lengths, np.int64)
  if len(lengths) and lengths.max() > row_length:
    raise ValueError(
      f'sequence {lengths.argmax()} of {lengths.max()} tokens is longer than'
      f' a row of {row_length}'
    )
  if patches is None:
    patches = np.zeros(len(lengths), np.int64)
  if len(patches) and patches.max() > row_patches:
    raise ValueError(
      f'sequence {patches.argmax()} with {patches.max()} patches of pictures'
      f' does not fit a row of {row_patches}'
    )
  shortest = lengths.min(initial=row_length)
  rows, room, unseen = np.zeros((3, len(lengths)), np.int64)
  first = end = 0  # of the open rows
  for i, length in enumerate(lengths.tolist()):
    fits = room[first:end] >= length
    if patches[i]:
      fits &= unseen[first:end] >= patches[i]
    row = first + int(fits.argmax()) if fits.any() else end
    if row == end:
      room[end], unseen[end] = row_length, row_patches
      end += 1
      first = max(first, end - max_open)
    rows[i] = row
    room[row] -= length
    unseen[row] -= patches[i]
    while first < end and room[first] < shortest:
      first += 1
  return rows


def epoch_order(
  sizes: Sequence[int],
  weights: Sequence[float],
  epoch: int,
  seed: int,
  stage: str = 'sft',
) -> np.ndarray:
  """The examples of an epoch, shuffled.

  Without weights every example comes once.  With them an epoch has as many
  examples, but of each file in proportion to its weight: one that is too small
  is gone through again, in another order, and of one that is too large the
  next epoch goes on where this one stopped.

  Args:
    sizes: examples of each file; they are numbered through, file after file.
    weights: of each file, above 0 in sum; or none.
    epoch: from 0.
    seed, stage: of the order; see `streams`.

  Returns:
    int64 [about sum(sizes)], numbers of examples.
  """
  total = sum(sizes)
  rng = streams.rng(seed, 'example order', stage, epoch)
  if not len(weights):
    return rng.permutation(total)
  parts, first = [], 0
  for file, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
    share = total * weight / sum(weights)
    begin, end = round(epoch * share), round((epoch + 1) * share)
    for turn in range(begin // size, -(-end // size)):
      shuffle = streams.rng(seed, 'file order', stage, file, turn)
      order = shuffle.permutation(size)
      inside = slice(max(0, begin - turn * size), end - turn * size)
      parts.append(first + order[inside])
    first += size
  return rng.permutation(np.concatenate(parts))


def make_plan(
  lengths: np.ndarray,
  sizes: Sequence[int],
  weights: Sequence[float],
  row_length: int,
  seed: int,
  epochs: int = 0,
  num_rows: int = 0,
  stage: str = 'sft',
  patches: np.ndarray | None = None,
  row_patches: int = 0,
) -> Plan:
  """Packs whole epochs, each for itself, its rows shuffled.

  Args:
    lengths: int [sum(sizes)], tokens of each example.
    sizes, weights, seed, stage: see `epoch_order`.
    row_length, patches, row_patches: see `first_fit`.
    epochs: how many; 0 asks for as many as fill `num_rows`.
    num_rows: with epochs = 0, at least so many.

  Raises:
    ValueError: no example, or one longer than a row.
  """
  if not len(lengths):
    raise ValueError('0 examples to learn from')
  orders, counts, epoch, made = [], [], 0, 0
  while epoch < epochs or made < num_rows:
    order = epoch_order(sizes, weights, epoch, seed, stage)
    own = None if patches is None else patches[order]
    rows = first_fit(
      lengths[order], row_length, MAX_OPEN_ROWS, own, row_patches
    )
    # The rows opened last are the emptiest; shuffled, no step gets them all.
    rng = streams.rng(seed, 'row order', stage, epoch)
    shuffled = rng.permutation(rows.max() + 1)
    rows = shuffled[rows]
    orders.append(order[np.argsort(rows, kind='stable')])
    counts.append(np.bincount(rows))
    made += len(shuffled)
    epoch += 1
  counts = np.concatenate(counts) if counts else np.zeros(0, np.int64)
  order = np.concatenate(orders) if orders else np.zeros(0, np.int64)
  return Plan(order, np.concatenate([[0], np.cumsum(counts)]))


def make_mixed_plan(
  lengths: np.ndarray,
  has_images: np.ndarray,
  row_length: int,
  num_rows: int,
  share: float,
  ramp: float,
  seed: int,
  stage: str,
  patches: np.ndarray,
  row_patches: int,
) -> tuple[Plan, float]:
  """Rows in which the share of examples with pictures rises, by tokens.

  Kimi k1.5, appendix B.4: the proportion of vision-text data increases to 30 %.
  Both kinds of examples are gone through in orders of their own, again and
  again.

  Args:
    lengths: int [N], tokens of each example.
    has_images: bool [N].
    row_length, patches, row_patches: see `first_fit`.
    num_rows: of the plan.
    share: of the tokens, in the end, in [0, 1].
    ramp: of the rows, those in which it rises linearly from 0, in [0, 1].
    seed, stage: of the orders; see `streams`.

  Returns:
    The plan, and the share of all its tokens.

  Raises:
    ValueError: a kind of which there is no example, and which has a share; or
      more patches, on average, than rows have room for.
  """
  kinds = [np.flatnonzero(~has_images), np.flatnonzero(has_images)]
  for kind, is_wanted, name in zip(
    kinds, (share < 1 or ramp, share), ('texts alone', 'pictures'), strict=True
  ):
    if is_wanted and not len(kind):
      raise ValueError(
        f'0 examples of {name}, and image_share {share:g} with image_ramp'
        f' {ramp:g} asks for some'
      )
  # Where rows are full of patches before they are full of tokens, those left
  # for texts alone would hide that the share is not reached.
  each = patches.sum() / max(1, lengths[has_images].sum())
  if share < 1 and share * row_length * each > row_patches:
    raise ValueError(
      f'image_share is {share:g}, and the pictures of so many of a row of'
      f' {row_length} tokens have {share * row_length * each:.0f} patches on'
      f' average: a row has room for {row_patches}'
    )
  streams_of = [
    _endless(kind, seed, stage, place) for place, kind in enumerate(kinds)
  ]
  total, done, owed, order = num_rows * row_length, 0, 0.0, []
  while done < total:
    rising = min(1.0, done / (ramp * total)) if ramp else 1.0
    # What pictures are behind by decides which kind comes next.
    i = next(streams_of[int(owed > 0 or share * rising == 1)])
    owed += share * rising * lengths[i] - has_images[i] * lengths[i]
    done += lengths[i]
    order.append(i)
  order = np.array(order, np.int64)
  rows = first_fit(
    lengths[order], row_length, MAX_OPEN_ROWS, patches[order], row_patches
  )
  kept = rows < num_rows
  order, rows = order[kept], rows[kept]
  seen = lengths[order][has_images[order]].sum() / lengths[order].sum()
  starts = np.concatenate([[0], np.cumsum(np.bincount(rows))])
  return Plan(order[np.argsort(rows, kind='stable')], starts), float(seen)


def _endless(indices, seed, stage, kind):
  """The examples of a kind, shuffled anew whenever they are through."""
  for turn in itertools.count():
    rng = streams.rng(seed, 'file order', stage, kind, turn)
    yield from rng.permutation(indices).tolist()


def make_row(
  source: Any,
  indices: Sequence[int],
  row_length: int,
  shown: Shown | None = None,
) -> dict[str, Any]:
  """One packed row.

  Args:
    source: source[i] is (tokens int32 [T], mask bool [T]) of example i, and
      source.images(i) are its pictures.
    indices: of the examples, in their order.
    row_length: tokens of a row.
    shown: lays out pictures; None: there are none.

  Returns:
    Arrays [row_length]: int32 `tokens`, `positions` (from 0 in each example)
    and `segment_ids` (from 1, 0 is padding), float32 `loss_mask`; and `images`,
    of the row, where they are shown.
  """
  spans = []
  tokens, positions, segment_ids = np.zeros((3, row_length), np.int32)
  loss_mask = np.zeros(row_length, np.float32)
  start = 0
  for number, index in enumerate(indices, 1):
    own, mask = source[index]
    end = start + len(own)
    tokens[start:end], loss_mask[start:end] = own, mask
    positions[start:end] = np.arange(len(own))
    segment_ids[start:end] = number
    if shown and source.images(index):
      spans.append(Span(0, start, end, end, source.images(index)))
    start = end
  row = dict(
    tokens=tokens,
    positions=positions,
    segment_ids=segment_ids,
    loss_mask=loss_mask,
  )
  if shown:
    row['images'] = shown.row(tokens, positions, spans)
  return row


def iterator(
  source: Any,
  plan: Plan,
  row_length: int,
  rows: int,
  shown: Shown | None = None,
) -> quiet.grain.DatasetIterator:
  """The batches of a plan, in order; the last one may end with empty rows.

  Args:
    source, row_length, shown: see `make_row`.
    plan: of the rows.
    rows: of a batch.

  Returns:
    An iterator over dicts of arrays [rows, row_length].  `get_state()` is a
    dict that JSON can hold; after `set_state(state)` it goes on bit by bit.
  """
  batches = -(-plan.num_rows // rows)
  stream = quiet.grain.MapDataset.range(batches * rows).map(
    lambda i: make_row(source, plan.row(i), row_length, shown)
  )
  # Rows are copied from memory or from a mapped file: threads gain nothing.
  options = quiet.grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
  return iter(stream.to_iter_dataset(options).batch(rows, drop_remainder=True))


def best_fit_iterator(
  pairs: Sequence[TokenPair],
  row_length: int,
  rows: int,
  seed: int,
  stage: str = 'sft',
) -> quiet.grain.DatasetIterator:
  """Endless packed batches, shuffled anew in every epoch.

  Args:
    pairs: prompts and responses, int32 [T]; kept in memory.
    row_length: tokens of a packed row.
    rows: packed rows of a batch.
    seed, stage: the same ones give the same stream; see `streams`.

  Returns:
    An iterator of dicts of arrays [rows, row_length]: int32 `tokens`,
    `positions` (from 0 in each example) and `segment_ids` (from 1, 0 is
    padding), float32 `loss_mask` (1 on response tokens).  `get_state()` is a
    dict of integers that JSON can hold; after `set_state(state)` the stream
    goes on bit by bit.

  Raises:
    ValueError: no pairs, one without a prompt, or one that no row can hold.
  """
  if not pairs:
    raise ValueError('0 examples to learn from')
  for i, (prompt, response, *_) in enumerate(pairs):
    length = len(prompt) + len(response)
    if not len(prompt) or length > row_length:
      raise ValueError(
        f'example {i} has {len(prompt)} prompt tokens and {length} in all; a '
        f'row holds 1 to {row_length}'
      )
  # Data in memory needs no threads: one core packs two million tokens a second
  # without.  Examples of 70 to 250 tokens in 25 rows of 320 leave 9 % padding
  # best-fit into four batches of bins, 14 % into one.
  stream = (
    quiet.grain.MapDataset.source(pairs)
    .seed(streams.number(seed, 'example order', stage))
    .shuffle()
    .repeat()
    .map(_example_row)
    .to_iter_dataset(
      quiet.grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    )
  )
  stream = quiet.grain.experimental.BestFitPackIterDataset(
    stream,
    length_struct=dict(tokens=row_length, loss_mask=row_length),
    num_packing_bins=4 * rows,
    seed=streams.number(seed, 'best fit', stage),
    meta_features=('loss_mask',),
  )
  return iter(stream.map(_packed_row).batch(rows, drop_remainder=True))


def _example_row(pair):
  prompt, response, *_ = pair
  mask = np.zeros(len(prompt) + len(response), np.float32)
  mask[len(prompt) :] = 1.0
  tokens = np.concatenate([prompt, response]).astype(np.int32)
  return dict(tokens=tokens, loss_mask=mask)


def _packed_row(row):
  return dict(
    tokens=row['tokens'],
    positions=row['tokens_positions'],
    segment_ids=row['tokens_segment_ids'],
    loss_mask=row['loss_mask'],
  )
