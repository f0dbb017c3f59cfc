"""The only gradient step: micro-batches, metrics, donation.

SFT, RL and its baselines differ by the loss alone.  A batch has a fixed shape;
only the rows in use are computed, `micro_batch_rows` at a time, by a loop whose
length is data: neither padding nor recompilation is paid for.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from k15.data_types import Batch, TrainState
from k15.devices import hosts
from k15.equations import losses
from k15.model import heads
from k15.model import lora
from k15.model import policy
from k15.training import optimizer as optimizer_lib

# (logprobs [B, T], rows) -> (loss to minimise, metrics)
Loss = Callable[[jax.Array, Batch], tuple[jax.Array, dict[str, jax.Array]]]
# Programs of each kind that are kept: those of the stages of a round.
_KEPT = 4


def make_step(
  config: policy.PolicyConfig,
  loss: Loss,
  optimizer: optax.GradientTransformation,
  schedule: optimizer_lib.Schedule,
  micro_batch_rows: int,
  temperature: float = 1.0,
  layout: Any = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Returns the jitted step (state, batch, ref_is_current) -> (state, metrics).

  The same arguments give the same function, so that a stage like the last one
  traces and compiles nothing again.

  The state is donated: compute everything that needs the old weights before.
  A batch without a token in the loss leaves it as it is, moments and step too.
  `ref_is_current` says that the state still is the reference, as at the first
  step of an iteration: its own log-probabilities then are the reference's, and
  `batch.ref_logprobs` is not read.

  Args:
    config: shape of the policy.
    loss: a sum over sequences, so that micro-batches add up.
    optimizer, schedule: see `k15.training.optimizer`.
    micro_batch_rows: rows whose gradient is computed at once; divides the
      rows of the batch.
    temperature: the policy's distribution is taken at; that of the rollout.
      A fourth argument of the step, float32 [], stands for it where it falls.
    layout: shardings of the state, which it keeps; None lets the compiler
      choose, and then the second step compiles again.
  """
  places, tree = jax.tree.flatten(layout)
  return _step(
    config, loss, optimizer, schedule, micro_batch_rows, temperature,
    tuple(places), tree,
  )  # fmt: skip


@functools.lru_cache(_KEPT)
def _step(
  config, loss, optimizer, schedule, micro_batch_rows, temperature, places, tree
):
  layout = jax.tree.unflatten(tree, places)

  def loss_of_rows(params, frozen, rows, ref_is_current, at):
    whole = lora.joined(frozen, params)
    own = temperature if at is None else at
    logprobs, entropy = _logprobs_of(config, whole, rows, own)
    rows = rows.replace(
      ref_logprobs=jnp.where(
        ref_is_current, jax.lax.stop_gradient(logprobs), rows.ref_logprobs
      )
    )
    value, metrics = loss(logprobs, rows)
    metrics |= dict(
      loss=value,
      entropy_sum=jnp.sum(entropy * rows.loss_mask),
      # More than half is the likeliest for certain.  The true share is higher,
      # and would take all logits, which are never there at once.
      token_accuracy_sum=jnp.sum((logprobs > jnp.log(0.5)) * rows.loss_mask),
    )
    return value, jax.lax.stop_gradient(metrics)

  # Inlined: the step asks for its shapes and for itself, and it is traced once.
  grad = jax.jit(jax.grad(loss_of_rows, has_aux=True), inline=True)

  @functools.partial(jax.jit, donate_argnums=0, out_shardings=(layout, None))
  def step(state, batch, ref_is_current, at=None):
    extra = ref_is_current, at
    num_micro = _num_micro_batches(batch, micro_batch_rows)

    def add_micro_batch(i, total):
      rows = take_rows(batch, i * micro_batch_rows, micro_batch_rows)
      gradient, metrics = grad(state.params, state.frozen, rows, *extra)
      return (
        jax.tree.map(jnp.add, total[0], gradient),
        losses.merge_metrics(total[1], metrics),
      )

    # A loop of one turn would still keep a second gradient to add to.
    if batch.tokens.shape[0] == micro_batch_rows:
      rows = batch.replace(num_rows=None)
      gradient, metrics = grad(state.params, state.frozen, rows, *extra)
    else:
      first = take_rows(batch, 0, micro_batch_rows)
      zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(grad, state.params, state.frozen, first, *extra),
      )
      # A loop of so many turns as the data say cannot be differentiated
      # through: the gradient is taken within it, and no activation outlives a
      # turn.
      gradient, metrics = jax.lax.fori_loop(
        0, num_micro, add_micro_batch, zeros
      )
    metrics |= dict(
      grad_norm=optax.global_norm(gradient), learning_rate=schedule(state.step)
    )
    after = optimizer_lib.apply(optimizer, schedule, state, gradient)
    # On the device: to ask the host would wait for the gradient in every step.
    return _if(metrics['tokens'] > 0, after, state), metrics

  return step


@functools.lru_cache(_KEPT)
def make_logprobs(
  config: policy.PolicyConfig,
  micro_batch_rows: int,
  temperature: float = 1.0,
  layout: Any = None,
) -> Callable[..., jax.Array]:
  """Returns the jitted (params, batch) -> float32 [B, T] log-probabilities.

  They are 0 where the loss mask is; a temperature is as in `make_step`.
  `layout` is their sharding; None leaves it to the compiler.
  """

  @functools.partial(jax.jit, out_shardings=layout)
  def logprobs(params, batch, at=None):
    own = temperature if at is None else at

    def one_micro_batch(i, out):
      start = i * micro_batch_rows
      rows = take_rows(batch, start, micro_batch_rows)
      values, _ = _logprobs_of(config, params, rows, own)
      return jax.lax.dynamic_update_slice_in_dim(out, values, start, axis=0)

    zeros = jnp.zeros(batch.tokens.shape, jnp.float32)
    num_micro = _num_micro_batches(batch, micro_batch_rows)
    return jax.lax.fori_loop(0, num_micro, one_micro_batch, zeros)

  return logprobs


def _logprobs_of(config, params, rows, temperature):
  """Log-probabilities and entropies [B, T] of what is in the loss."""
  return heads.token_logprobs(
    config,
    params,
    rows.tokens,
    rows.positions,
    rows.segment_ids,
    temperature,
    rows.prompt_ids,
    rows.loss_mask,
    rows.images,
    rows.features,
  )


def take_rows(batch: Batch, start: jax.Array, count: int) -> Batch:
  """The rows [start, start + count) of a batch."""
  # It has no rows to slice.
  rows = batch.replace(num_rows=None)
  return jax.tree.map(
    lambda x: jax.lax.dynamic_slice_in_dim(x, start, count, axis=0), rows
  )


def save_batch(workdir: pathlib.Path, name: str, batch: Any) -> pathlib.Path:
  """Writes a batch to `failed-<name>.npz` in the workdir, for a post-mortem.

  It is a `Batch` or another dataclass of arrays.
  """
  path = workdir / f'failed-{name}.npz'
  whole = hosts.to_host(batch)
  if hosts.is_first():
    arrays = _named(whole)
    if arrays.get('images') is not None:
      images = _named(arrays.pop('images'))
      arrays |= {f'images.{name}': x for name, x in images.items()}
    # Those of a frozen tower are made of the pictures anew.
    arrays.pop('features', None)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  return path


def _named(value):
  """Fields of a dataclass by name."""
  return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


def refuse_non_finite(
  workdir: pathlib.Path,
  stage: str,
  unit: str,
  number: int,
  values: dict[str, float],
  batch: Any,
) -> None:
  """Ends a run whose loss or gradient is not finite.

  Args:
    workdir: where the batch is written then.
    stage, unit, number: say where it happened: 'rl', 'iteration', 5.
    values: metrics of the step.
    batch: it learnt from.

  Raises:
    FloatingPointError: names the numbers and the file.
  """
  if np.isfinite(values['loss']) and np.isfinite(values['grad_norm']):
    return
  # The weights are not saved with it: those of the last checkpoint, and the
  # steps since, come to the same number again.
  path = save_batch(workdir, f'{stage}-{number}', batch)
  raise FloatingPointError(
    f'{stage} {unit} {number}: loss {values["loss"]}, gradient norm'
    f' {values["grad_norm"]}; the batch is in {path}'
  )


def _if(condition, left, right):
  """One tree or the other, of the same structure."""
  return jax.tree.map(lambda x, y: jnp.where(condition, x, y), left, right)


def _num_micro_batches(batch, micro_batch_rows):
  rows = batch.tokens.shape[0]
  if rows % micro_batch_rows:
    raise ValueError(
      f'micro-batches of {micro_batch_rows} do not divide {rows} rows'
    )
  return -(-batch.num_rows // micro_batch_rows)
