"""What a model makes of texts that no stage learns from.

The loss of each domain at each row length, and whether notes are found: numbers
that are logged before, while and after a stage of pretraining trains.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15 import files
from k15 import streams
from k15.data import needles
from k15.data.documents import DataError
from k15.data.documents import DocumentStore
from k15.data_types import Batch, TrainState
from k15.devices import hosts
from k15.equations import losses
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages.pretraining import document_rows
from k15.training import batching
from k15.training import update

# Rows of a length, whose micro-batches have so many: (length, micro_rows).
Sizes = list[tuple[int, int]]


def domain_sums(
  values: jax.Array, rows: Batch, num_domains: int
) -> tuple[jax.Array, jax.Array]:
  """Sums of values [B, T] over the targets of each domain, and their number.

  Returns:
    float32 [num_domains] each.
  """
  ids, mask = rows.domain_ids + 1, rows.loss_mask
  nats, tokens = (
    losses.sequence_sums(x, ids, mask, num_domains).sum(axis=0)
    for x in (values, jnp.ones_like(values))
  )
  return nats, tokens


def make_measure(
  context: Context, stage: str, store: DocumentStore, sizes: Sizes
) -> Callable[[TrainState], dict[str, float]] | None:
  """What is logged of a state; None where no document is held out.

  Returns:
    A function that returns `text/held_out_loss`, `text/held_out_domain_NAME`
    of rows of the shortest length, and, where there are several lengths,
    `text/held_out_at_LENGTH` and `text/needle_at_LENGTH`, the share of notes of
    whose number every token has a probability above one half.  How deep those
    lay that were found is in `<stage>/needles.json`.
  """
  if not store.is_held_out.any():
    return None
  held = [(size[0], _losses_of(context, stage, store, *size)) for size in sizes]
  count = context.config[stage].get('needles', 0)
  asked = [
    (n, _needles_of(context, store, n, micro, count))
    for n, micro in (sizes if count else ())
  ]

  def measure(state):
    params = weights.joined(state, state.params)
    found, depths = {}, {}
    with context.layout.use_mesh():
      for place, (length, measure_loss) in enumerate(held):
        nats, tokens = measure_loss(params)
        mean = float(nats.sum() / max(tokens.sum(), 1))
        if not place:
          found['text/held_out_loss'] = mean
          found |= by_domain('text/held_out_domain_', store, nats, tokens)
        if len(held) > 1:
          found[f'text/held_out_at_{length}'] = mean
      for length, find in asked:
        is_found, part = find(params)
        found[f'text/needle_at_{length}'] = float(is_found.mean())
        depths[str(length)] = [
          float(is_found[part == p].mean())
          for p in range(needles.DEPTHS)
          if (part == p).any()
        ]
    if depths and hosts.is_first():
      folder = context.workdir / stage
      folder.mkdir(parents=True, exist_ok=True)
      files.replace_json(folder / 'needles.json', depths)
    return found

  return measure


def by_domain(
  prefix: str, store: DocumentStore, nats: np.ndarray, tokens: np.ndarray
) -> dict[str, float]:
  """Mean nats per token of each domain that has tokens, by prefixed name."""
  return {
    prefix + name: float(nats[d] / tokens[d])
    for d, name in enumerate(store.names)
    if tokens[d]
  }


def _losses_of(context, stage, store, length, micro):
  """What returns nats and tokens, float [domains], of held-out documents."""
  size = len(store.names)
  arrays = document_rows.held_out(context, stage, store, length, micro)
  compute, batch = _forward(context, micro), batching.supervised(arrays)

  @jax.jit
  def sums(params, batch):
    return domain_sums(-compute(params, batch), batch, size)

  batch = context.layout.place_rows(batch)
  return lambda params: hosts.to_host(sums(params, batch))


def _needles_of(context, store, length, micro, count):
  """What returns which notes are found, bool [count], and how deep they lay."""
  config, tokenizer = context.config, context.task.tokenizer
  # Notes that documents have of their own would be found instead.
  is_hay = store.is_held_out & (store.num_images == 0)
  documents = (store[i] for i in np.flatnonzero(is_hay))
  without = (
    document
    for document in documents
    if needles.BEGINNING not in tokenizer.decode(document)
  )
  hay = list(itertools.islice(without, length))
  if not hay:
    raise DataError('long_context.needles: all held-out documents have notes')
  hay = np.concatenate(hay)
  rng = streams.rng(config.seed, 'needles', length)
  try:
    tokens, is_answer, part = needles.make(
      tokenizer.encode, hay, length, count, rng
    )
  except ValueError as error:
    raise DataError(f'long_context.needles: {error}') from None
  columns = np.arange(length, dtype=np.int32)
  rows = [
    dict(
      tokens=tokens[i],
      positions=columns,
      segment_ids=np.ones(length, np.int32),
      domain_ids=np.zeros(length, np.int32),
      loss_mask=is_answer[i].astype(np.float32),
    )
    for i in range(count)
  ]
  batch = context.layout.place_rows(batching.supervised(_padded(rows, micro)))
  compute = _forward(context, micro)

  @jax.jit
  def found(params, batch):
    is_likely = compute(params, batch) > jnp.log(0.5)
    return jnp.all(is_likely | (batch.loss_mask == 0), axis=1)

  return lambda params: (hosts.to_host(found(params, batch))[:count], part)


def _forward(context, micro):
  layout = context.layout.row_sharding((micro, 1))
  return update.make_logprobs(context.shape, micro, layout=layout)


def _padded(rows: list[dict[str, Any]], micro: int) -> dict[str, np.ndarray]:
  """Rows as arrays, with empty ones up to a multiple of `micro`."""
  empty = {key: np.zeros_like(value) for key, value in rows[0].items()}
  rows = rows + [empty] * (-len(rows) % micro)
  return {key: np.stack([row[key] for row in rows]) for key in empty}
