"""The rows of a stage of pretraining: its documents mixed and planned.

Kimi k1.5, section 2.5.1.  Which rows a stage learns from, at each row length,
is planned before its first step; the plan's shares, measured beside those asked
for, are in `<stage>_tokens/mixture.json`.
"""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import numpy as np

from k15 import files
from k15.config import routes
from k15.data import conversations
from k15.data import mixture
from k15.data.documents import DocumentStore
from k15.devices import hosts
from k15.runtime.context import Context
from k15.stages.pretraining import learnt_documents


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
  """Rows of one length.

  Attributes:
    first: number of its first step.
    row_tokens: of a row.
    rows: of a batch.
    micro_rows: whose gradient is computed at once; divides `rows`.
    plan: of all rows.
    batches: by number, from 0; see `mixture.batches`.
  """

  first: int
  row_tokens: int
  rows: int
  micro_rows: int
  plan: mixture.Plan
  batches: Any


def measured_at(config: Any, stage: str) -> list[tuple[int, int]]:
  """(row tokens, rows at once) at which held-out documents are read."""
  more = config[stage].get('measured_lengths', ())
  lengths = sorted({*learnt_documents.lengths_of(config, stage), *more})
  return [(n, rows_at_once(config, stage, n)) for n in lengths]


def rows_at_once(config: Any, stage: str, length: int) -> int:
  """Of longer rows fewer are computed at once, for the memory they take."""
  shortest = learnt_documents.lengths_of(config, stage)[0]
  return max(1, config.optimizer.micro_batch_rows * shortest // length)


def phases_of(
  context: Context, stage: str, store: DocumentStore
) -> list[Phase]:
  """The rows of all steps; writes the mixture.

  The steps are shared evenly by the row lengths, and each goes on in the order
  of documents where the one before it stopped.

  Raises:
    DataError: weights of domains that there are not, no long documents, or
      none with pictures.
  """
  config, group = context.config, context.config[stage]
  lengths = learnt_documents.lengths_of(config, stage)
  bounds = [group.steps * i // len(lengths) for i in range(len(lengths) + 1)]
  sizes = []
  shown = learnt_documents.shown_of(context, stage)
  parts = zip(lengths, itertools.pairwise(bounds), strict=True)
  for length, (first, last) in parts:
    at_once = rows_at_once(config, stage, length)
    rows = -(-max(1, group.batch_tokens // length) // at_once) * at_once
    sizes.append((first, length, rows, at_once, rows * (last - first)))
  plans = _plans(context, stage, store, [(s[1], s[4]) for s in sizes])
  return [
    Phase(*size[:4], plan, mixture.batches(store, plan, *size[1:3], shown))
    for size, plan in zip(sizes, plans, strict=True)
  ]


def held_out(
  context: Context, stage: str, store: DocumentStore, length: int, micro: int
) -> dict[str, Any]:
  """Rows of held-out documents, of each domain up to its part of the tokens.

  Args:
    length: tokens of a row; of documents that outgrow it, those with pictures
      are left out, for they are not cut.
    micro: rows at once, up to a multiple of which there are empty ones.

  Returns:
    Arrays [rows, length], see `mixture.make_row`.
  """
  most = context.config.documents.held_out_tokens // len(store.names)
  chosen = []
  for d in range(len(store.names)):
    own = np.flatnonzero(store.is_held_out & (store.domains == d))
    fits = np.cumsum(store.lengths[own]) <= most
    chosen.append(own[: max(1, fits.sum())])
  order = np.concatenate(chosen)
  fits = (store.num_images[order] == 0) | (store.lengths[order] <= length)
  shown = learnt_documents.shown_of(context, stage)
  plan = mixture.whole(
    order[fits], store.lengths, length, None,
    learnt_documents.patches_of(store, shown),
    shown.row_patches if shown else 0,
  )  # fmt: skip
  rows = range(-(-plan.num_rows // micro) * micro)
  return jax.tree.map(
    lambda *columns: np.stack(columns),
    *(mixture.make_row(store, plan, i, length, shown) for i in rows),
  )


def _plans(context, stage, store, sizes):
  """A plan for each (row length, rows), and what the mixture came to."""
  group = context.config[stage]
  rows = np.array([n for _, n in sizes])
  full = _share_of(rows, group.get('full_attention_share', 0.0))
  weights = routes.weights_of(group.weights)
  kinds, found = [], {}
  for name, is_long, counts, asked in (
    ('partial', False, rows - full, weights),
    ('full', True, full, {}),
  ):
    seen = _share_of(counts, group.get('image_share', 0.0))
    for kind, make, own, *more in (
      (name, _of_texts, counts - seen, asked),
      (f'{name}, pictures', _of_pictures, seen),
    ):
      wanted = [(row, n) for (row, _), n in zip(sizes, own, strict=True)]
      plans, shares = make(context, stage, store, wanted, is_long, *more)
      kinds.append([_marked(plan, is_long) for plan in plans])
      if own.any():
        found[kind] = dict(rows=own.tolist(), domains=shares)
  if hosts.is_first():
    path = context.workdir / f'{stage}_tokens' / 'mixture.json'
    files.replace_json(path, found)
  return [
    functools.reduce(mixture.interleave, plans)
    for plans in zip(*kinds, strict=True)
  ]


def _share_of(counts, share):
  return np.array([round(share * int(n)) for n in counts])


def _marked(plan, is_full):
  return dataclasses.replace(plan, is_full=np.full(plan.num_rows, is_full))


def _of_texts(context, stage, store, sizes, is_long, weights):
  """Plans of rows that are all partial, or all full, and shares by domain."""
  group, seed = context.config[stage], context.config.seed
  indices = _drawable(store, is_long)
  needed = sum(row * count for row, count in sizes)
  if needed and not len(indices):
    what = 'long_files' if is_long else 'files'
    raise conversations.DataError(
      f'{stage}.{what}: 0 documents for {needed} tokens'
    )
  try:
    shares = mixture.shares_of(weights, store.names, _there(store, indices))
  except ValueError as error:
    raise conversations.DataError(f'{stage}.weights: {error}') from None
  longest = int(store.lengths.max())
  order = np.zeros(0, np.int64)
  if needed:
    order = mixture.order_of(
      indices, store.lengths, store.domains, shares,
      needed + len(sizes) * longest, seed, stage,
    )  # fmt: skip
  pack = mixture.cut
  if group.whole_documents and not is_long:
    pack = mixture.whole
  ends, plans = np.cumsum(store.lengths[order]), []
  for row, count in sizes:
    plans.append(pack(order, store.lengths, row, count))
    # The next length begins with a document of its own.
    used = int(np.searchsorted(ends, row * count))
    used = min(len(order), used + 1)
    order, ends = order[used:], ends[used:] - ends[used - 1] if used else ends
  return plans, _measured(store, plans, indices, shares)


def _of_pictures(context, stage, store, sizes, is_long):
  """The same of whole documents with pictures, each domain as it is there.

  A long one lies in the shortest rows that hold it.
  """
  shown = learnt_documents.shown_of(context, stage)
  patches = learnt_documents.patches_of(store, shown)
  room = shown.row_patches if shown else 0
  everything = _drawable(store, is_long, has_images=True)
  plans, shorter = [], 0
  for turn, (row, count) in enumerate(sizes):
    lengths = store.lengths[everything]
    fits = (lengths <= row) & (lengths > (shorter if is_long else 0))
    indices, order = everything[fits], np.zeros(0, np.int64)
    if count and not len(indices):
      raise conversations.DataError(
        f'{stage}.image_share: 0 {"long " * is_long}documents with pictures of'
        f' {shorter + 1 if is_long else 1} to {row} tokens, for {count} rows'
      )
    if count:
      there = _there(store, indices)
      order = mixture.order_of(
        indices, store.lengths, store.domains, there / there.sum(), row * count,
        context.config.seed, stage, turn,
      )  # fmt: skip
    plans.append(mixture.whole(order, store.lengths, row, count, patches, room))
    shorter = row
  there = _there(store, everything)
  shares = there / max(1, there.sum())
  return plans, _measured(store, plans, everything, shares)


def _drawable(store, is_long, has_images=False):
  """Numbers of the documents of a kind that may be learnt."""
  is_kind = (store.is_long == is_long) & ((store.num_images > 0) == has_images)
  return np.flatnonzero(~store.is_held_out & is_kind)


def _there(store, indices):
  """Tokens of each domain among some documents."""
  return np.bincount(
    store.domains[indices], store.lengths[indices], minlength=len(store.names)
  )


def _measured(store, plans, indices, shares):
  return mixture.measured(
    plans, store.lengths, store.domains, indices, store.names, shares
  )
