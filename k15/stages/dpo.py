"""Direct preference optimization of short responses: Kimi k1.5, section 2.4.

The model that sampled the responses is the reference; its log-probabilities are
computed once, before any update, and stay in the batches.
"""

import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from k15 import streams
from k15.data import conversations
from k15.data_types import Batch, TrainState
from k15.equations import long2short
from k15.equations import losses
from k15.runtime import steps
from k15.runtime import weights as weights_lib
from k15.runtime.context import Context
from k15.stages import collection
from k15.training import batching
from k15.training import sequences as sequences_lib
from k15.training import update

# Preferred, rejected.
Pair = tuple[sequences_lib.Sequence, sequences_lib.Sequence]


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    model: directory of the model to start from, which is the reference.
  """
  config = context.config.dpo
  make_params = functools.partial(weights_lib.load_params, context, model)
  optimizer = weights_lib.make_optimizer(
    context.config, context.shape, config.optimizer
  )
  return steps.run(
    context,
    'dpo',
    config,
    optimizer,
    lambda start: _loop(context, model, start),
    lambda: weights_lib.state_layout(context.layout, optimizer),
    lambda: weights_lib.init_state(
      context.layout, optimizer, make_params(), context.config.seed, 'dpo'
    ),
    lambda: weights_lib.frozen_of(context.layout, make_params),
  )


def make_batches(context: Context, pairs: Sequence[Pair]) -> list[Batch]:
  """Shuffles the pairs and packs them, `dpo.batch_pairs` to a batch.

  Raises:
    DataError: there are none.
  """
  if not pairs:
    raise conversations.DataError(
      'dpo: 0 pairs to learn from: no correct response has a longer one beside'
      ' it'
    )
  config, size = context.config, context.config.dpo.batch_pairs
  order = streams.rng(config.seed, 'pair order').permutation(len(pairs))
  micro = config.optimizer.micro_batch_rows
  longest = config.rollout.max_prompt_length + config.rollout.max_length
  batches = []
  num_batches = -(-len(order) // size)
  for part in batching.split_minibatches(list(order), num_batches):
    # The loss is a sum: with 1 / n each batch is a mean, also the one that has
    # fewer.
    weights = np.full(2, 1 / len(part))
    picked = [
      tuple(sequences_lib.with_weights(pairs[i], weights, weights))
      for i in part
    ]
    batches.append(
      # A row holds the longest pair, and in the worst case each pair needs one:
      # so no draw can ask for another shape, and nothing compiles again.
      batching.pack_pairs(
        picked, -(-size // micro) * micro, 2 * longest, size, context.shown
      )
    )
  return batches


def _pairs(context, model, is_first_run):
  """Pairs of sequences of the sampled responses."""
  config, pairs = context.config.long2short, []
  collected = collection.collect(
    context, model, config.problems, config.samples
  )
  for problem, sampled in collected:
    prompt = context.task.encode_prompt(problem.prompt, problem.images)
    for pair in long2short.preference_pairs(
      [r.length for r in sampled], [r.is_correct for r in sampled],
      config.longer,
    ):  # fmt: skip
      pairs.append(
        tuple(
          sequences_lib.Sequence(
            prompt,
            sampled[i].tokens,
            np.ones(sampled[i].length, bool),
            images=problem.images,
          )
          for i in pair
        )
      )
  if is_first_run:
    counts = {'dpo/problems': len(collected), 'dpo/pairs': len(pairs)}
    context.logger.scalars('dpo', 0, counts)
  return pairs


def _with_ref_logprobs(context, model, batches):
  micro = context.config.optimizer.micro_batch_rows
  rows = context.layout.row_sharding((micro, 1))
  logprobs = update.make_logprobs(context.shape, micro, layout=rows)
  params, filled = weights_lib.load_params(context, model), []
  with context.layout.use_mesh():
    for batch in map(context.layout.place_rows, batches):
      filled.append(batch.replace(ref_logprobs=logprobs(params, batch)))
    return jax.block_until_ready(filled)


def _loop(context, model, start):
  config, seed = context.config.dpo, context.config.seed
  batches = make_batches(context, _pairs(context, model, start == 0))
  # A run that goes on computes the same numbers again.
  batches = _with_ref_logprobs(context, model, batches)
  return steps.Loop(
    steps=config.steps,
    log_every=config.log_every,
    batch=lambda i: batches[batch_of(i, len(batches), seed)],
    make_step=functools.partial(
      steps.make_policy_step, context, functools.partial(_loss, config.beta)
    ),
    name_metrics=_metrics,
  )


def batch_of(step: int, num_batches: int, seed: int) -> int:
  """Which batch a step learns from: each once an epoch, shuffled anew."""
  epoch, place = divmod(step, num_batches)
  rng = streams.rng(seed, 'pair batches', epoch)
  return int(rng.permutation(num_batches)[place])


def _loss(beta, logprobs, rows):
  return losses.dpo(
    logprobs,
    rows.ref_logprobs,
    rows.segment_ids,
    rows.loss_mask,
    rows.pg_weight,
    beta,
  )


def _metrics(values):
  return {
    'dpo/loss': values['loss'],
    'dpo/accuracy': values['accuracy_sum'],
    'dpo/margin': values['margin_sum'],
    'dpo/preferred_reward': values['preferred_reward_sum'],
    'dpo/rejected_reward': values['rejected_reward_sum'],
    'dpo/entropy': values['entropy_sum'] / max(values['tokens'], 1.0),
    'dpo/grad_norm': values['grad_norm'],
    'dpo/learning_rate': values['learning_rate'],
    'dpo/tokens': values['tokens'],
  }
