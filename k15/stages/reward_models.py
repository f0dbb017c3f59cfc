"""Training of the classic reward model: Kimi k1.5, section 2.3.5.

A value head on a policy's trunk learns from prompts labelled correct or wrong:
one bit a prompt, where the chain-of-thought model learns from every token of a
judgement.  `text_weight` adds a loss of text that the same forward gives: next
tokens of the prompt and, behind the token that the value is read at, of the
reasoning.  The model judges without writing any of it.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from k15 import streams
from k15.data_types import TrainState
from k15.equations import losses
from k15.model import heads
from k15.model import lora
from k15.model import policy
from k15.runtime import steps
from k15.runtime import weights
from k15.runtime.context import Context
from k15.training import optimizer as optimizer_lib

STAGE = 'classic_rm'


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """A prompt with its label.

  Attributes:
    prompt: int32 [T], at whose last token the value is read.
    is_correct: whether the response in it is.
    reasoning: int32 [T], behind the prompt, perhaps none.
  """

  prompt: np.ndarray
  is_correct: bool
  reasoning: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0, np.int32)
  )


@flax.struct.dataclass
class Labelled:
  """Rows of one step.

  Attributes:
    tokens: int32 [B, T], prompts and what stands behind them.
    lengths: int32 [B], of the prompts.
    used: int32 [B], tokens in use.
    labels: bool [B].
  """

  tokens: jax.Array
  lengths: jax.Array
  used: jax.Array
  labels: jax.Array


def train(
  context: Context,
  examples: Sequence[Judged],
  make_trunk: Callable[[], Any] | None = None,
) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    make_trunk: the parameters to start from, consumed; None draws them by the
      seed.

  Raises:
    ValueError: there are no examples, one is longer than a row, or a row is
      longer than what a step has.
    FloatingPointError: loss or gradient are not finite.
    Interrupted: the run was asked to stop; its state is saved.
  """
  if not examples:
    raise ValueError('0 examples to learn from')
  config, columns = context.config[STAGE], columns_of(context.config)
  if config.batch_tokens < columns:
    raise ValueError(
      f'{STAGE}.batch_tokens is {config.batch_tokens}, less than one row of'
      f' {columns} tokens'
    )
  axes = heads.value_axes(weights.trained_axes(context.shape))
  optimizer = weights.make_optimizer(
    context.config, context.shape, config.optimizer, axes
  )
  make_trunk = make_trunk or functools.partial(
    weights.init_params, context.layout, context.config.seed
  )
  init = functools.partial(_init_state, context, optimizer, make_trunk)
  return steps.run(
    context,
    STAGE,
    config,
    optimizer,
    lambda start: steps.Loop(
      steps=config.steps,
      log_every=config.log_every,
      batch=lambda i: context.layout.place_rows(_batch(context, examples, i)),
      make_step=functools.partial(make_step, context.shape, config.text_weight),
      name_metrics=_named,
    ),
    init,
    init,
    lambda: init().frozen,
  )


def make_step(
  config: policy.PolicyConfig,
  text_weight: float,
  optimizer: optax.GradientTransformation,
  schedule: optimizer_lib.Schedule,
  layout: Any = None,
):
  """Returns the jitted step, which gives the next state and its metrics.

  Its arguments: a state, which is donated, and `Labelled`.

  Args:
    text_weight: of the loss of text beside that of labels, >= 0.
    layout: shardings of the state, which it keeps.
  """

  def loss_of(params, frozen, batch):
    params = lora.joined(frozen, params)
    values = heads.values(
      config, params, batch.tokens, batch.lengths, batch.used
    )
    weight = np.full(len(batch.tokens), 1 / len(batch.tokens), np.float32)
    loss, values = losses.value_logistic(values, batch.labels, weight)
    if text_weight:
      values['text_loss'] = _text_loss(config, params['trunk'], batch)
      loss += text_weight * values['text_loss']
    return loss, values | dict(loss=loss)

  grad = jax.grad(loss_of, has_aux=True)

  @functools.partial(jax.jit, donate_argnums=0, out_shardings=(layout, None))
  def step(state, batch):
    gradient, values = grad(state.params, state.frozen, batch)
    values |= dict(
      grad_norm=optax.global_norm(gradient), learning_rate=schedule(state.step)
    )
    return optimizer_lib.apply(optimizer, schedule, state, gradient), values

  return step


def _text_loss(config, trunk, batch):
  """Mean negative log-likelihood of all tokens but the first of a row."""
  # The forward is that of the values, and computed once.
  columns, segment_ids = heads.places(batch.tokens, batch.used)
  mask = (segment_ids * (columns > 0)).astype(jnp.float32)
  logprobs, _ = heads.token_logprobs(
    config, trunk, batch.tokens, columns, segment_ids, mask=mask
  )
  return -jnp.sum(logprobs) / jnp.maximum(jnp.sum(mask), 1.0)


def _init_state(context, optimizer, make_trunk):
  trunk, frozen = make_trunk(), None
  if context.shape.lora_rank:
    frozen = dict(trunk=trunk)
    trunk = weights.init_adapters(context.layout, context.config.seed, STAGE)
  params = heads.init_value(context.shape, trunk)
  everywhere = jax.sharding.NamedSharding(
    context.layout.mesh, jax.sharding.PartitionSpec()
  )
  # One column: there is nothing to split, whatever the rules.
  params['head'] = jax.device_put(params['head'], everywhere)
  state = jax.jit(functools.partial(optimizer_lib.init_state, optimizer))(
    params
  )
  return state.replace(params=params, frozen=frozen)


def columns_of(config: Any) -> int:
  """Tokens of a row: a prompt, and the reasoning where that is learnt too."""
  r = config.reward_model
  reasoning = r.max_length if config[STAGE].text_weight else 0
  return r.max_prompt_length + reasoning


def _batch(context, examples, step):
  """Rows of one step: epochs shuffled by the seed; no state to keep."""
  config = context.config[STAGE]
  columns = columns_of(context.config)
  rows = config.batch_tokens // columns
  chosen = []
  for place in range(step * rows, (step + 1) * rows):
    epoch, i = divmod(place, len(examples))
    chosen.append(
      examples[_order(context.config.seed, epoch, len(examples))[i]]
    )
  texts = [
    np.concatenate([e.prompt, e.reasoning])[:columns]
    if config.text_weight
    else e.prompt
    for e in chosen
  ]
  tokens, used = heads.pad_rows(texts, columns)
  lengths = np.array([len(e.prompt) for e in chosen], np.int32)
  labels = np.array([e.is_correct for e in chosen])
  return Labelled(tokens, lengths, used, labels)


# Two, for a batch may lie across the end of an epoch.
@functools.lru_cache(maxsize=2)
def _order(seed, epoch, count):
  rng = streams.rng(seed, 'example order', STAGE, epoch)
  return rng.permutation(count)


def _named(values):
  named = {
    'value/loss': values['loss'],
    'value/accuracy': values['accuracy_sum'],
    'value/mean': values['value_sum'],
    'value/grad_norm': values['grad_norm'],
    'value/learning_rate': values['learning_rate'],
  }
  if 'text_loss' in values:
    named['value/text_loss'] = values['text_loss']
  return named
