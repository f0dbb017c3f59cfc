"""Direct preference optimization of short responses: Kimi k1.5, section 2.4.

The model that sampled the responses is the reference; its log-probabilities are
computed once, before any update, and stay in the batches.
"""

import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from k15 import batching
from k15 import checkpoint
from k15 import context as context_lib
from k15 import conversations
from k15 import long2short
from k15 import losses
from k15 import metrics
from k15 import optimizer as optimizer_lib
from k15 import responses
from k15 import run_weights
from k15 import streams
from k15 import update
from k15.context import Context
from k15.data_types import Batch, TrainState

Pair = tuple[batching.Sequence, batching.Sequence]  # preferred, rejected


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    context: of the run.
    model: directory of the model to start from, which is the reference.
  """
  config = context.config.dpo
  optimizer = run_weights.make_optimizer(
    context.config, context.shape, config.optimizer
  )
  checkpoints = checkpoint.Checkpoints(
    context.workdir / 'checkpoints' / 'dpo', context.config.saving.keep
  )
  start, batches = checkpoints.latest_step() or 0, []
  if start < config.steps:
    context.logger.truncate('dpo', start)
    batches = make_batches(context, _pairs(context, model, start == 0))
    # A run that goes on computes the same numbers again.
    batches = _with_ref_logprobs(context, model, batches)
  if start:
    layout = run_weights.state_layout(context.layout, optimizer)
    state, _ = checkpoints.restore(start, layout)
  else:
    params = run_weights.load_params(context, model)
    state = run_weights.init_state(context.layout, optimizer, params)
  if batches:
    with context.layout.use_mesh():
      state = _steps(context, optimizer, state, batches, start, checkpoints)
  checkpoints.close()
  return state


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
    weights = np.full(2, 1 / len(part))
    picked = [
      tuple(batching.with_weights(pairs[i], weights, weights)) for i in part
    ]
    batches.append(
      batching.pack_pairs(picked, -(-size // micro) * micro, 2 * longest, size)
    )
  return batches


def _pairs(context, model, is_first_run):
  """Pairs of sequences of the sampled responses."""
  config, pairs = context.config.long2short, []
  collected = responses.collect(context, model, config.problems, config.samples)
  for problem, sampled in collected:
    prompt = context.task.encode_prompt(problem.prompt)
    for pair in long2short.preference_pairs(
      [r.length for r in sampled], [r.is_correct for r in sampled],
      config.longer,
    ):  # fmt: skip
      pairs.append(
        tuple(
          batching.Sequence(
            prompt, sampled[i].tokens, np.ones(sampled[i].length, bool)
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
  params, filled = run_weights.load_params(context, model), []
  with context.layout.use_mesh():
    for batch in map(context.layout.place_rows, batches):
      filled.append(batch.replace(ref_logprobs=logprobs(params, batch)))
    return jax.block_until_ready(filled)


def _steps(context, optimizer, state, batches, start, checkpoints):
  config, every = context.config.dpo, context.config.saving.every_sft_steps
  layout = jax.tree.map(lambda x: x.sharding, state)
  step = _make_step(context, optimizer, layout)
  timer = metrics.Timer()
  with metrics.Progress(config.steps, start, 'dpo') as progress:
    for i in range(start, config.steps):
      batch = batches[batch_of(i, len(batches), context.config.seed)]
      with timer('update'):
        state, values = step(state, batch, False)
        values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(context.workdir, 'dpo', 'step', i, values, batch)
      logged = _metrics(values)
      progress.update(loss=values['loss'], margin=values['margin_sum'])
      if i % config.log_every == 0 or i + 1 == config.steps:
        context.logger.scalars('dpo', i, logged | timer.pop())
      done, stopping = i + 1 == config.steps, context.is_stopping()
      if done or (i + 1) % every == 0 or stopping:
        checkpoints.save(i + 1, state, {})
      if stopping and not done:
        raise context_lib.Interrupted(f'dpo: saved after step {i + 1}')
  return state


def batch_of(step: int, num_batches: int, seed: int) -> int:
  """Which batch a step learns from: each once an epoch, shuffled anew."""
  epoch, place = divmod(step, num_batches)
  rng = streams.rng(seed, 'pair batches', epoch)
  return int(rng.permutation(num_batches)[place])


def _make_step(context, optimizer, layout):
  config = context.config.dpo
  return update.make_step(
    context.shape,
    functools.partial(_loss, config.beta),
    optimizer,
    optimizer_lib.cosine_schedule(
      config.learning_rate,
      config.end_learning_rate,
      config.warmup_steps,
      config.steps,
    ),
    context.config.optimizer.micro_batch_rows,
    layout=layout,
  )


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
