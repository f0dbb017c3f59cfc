"""Which part of which document lies in which row, in the shares asked for.

Kimi k1.5, section 2.5.1: domains are up- and down-sampled against what there is
of them, by weights that a stage may change; documents follow one another and
rows are cut from them.  The whole of a stage is planned beforehand, from
lengths, domains and a seed alone: any row can be made by itself, so the state
of a reader is the number of its next batch, and a resumed stage goes on within
the document in which it stopped.

In the long-context stage a share of the rows is of long documents and attends
to all of itself ("full attention"); in the others a token sees its own document
only ("partial attention").  The paper's words; what they mean there it does
not say, NP.

Documents with pictures are never cut, and lie in rows of their own.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import quiet_imports as quiet
from k15 import streams
from k15.data import packing
from k15.vision.shown_rows import Shown
from k15.vision.shown_rows import Span


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """Pieces of documents, row by row.

  Attributes:
    documents: int64 [P], number of the document of each piece.
    begins, ends: int64 [P], which of its tokens.
    starts: int64 [rows + 1], the first piece of each row.
    is_full: bool [rows], whether a row attends to all of itself.
  """

  documents: np.ndarray
  begins: np.ndarray
  ends: np.ndarray
  starts: np.ndarray
  is_full: np.ndarray

  @property
  def num_rows(self) -> int:
    return len(self.starts) - 1

  def row(self, i: int) -> range:
    """The pieces of row i."""
    return range(self.starts[i], self.starts[i + 1])


def shares_of(
  weights: Mapping[str, float], names: Sequence[str], tokens: Sequence[int]
) -> np.ndarray:
  """What share of the tokens each domain is asked to have.

  Args:
    weights: by name, >= 0; a domain that is not named gets 0.  {}: each has
      the share of the tokens that it has among the documents.
    names: of the domains.
    tokens: int [domains], those that there are.

  Returns:
    float64 [domains], of sum 1.

  Raises:
    ValueError: a name that no document has, or a weight where there are no
      tokens.
  """
  unknown = sorted(set(weights) - set(names))
  if unknown:
    raise ValueError(
      f'weights name {unknown}, and the documents are of {list(names)}'
    )
  if not weights:
    return np.asarray(tokens, float) / max(1, sum(tokens))
  asked = np.array([weights.get(name, 0.0) for name in names], float)
  for name, weight, there in zip(names, asked, tokens, strict=True):
    if weight and not there:
      raise ValueError(f'{name!r} has the weight {weight:g} and 0 tokens')
  return asked / asked.sum()


def order_of(
  indices: np.ndarray,
  lengths: np.ndarray,
  domains: np.ndarray,
  shares: np.ndarray,
  num_tokens: int,
  seed: int,
  stage: str,
  turn: int = 0,
) -> np.ndarray:
  """Documents one after the other, mixed in these shares of their tokens.

  The next is always one of the domain that is furthest behind its share, so
  that every beginning of the order is mixed alike, to within a document.  Of a
  domain all documents come once, shuffled, before any comes again, shuffled
  anew.

  Args:
    indices: int [n], the documents to draw from.
    lengths, domains: int [N], of all documents.
    shares: float [domains], of sum 1; above 0 only where there are documents.
    num_tokens: to be reached.
    seed, stage: of the shuffles; see `streams`.
    turn: number of the first shuffle of each domain.

  Returns:
    int64 [as many as that takes].
  """
  drawn = [
    _endless(indices[domains[indices] == d], d, seed, stage, turn)
    for d in range(len(shares))
  ]
  owed, given, total, order = shares.tolist(), [0] * len(shares), 0, []
  while total < num_tokens:
    # Of sum 1, so that the largest is above 0: never a domain without a share.
    behind = [s * (total + 1) - g for s, g in zip(owed, given, strict=True)]
    d = behind.index(max(behind))
    document = next(drawn[d])
    order.append(document)
    given[d] += int(lengths[document])
    total += int(lengths[document])
  return np.array(order, np.int64)


def _endless(indices: np.ndarray, domain, seed, stage, turn) -> Iterator[int]:
  for number in itertools.count(turn):
    shuffle = streams.rng(seed, 'file order', stage, domain, number)
    yield from shuffle.permutation(indices).tolist()


def cut(
  order: np.ndarray, lengths: np.ndarray, row_tokens: int, num_rows: int
) -> Plan:
  """Rows without padding: documents follow one another, and rows cut them.

  Args:
    order: int [n], documents, of at least num_rows * row_tokens tokens.
    lengths: int [N], of all documents.
  """
  ends = np.cumsum(lengths[order])
  total = num_rows * row_tokens
  if num_rows and ends[-1] < total:
    raise ValueError(f'{ends[-1]} tokens for {num_rows} rows of {row_tokens}')
  row_ends = np.arange(1, num_rows + 1) * row_tokens
  cuts = np.union1d(ends[ends < total], row_ends)
  firsts = np.concatenate([[0], cuts])[:-1].astype(np.int64)
  which = np.searchsorted(ends, firsts, 'right')
  before = ends[which] - lengths[order][which]
  return Plan(
    order[which],
    firsts - before,
    cuts - before,
    np.concatenate([[0], np.searchsorted(cuts, row_ends) + 1]),
    np.zeros(num_rows, bool),
  )


def whole(
  order: np.ndarray,
  lengths: np.ndarray,
  row_tokens: int,
  num_rows: int | None = None,
  patches: np.ndarray | None = None,
  row_patches: int = 0,
) -> Plan:
  """Rows of whole documents, first-fit; only what no row holds is cut.

  Arguments as of `cut`, all rows for None; they end with padding where nothing
  fits.  Those with pictures fit a row.

  Args:
    patches: int [N], of the pictures of all documents; None: they have none.
    row_patches: patches of a row.
  """
  pieces = -(-lengths[order] // row_tokens)
  documents = np.repeat(order, pieces)
  firsts = np.cumsum(pieces) - pieces
  number = np.arange(len(documents)) - np.repeat(firsts, pieces)
  begins = number * row_tokens
  ends = np.minimum(begins + row_tokens, lengths[documents])
  rows = packing.first_fit(
    ends - begins, row_tokens, packing.MAX_OPEN_ROWS,
    None if patches is None else patches[documents], row_patches,
  )  # fmt: skip
  if num_rows is None:
    num_rows = int(rows.max(initial=-1)) + 1
  by_row = np.argsort(rows, kind='stable')
  by_row = by_row[rows[by_row] < num_rows]
  counts = np.bincount(rows[by_row], minlength=num_rows)
  return Plan(
    documents[by_row],
    begins[by_row],
    ends[by_row],
    np.concatenate([[0], np.cumsum(counts)]),
    np.zeros(num_rows, bool),
  )


def interleave(many: Plan, few: Plan) -> Plan:
  """All rows of both, evenly mixed."""
  rows = many.num_rows + few.num_rows
  # Of every n rows the share is of `few`, rounded down: whole numbers, no
  # drift.
  counts = np.arange(rows + 1) * few.num_rows // max(1, rows)
  is_few = np.diff(counts) > 0
  plans, taken = (many, few), [0, 0]
  pieces, is_full, offset = [], np.zeros(rows, bool), many.starts[-1]
  for place, i in enumerate(is_few.astype(int).tolist()):
    row = plans[i].row(taken[i])
    pieces.append(np.arange(row.start, row.stop) + i * offset)
    is_full[place] = plans[i].is_full[taken[i]]
    taken[i] += 1
  order = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)

  def joined(name):
    return np.concatenate([getattr(p, name) for p in plans])[order]

  starts = np.cumsum([0, *map(len, pieces)])
  columns = map(joined, ('documents', 'begins', 'ends'))
  return Plan(*columns, starts, is_full)


def measured(
  plans: Sequence[Plan],
  lengths: np.ndarray,
  domains: np.ndarray,
  indices: np.ndarray,
  names: Sequence[str],
  shares: np.ndarray,
) -> dict[str, dict[str, float]]:
  """What the rows have of each domain, beside what was asked.

  Args:
    plans: of the rows.
    lengths, domains: int [N], of all documents.
    indices: those that could be drawn.
    names, shares: of the domains.

  Returns:
    Domain -> `asked` and `share`, of the tokens in rows; `there`, its share of
    the tokens that could be drawn; `turns`, how often it was gone through:
    above 1, up-sampled to more than there is.
  """
  size, tokens = len(names), np.zeros(len(names))
  for plan in plans:
    pieces = plan.ends - plan.begins
    tokens += np.bincount(domains[plan.documents], pieces, minlength=size)
  there = np.bincount(domains[indices], lengths[indices], minlength=size)
  return {
    name: dict(
      asked=float(shares[d]),
      share=float(tokens[d] / max(1, tokens.sum())),
      there=float(there[d] / max(1, there.sum())),
      turns=float(tokens[d] / max(1, there[d])),
    )
    for d, name in enumerate(names)
    if there[d]
  }


def make_row(
  source: Any,
  plan: Plan,
  i: int,
  row_tokens: int,
  shown: Shown | None = None,
) -> dict[str, Any]:
  """One row.

  Args:
    source: `DocumentStore`, or the like: `part(document, begin, end)` and
      `domains`; where there are pictures, `images(document)`.
    plan: of the rows; beyond the last they are empty.
    shown: lays out pictures; None: there are none.

  Returns:
    Arrays [row_tokens]: int32 `tokens`, `positions` (from 0 in each piece, or
    in the row if it is full), `segment_ids` (from 1, 0 is padding; of a full
    row 1) and `domain_ids`; float32 `loss_mask`, 1 where there is a token
    before to predict from, and none of a picture; and `images`, of the row,
    where they are shown.
  """
  pieces = plan.row(i) if i < plan.num_rows else range(0)
  used = slice(pieces.start, pieces.stop)
  documents = plan.documents[used]
  parts = [
    source.part(*where)
    for where in zip(documents, plan.begins[used], plan.ends[used], strict=True)
  ]
  # Nothing comes before the first token of a piece to predict it from.
  masked = [(own, np.arange(len(own)) > 0) for own in parts]
  row = packing.make_row(masked, range(len(parts)), row_tokens)
  lengths = [len(own) for own in parts]
  last = sum(lengths)
  domain_ids = np.zeros(row_tokens, np.int32)
  domain_ids[:last] = np.repeat(source.domains[documents], lengths)
  if len(parts) and plan.is_full[i]:
    row['positions'][:last], row['segment_ids'][:last] = np.arange(last), 1
    row['loss_mask'][1:last] = 1
  if shown:
    row['loss_mask'] *= row['tokens'] != shown.sight.image_id
    spans = _spans(source, documents, lengths)
    if len(parts) and plan.is_full[i]:
      whole = itertools.chain.from_iterable(span.images for span in spans)
      spans = [Span(0, 0, last, last, tuple(whole))]
    row['images'] = shown.row(row['tokens'], row['positions'], spans)
  return row | dict(domain_ids=domain_ids)


def _spans(source, documents, lengths):
  """Where documents of so many tokens lie in a row that show pictures."""
  ends = np.cumsum(lengths, dtype=int).tolist()
  return [
    Span(0, end - length, end, end, source.images(document))
    for document, length, end in zip(documents, lengths, ends, strict=True)
    if source.images(document)
  ]


def batches(
  source: Any,
  plan: Plan,
  row_tokens: int,
  rows: int,
  shown: Shown | None = None,
) -> quiet.grain.MapDataset:
  """The batches of a plan by number; the last one may end with empty rows.

  Returns:
    batches[i]: a dict of arrays [rows, row_tokens], see `make_row`.
  """
  count = -(-plan.num_rows // rows)
  return (
    quiet.grain.MapDataset.range(count * rows)
    .map(lambda i: make_row(source, plan, i, row_tokens, shown))
    .batch(rows)
  )
