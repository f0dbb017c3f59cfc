"""Minibatches of an update: groups in packed rows, all of one shape.

The shape follows from the config alone, so that no draw compiles a step anew.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from k15.data_types import Batch, Group
from k15.devices import sharding
from k15.equations import advantages
from k15.model import attention
from k15.runtime.context import Context
from k15.runtime.context import Layout
from k15.training import batching
from k15.training import sequences as sequences_lib

# A group, and of its responses [K] advantages and which enter the loss.
Pick = tuple[Group, np.ndarray, np.ndarray]


def groups_per_update(config: Any) -> int:
  """Groups of one optimizer step at most."""
  return -(-config.rl.problems_per_iteration // config.rl.updates_per_iteration)


def shares_prompts(config: Any, layout: Layout) -> bool:
  """Whether responses of a row share their prompt: if asked to, and if the
  attention of rows of that length can tell them apart."""
  if not config.rl.row_responses:
    return False
  p, length = layout.shape, _shared_length(config, layout)
  with layout.use_mesh():
    kind = attention.pick(p.attention, length, p.dtype)
  return kind in attention.SHARES_PROMPTS


def batch_shape(config: Any, layout: Layout) -> tuple[int, int, int]:
  """Rows, tokens of a row, and sequences of a row at most, of every batch.

  Where prompts are shared, a group needs as many rows as its longest responses
  would, and any two of them may have a prompt, which is a sequence too.
  """
  groups, k = groups_per_update(config), config.rl.group_size
  micro, r = config.optimizer.micro_batch_rows, config.rollout
  rows, columns, most = k, r.max_prompt_length + r.max_length, k
  if shares_prompts(config, layout):
    rows, columns = (
      -(-k // config.rl.row_responses),
      _shared_length(config, layout),
    )
    most += k // 2
  kept = config.loss.ptx_examples if config.loss.ptx_weight else 0
  rows = groups * rows + kept
  return -(-rows // micro) * micro, columns, groups * most + kept


def _shared_length(config, layout):
  """Tokens of a prompt but its last, and of so many responses behind that,
  rounded up to what the mesh divides."""
  r, n = config.rollout, min(config.rl.row_responses, config.rl.group_size)
  length = r.max_prompt_length - 1 + n * (1 + r.max_length)
  parts = sharding.ways_of(layout.mesh, layout.rules, 'sequence')
  return length + -length % parts


def kept_examples(
  context: Context, rng: np.random.Generator
) -> list[sequences_lib.Sequence]:
  """Worked solutions beside the responses of an update: K2's PTX term.

  With an advantage of 1 and no pull to the reference, the policy gradient of a
  sequence is the gradient of its likelihood.
  """
  c, r = context.config.loss, context.config.rollout
  if not c.ptx_weight:
    return []
  pairs = context.task.draw_pairs(
    c.ptx_examples, r.max_prompt_length, r.max_length, rng
  )
  weight = c.ptx_weight / max(1, sum(len(pair.response) for pair in pairs))
  return [
    sequences_lib.Sequence(
      pair.prompt,
      pair.response,
      np.ones(len(pair.response), bool),
      advantage=1.0,
      pg_weight=weight,
      images=pair.images,
    )
    for pair in pairs
  ]


def pack(
  context: Context,
  picked: Sequence[Pick],
  iteration: int,
  examples: Sequence[sequences_lib.Sequence],
) -> Batch:
  """Packs some groups, and examples beside them, into rows of that shape."""
  config = context.config
  sequences, kept, ids = [], [], []
  for group, advantages_K, keep_K in picked:
    problem = group.problem
    prompt = context.task.encode_prompt(problem.prompt, problem.images)
    for trajectory, advantage, keep in zip(
      group.trajectories, advantages_K, keep_K, strict=True
    ):
      sequences.append(
        sequences_lib.sequence_of(
          trajectory, prompt, config.rl.loss_segments, iteration, advantage,
          problem.images,
        )  # fmt: skip
      )
      kept.append(bool(keep) and trajectory.length > 0)
      ids.append(group.group_id)
  lengths, in_loss = [s.loss_tokens for s in sequences], np.array(kept)
  c, longest = config.loss, config.rollout.max_length
  sequences = sequences_lib.with_weights(
    sequences,
    advantages.sequence_weights(lengths, c.pg_norm, longest, in_loss),
    advantages.sequence_weights(lengths, c.reg_norm, longest, in_loss),
  )
  kept = [
    s if is_in else None for s, is_in in zip(sequences, kept, strict=True)
  ]
  shape = batch_shape(config, context.layout)
  if not shares_prompts(config, context.layout):
    present = [s for s in kept if s]
    return batching.pack(present + examples, *shape, context.shown)
  by_group = {}
  for group_id, sequence in zip(ids, kept, strict=True):
    by_group.setdefault(group_id, []).extend([sequence] * bool(sequence))
  parts = [*by_group.values(), *([e] for e in examples)]
  return batching.pack_groups(parts, *shape, context.shown)
