"""Pretraining, cooldown and long-context activation: Kimi k1.5, section 2.5.1.

Three stages of one kind: each learns the next token of its own mixture of
documents.  The first two have rows of one length.  The third changes the base
of the rotary positions to 1,000,000, goes through longer and longer rows, and
has a share of rows that attend to all of themselves; the base stays with the
model.  Where the policy sees, the last two may have pictures; the first ones
are seen before, in stages of their own (`k15.runtime.families.lessons`).
"""

import bisect
import dataclasses
import functools
import itertools
import pathlib
from typing import Any

import jax
import numpy as np

from k15.data_types import TrainState
from k15.runtime import made_models
from k15.runtime import steps as steps_lib
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages.pretraining import albums
from k15.stages.pretraining import document_rows
from k15.stages.pretraining import learnt_documents
from k15.stages.pretraining import questions
from k15.stages.pretraining import reading
from k15.stages.pretraining import text_measures
from k15.training import batching


def longest(config: Any, stage: str) -> int:
  """Tokens of the longest row of a stage."""
  return learnt_documents.lengths_of(config, stage)[-1]


def activated(context: Context, stage: str) -> Context:
  """The context of a stage and of those after it.

  Long context changes the base of the rotary positions, which is no parameter;
  a model's config.json says it, and so whoever begins with it knows.
  """
  if stage != 'long_context':
    return context
  theta = context.config.long_context.rope_theta
  shape = dataclasses.replace(context.shape, rope_theta=theta)
  layout = dataclasses.replace(context.layout, shape=shape)
  return dataclasses.replace(context, layout=layout)


def train(
  context: Context, model: pathlib.Path | None, stage: str
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    context: of `activated`.
    model: directory of the model to start from; None: random weights.
    stage: its name, a group of the config.

  Raises:
    DataError: something is wrong with the documents of the stage.
  """
  questions.make(context, stage, model)
  group = context.config[stage]
  make_params = made_models.params_maker(context, model)
  optimizer = weights.make_optimizer(
    context.config, context.shape, group.optimizer
  )
  return steps_lib.run(
    context,
    stage,
    group,
    optimizer,
    lambda start: _loop(context, stage, start),
    lambda: weights.state_layout(context.layout, optimizer),
    lambda: weights.init_state(
      context.layout, optimizer, make_params(), context.config.seed, stage
    ),
    lambda: weights.frozen_of(context.layout, make_params),
  )


def _loop(context, stage, start):
  store = learnt_documents.open_store(context, stage, is_new=not start)
  phases = document_rows.phases_of(context, stage, store)
  if not start:
    context.logger.scalars(stage, 0, _counts(store, phases))
  return steps_lib.Loop(
    steps=context.config[stage].steps,
    log_every=context.config[stage].log_every,
    batch=functools.partial(_batch, context, phases),
    make_step=functools.partial(_make_step, context, phases, len(store.names)),
    name_metrics=functools.partial(_metrics, store),
    measure=_measure(context, stage, store),
    measure_every=context.config.documents.held_out_every,
  )


def _measure(context, stage, store):
  """All that is measured of a state; None: nothing is held out."""
  sizes = document_rows.measured_at(context.config, stage)
  shown = learnt_documents.shown_of(context, stage)
  found = [text_measures.make_measure(context, stage, store, sizes)]
  if shown:
    found.append(reading.make_measure(context, stage, *sizes[-1]))
  if shown and stage == 'long_context':
    found.append(albums.make_measure(context, shown, sizes))
  found = [measure for measure in found if measure]
  if not found:
    return None
  return lambda state: dict(
    itertools.chain.from_iterable(measure(state).items() for measure in found)
  )


def _counts(store, phases):
  held_out = int(store.is_held_out.sum())
  counts = {
    'text/documents': len(store) - held_out,
    'text/documents_held_out': held_out,
    'text/rows': sum(phase.plan.num_rows for phase in phases),
    'text/full_rows': sum(int(phase.plan.is_full.sum()) for phase in phases),
  }
  return counts | {f'text/{why}_dropped': n for why, n in store.dropped.items()}


def _batch(context, phases, i):
  """The batch of step i, made by its number alone."""
  place = bisect.bisect_right(phases, i, key=lambda phase: phase.first) - 1
  arrays = phases[place].batches[i - phases[place].first]
  return context.layout.place_rows(batching.supervised(arrays))


def _make_step(context, phases, num_domains, optimizer, schedule, layout):
  """A step for each row length, which a batch chooses by its shape."""
  loss = functools.partial(_loss, num_domains)
  steps = {
    phase.row_tokens: steps_lib.make_policy_step(
      context, loss, optimizer, schedule, layout, phase.micro_rows
    )
    for phase in phases
  }
  return lambda state, batch: steps[batch.tokens.shape[1]](state, batch)


def _loss(num_domains, logprobs, rows):
  """The mean loss of a batch, and the sums of each domain beside it."""
  loss, metrics = steps_lib.mean_loss(logprobs, rows)
  nats, tokens = text_measures.domain_sums(
    -jax.lax.stop_gradient(logprobs), rows, num_domains
  )
  for d in range(num_domains):
    metrics |= {f'nats_{d}': nats[d], f'tokens_{d}': tokens[d]}
  return loss, metrics


def _metrics(store, values):
  tokens = max(values['tokens'], 1.0)
  size = range(len(store.names))
  nats, of_domain = (
    np.array([values[f'{key}_{d}'] for d in size]) for key in ('nats', 'tokens')
  )
  return {
    'text/loss': values['loss'],
    'text/token_accuracy': values['token_accuracy_sum'] / tokens,
    'text/entropy': values['entropy_sum'] / tokens,
    'text/grad_norm': values['grad_norm'],
    'text/learning_rate': values['learning_rate'],
    'text/tokens': values['tokens'],
  } | text_measures.by_domain('text/loss_domain_', store, nats, of_domain)
