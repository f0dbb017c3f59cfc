"""The rows of a stage of pretraining: documents read once, mixed, planned.

Kimi k1.5, section 2.5.1.  The documents of a stage are tokens in a mapped file
of the workdir.  Which rows it learns from, at each row length, is planned
before its first step; the plan's shares, measured beside those asked for, are
in `<stage>_tokens/mixture.json`, and how files were cleaned in `cleaned.json`.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import stage_inputs
from k15.config import routes
from k15.data import conversations
from k15.data import documents
from k15.data import mixture
from k15.data import token_store
from k15.data.documents import DocumentStore
from k15.devices import hosts
from k15.runtime.context import Context
from k15.runtime.families import documents as generated_documents
from k15.stages.pretraining import questions


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


def lengths_of(config: Any, stage: str) -> tuple[int, ...]:
  """Tokens of the rows of a stage, one length after the other."""
  group = config[stage]
  return tuple(group.lengths) if 'lengths' in group else (group.row_tokens,)


def measured_at(config: Any, stage: str) -> list[tuple[int, int]]:
  """(row tokens, rows at once) at which held-out documents are read."""
  more = config[stage].get('measured_lengths', ())
  lengths = sorted({*lengths_of(config, stage), *more})
  return [(n, rows_at_once(config, stage, n)) for n in lengths]


def rows_at_once(config: Any, stage: str, length: int) -> int:
  """Of longer rows fewer are computed at once, for the memory they take."""
  shortest = lengths_of(config, stage)[0]
  return max(1, config.optimizer.micro_batch_rows * shortest // length)


def open_store(context: Context, stage: str, is_new: bool) -> DocumentStore:
  """The stage's documents as tokens, made by the first process.

  Args:
    is_new: whether no step has been taken yet, and files may have changed.

  Raises:
    DataError: something is wrong with the files, or they changed.
  """
  config, task = context.config, context.task
  group, directory = config[stage], context.workdir / f'{stage}_tokens'
  asked = questions.files_of(config, stage, context.workdir)
  long_files = group.get('long_files', ())
  paths = [*group.files, *asked, *long_files]
  settings = dict(
    documents=documents.FORMAT,
    held_out_share=config.documents.held_out_share,
    num_long=len(long_files),
    evaluated=sorted(p.prompt for p in task.kept_out.problems),
    tokenizer=stage_inputs.tokenizer_of(config),
    generated=[]
    if group.files
    else generated_documents.facts_of(config, stage),
  )
  if hosts.is_first():
    key = token_store.fingerprint(paths, settings)
    if not token_store.is_made(directory, key):
      if not is_new:
        raise conversations.DataError(
          f'{stage}.files, the tokenizer, or what is evaluated and therefore'
          ' left out, changed since the stage began: take it back or choose'
          ' another workdir'
        )
      documents.make(
        directory,
        key,
        _documents(context, stage),
        functools.partial(_encode, task.tokenizer),
        config.documents.held_out_share,
        task.kept_out.find,
      )
      files.replace_json(directory / 'cleaned.json', _cleaned(paths))
  hosts.wait(f'{stage} tokens')
  return DocumentStore(directory)


def _cleaned(paths):
  """Funnels of the files that `clean_documents` has left, for the report."""
  funnels = {
    str(path): files.read_json(pathlib.Path(path).with_name('funnel.json'))
    for path in paths
    if pathlib.Path(path).name == 'documents.jsonl'
  }
  return {path: funnel for path, funnel in funnels.items() if funnel}


def _documents(context, stage) -> Iterator[documents.Document]:
  """Of the stage's files; without any, generated ones."""
  group = context.config[stage]
  if not group.files:
    yield from generated_documents.make(context.config, stage)
  asked = questions.files_of(context.config, stage, context.workdir)
  for path in [*group.files, *asked]:
    yield from documents.read(path)
  for path in group.get('long_files', ()):
    yield from documents.read(path, is_long=True)


def _encode(tokenizer, text):
  return np.append(tokenizer.begin(text), tokenizer.eos_id)


def phases_of(
  context: Context, stage: str, store: DocumentStore
) -> list[Phase]:
  """The rows of all steps; writes the mixture.

  The steps are shared evenly by the row lengths, and each goes on in the order
  of documents where the one before it stopped.

  Raises:
    DataError: weights of domains that there are not, or no long documents.
  """
  config, lengths = context.config, lengths_of(context.config, stage)
  group = config[stage]
  bounds = [group.steps * i // len(lengths) for i in range(len(lengths) + 1)]
  sizes = []
  parts = zip(lengths, itertools.pairwise(bounds), strict=True)
  for length, (first, last) in parts:
    at_once = rows_at_once(config, stage, length)
    rows = -(-max(1, group.batch_tokens // length) // at_once) * at_once
    sizes.append((first, length, rows, at_once, rows * (last - first)))
  plans = _plans(context, stage, store, [(s[1], s[4]) for s in sizes])
  return [
    Phase(*size[:4], plan, mixture.batches(store, plan, *size[1:3]))
    for size, plan in zip(sizes, plans, strict=True)
  ]


def _plans(context, stage, store, sizes):
  """A plan for each (row length, rows), and what the mixture came to."""
  group = context.config[stage]
  share = group.get('full_attention_share', 0.0)
  full = [round(share * count) for _, count in sizes]
  rows = [n for _, n in sizes]
  weights = routes.weights_of(group.weights)
  kinds, found = [], {}
  for name, is_long, counts, asked in (
    (
      'partial',
      False,
      [n - f for n, f in zip(rows, full, strict=True)],
      weights,
    ),
    ('full', True, full, {}),
  ):
    wanted = [(row, n) for (row, _), n in zip(sizes, counts, strict=True)]
    plans, shares = _of_kind(context, stage, store, wanted, is_long, asked)
    kinds.append(plans)
    if sum(counts):
      found[name] = dict(rows=counts, domains=shares)
  if hosts.is_first():
    path = context.workdir / f'{stage}_tokens' / 'mixture.json'
    files.replace_json(path, found)
  return [mixture.interleave(*pair) for pair in zip(*kinds, strict=True)]


def _of_kind(context, stage, store, sizes, is_long, weights):
  """Plans of rows that are all partial, or all full, and shares by domain."""
  group, seed = context.config[stage], context.config.seed
  is_drawn = ~store.is_held_out & (store.is_long == is_long)
  indices = np.flatnonzero(is_drawn)
  needed = sum(row * count for row, count in sizes)
  if needed and not len(indices):
    what = 'long_files' if is_long else 'files'
    raise conversations.DataError(
      f'{stage}.{what}: 0 documents for {needed} tokens'
    )
  there = np.bincount(
    store.domains[indices], store.lengths[indices], minlength=len(store.names)
  )
  try:
    shares = mixture.shares_of(weights, store.names, there)
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
  return plans, mixture.measured(
    plans, store.lengths, store.domains, indices, store.names, shares
  )
