"""How well held-out pictures, or texts, are read in pretraining with pictures.

Kimi k1.5, appendix B.4, trains a tower in isolation, then with the language
model.  Whether it sees is known by what it reads: the probability of a whole
description, in the mean over held-out pictures, is the share of them that it
would read without a slip at temperature 1.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15.config import stages as stages_lib
from k15.data_types import TrainState
from k15.devices import hosts
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.runtime.context import Context
from k15.training import batching
from k15.training import update
from k15.training.sequences import Sequence

EVERY = 250  # steps between two measures


def make_measure(
  context: Context, stage: str, row_tokens: int, micro_rows: int = 0
) -> Callable[[TrainState], dict[str, float]] | None:
  """What measures a stage that reads; None: it is none, or reads files.

  Args:
    row_tokens: of the rows in which they are read.
    micro_rows: rows at once; 0: those of the optimizer.

  Returns:
    State -> `read`, and `read_X` of domain X, both in [0, 1], behind `sft/` or
    `text/`, as the stage logs.
  """
  lessons = context.task.lessons.get(stage)
  if lessons is None:
    return None
  domains = collections.defaultdict(list)
  sequences = []
  for example in lessons.held_out:
    one = dataclasses.replace(context.task, examples=[example])
    pairs, _ = task_lib.sft_pairs(
      one, context.config.rollout.max_length, row_tokens
    )
    for prompt, response, images in pairs:
      domains[example.problem.domain].append(len(sequences))
      mask = np.ones(len(response), bool)
      sequences.append(Sequence(prompt, response, mask, images=images))
  if not sequences:
    return None
  sums = logprobs_of(context, sequences, row_tokens, micro_rows)
  name = f'{stages_lib.STAGES[stage].curves}/read'

  def measure(state):
    params = weights.whole(context.shape, state)
    read = np.exp(sums(params))
    found = {f'{name}_{d}': read[own].mean() for d, own in domains.items()}
    return {k: float(v) for k, v in found.items()} | {name: float(read.mean())}

  return measure


def logprobs_of(
  context: Context,
  sequences: list[Sequence],
  row_tokens: int,
  micro_rows: int = 0,
) -> Callable[[Any], np.ndarray]:
  """Parameters -> float32 [N], the log-probability of each whole response."""
  most = len(sequences)
  micro = micro_rows or context.config.optimizer.micro_batch_rows
  shown = context.shown if any(s.images for s in sequences) else None
  rows, columns, _ = batching.place(
    [s.length for s in sequences], row_tokens, most,
    [s.images for s in sequences], shown,
  )  # fmt: skip
  num_rows = -(-(int(rows.max()) + 1) // micro) * micro
  batch = batching.pack(sequences, num_rows, row_tokens, most, shown)
  place = context.layout.row_sharding((micro, 1))
  compute = update.make_logprobs(context.shape, micro, layout=place)

  @jax.jit
  def sums(params, batch):
    logprobs = compute(params, batch)
    # Column s of a row is segment s + 1.
    of_each = jax.nn.one_hot(batch.segment_ids - 1, most, dtype=logprobs.dtype)
    return jnp.einsum('bt,bts->bs', logprobs * batch.loss_mask, of_each)

  batch = context.layout.place_rows(batch)
  return lambda params: hosts.to_host(sums(params, batch))[rows, columns]
