"""Training of the classic reward model: Kimi k1.5, section 2.3.5.

A value head on the policy's trunk learns from prompts labelled correct or
wrong.  The chain-of-thought reward model needs no stage of its own:
`k15.stages.sft` trains it on prompts and judgements, like any other writer of
text.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
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


@flax.struct.dataclass
class Labelled:
  """Rows of one step: tokens int32 [B, T], lengths int32 [B], labels bool [B].

  A label says whether the response in the prompt is correct.
  """

  tokens: jax.Array
  lengths: jax.Array
  labels: jax.Array


# Tokens of a prompt, and whether the response in it is correct.
Judged = tuple[np.ndarray, bool]


def train(
  context: Context, examples: Sequence[Judged], trunk: Any = None
) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Its keys are `config.reward_model`; a row has `rollout.max_prompt_length`
  columns.

  Args:
    trunk: parameters to start from, copied; None draws them by the seed.

  Raises:
    ValueError: there are no examples, one is longer than a row, or a row is
      longer than what a step has.
    FloatingPointError: loss or gradient are not finite.
    Interrupted: the run was asked to stop; its state is saved.
  """
  if not examples:
    raise ValueError('0 examples to learn from')
  config = context.config.reward_model
  columns = context.config.rollout.max_prompt_length
  if config.batch_tokens < columns:
    raise ValueError(
      f'reward_model.batch_tokens is {config.batch_tokens}, less than one row'
      f' of rollout.max_prompt_length {columns}'
    )
  axes = heads.value_axes(weights.trained_axes(context.shape))
  optimizer = weights.make_optimizer(
    context.config, context.shape, config.optimizer, axes
  )
  init = functools.partial(_init_state, context, optimizer, trunk)
  return steps.run(
    context,
    'reward',
    config,
    optimizer,
    lambda start: steps.Loop(
      steps=config.steps,
      log_every=config.log_every,
      batch=lambda i: context.layout.place_rows(_batch(context, examples, i)),
      make_step=functools.partial(make_step, context.shape),
      name_metrics=_named,
    ),
    init,
    init,
    lambda: init().frozen,
  )


def make_step(
  config: policy.PolicyConfig,
  optimizer: optax.GradientTransformation,
  schedule: optimizer_lib.Schedule,
  layout: Any = None,
):
  """Returns the jitted step, which gives the next state and its metrics.

  Its arguments: a state, which is donated, and `Labelled`.  `layout`:
  shardings of the state, which it keeps.
  """

  def loss_of(params, frozen, batch):
    params = lora.joined(frozen, params)
    values = heads.values(config, params, batch.tokens, batch.lengths)
    weight = np.full(len(batch.tokens), 1 / len(batch.tokens), np.float32)
    loss, values = losses.value_logistic(values, batch.labels, weight)
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


def make_value(context: Context, params: dict[str, Any], rows: int):
  """Returns prompts -> values, what `reward_model.judge_by_value` asks.

  A prompt of more tokens than a row has no value: nan.

  Args:
    context: its tokenizer, policy and longest prompt.
    params: of a trained state, `lora.joined` with what it has frozen.
    rows: prompts judged at once.
  """
  columns = context.config.rollout.max_prompt_length
  encode = context.task.tokenizer.encode
  compute = jax.jit(functools.partial(heads.values, context.shape))

  def value(prompts):
    out = np.full(len(prompts), np.nan)
    encoded = [encode(prompt) for prompt in prompts]
    fitting = [i for i, tokens in enumerate(encoded) if len(tokens) <= columns]
    for start in range(0, len(fitting), rows):
      chosen = fitting[start : start + rows]
      sequences = [encoded[i] for i in chosen]
      # Filled up to one shape, or the last prompts of every call would compile.
      sequences += sequences[:1] * (rows - len(chosen))
      batch = heads.pad_rows(sequences, columns)
      out[chosen] = np.asarray(compute(params, *batch))[: len(chosen)]
    return out.tolist()

  return value


def _init_state(context, optimizer, trunk):
  if trunk is None:
    trunk = weights.init_params(context.layout, context.config.seed)
  else:
    # The step donates its state, and would take the caller's arrays with it.
    trunk = jax.tree.map(lambda x: x.copy(), trunk)
  frozen = None
  if context.shape.lora_rank:
    frozen = dict(trunk=trunk)
    trunk = weights.init_adapters(context.layout, context.config.seed, 'reward')
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


def _batch(context, examples, step):
  """Rows of one step: epochs shuffled by the seed; no state to keep."""
  columns = context.config.rollout.max_prompt_length
  rows = context.config.reward_model.batch_tokens // columns
  chosen = []
  for place in range(step * rows, (step + 1) * rows):
    epoch, i = divmod(place, len(examples))
    chosen.append(
      examples[_order(context.config.seed, epoch, len(examples))[i]]
    )
  tokens, lengths = heads.pad_rows([tokens for tokens, _ in chosen], columns)
  labels = np.array([label for _, label in chosen])
  return Labelled(tokens, lengths, labels)


# Two, for a batch may lie across the end of an epoch.
@functools.lru_cache(maxsize=2)
def _order(seed, epoch, count):
  rng = streams.rng(seed, 'example order', 'reward', epoch)
  return rng.permutation(count)


def _named(values):
  return {
    'reward_model/loss': values['loss'],
    'reward_model/accuracy': values['accuracy_sum'],
    'reward_model/value': values['value_sum'],
    'reward_model/grad_norm': values['grad_norm'],
    'reward_model/learning_rate': values['learning_rate'],
  }
