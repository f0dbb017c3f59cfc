"""What is read off the trunk: log-probabilities of tokens, or one value a row.

The first head is the policy's, a row of its matrix for every word; the other
makes a reward model of the trunk: a scalar at the last token of a row.

Axes: B rows, T tokens, D width, V vocabulary.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15.data_types import TrainState
from k15.devices import sharding
from k15.model import layers
from k15.model import policy
from k15.model import tower
from k15.vision.rows import Images

_NEVER = -1e30  # the logit of a token that cannot be


def logits_of(shape: policy.PolicyConfig, params: Any, hidden: jax.Array):
  """Float32 logits [..., V] of hidden states [..., D]."""
  return _logits(shape, _head(shape, params), hidden)


def _head(shape, params):
  return params['embedding' if shape.tie_embeddings else 'lm_head']


def _logits(shape, head, hidden):
  kernel = head.T if shape.tie_embeddings else head
  if shape.product_dtype:
    logits = layers.matmul_of(hidden, kernel, shape.product_dtype)
  else:
    logits = jnp.dot(
      hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32
    )
  if shape.banned_ids:
    # Here, where sampling and training meet: both normalize over the others.
    banned = np.isin(np.arange(logits.shape[-1]), shape.banned_ids)
    logits = jnp.where(banned, _NEVER, logits)
  return logits


def token_logprobs(
  shape: policy.PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  segment_ids: jax.Array,
  temperature: float = 1.0,
  prompt_ids: jax.Array | None = None,
  mask: jax.Array | None = None,
  images: Images | None = None,
  features: tower.Features | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Log-probability of every token given those before it, and the entropy.

  Logits exist for `shape.logprob_chunk` tokens at a time, forward and
  backward, so memory does not grow with T * V.

  Args:
    shape: of the policy.
    params: parameters, unboxed.
    tokens: int32 [B, T].
    positions: int32 [B, T].
    segment_ids: int32 [B, T].
    temperature: of the distribution, above 0.
    prompt_ids: int32 [B, T], see `policy.forward`.
    mask: float32 [B, T], 0 where no log-probability is wanted; None: all are.
    images, features: see `policy.forward`.

  Returns:
    float32 [B, T] log-probabilities in nats and float32 [B, T] entropies of
    the distributions the tokens were predicted from, both 0 outside the mask.
    The first column, and the first token of a packed sequence, have no
    prediction: mask them.
  """
  hidden, _ = policy.forward(
    shape, params, tokens, positions, segment_ids, prompt_ids, images, features
  )
  head, targets = _head(shape, params), jnp.roll(tokens, -1, axis=1)
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    wanted = jnp.ones(tokens.shape) if mask is None else mask
    # The last column predicts nothing.
    wanted = jnp.roll(wanted, -1, axis=1).at[:, -1].set(0)
    values = _wanted_logprobs(shape, temperature, head, hidden, targets, wanted)
  else:
    values = _split_logprobs(shape, temperature, mesh, head, hidden, targets)
  values = (jnp.pad(x[:, :-1], ((0, 0), (1, 0))) for x in values)
  return tuple(x if mask is None else jnp.where(mask > 0, x, 0) for x in values)


def _wanted_logprobs(shape, temperature, head, hidden, targets, wanted):
  """Those of [B, T] targets that are wanted, and entropies.

  They are gathered in front, and the chunks behind them are not computed: of a
  row of prompt and response, the prompt needs no logits.
  """
  order = jnp.argsort(wanted.ravel() <= 0, stable=True)
  values = _chunked_logprobs(
    shape,
    temperature,
    head,
    hidden.reshape(-1, hidden.shape[-1])[order],
    targets.ravel()[order],
    jnp.sum(wanted > 0),
  )
  places = jnp.argsort(order)
  return tuple(x[places].reshape(targets.shape) for x in values)


def _split_logprobs(shape, temperature, mesh, head, hidden, targets):
  """Every device takes its own tokens, and its own part of the vocabulary.

  Chunks of all devices' tokens would be computed by all, one after the other.
  The head is gathered once, and its gradient reduced once.  All tokens are
  computed, as devices that skip some would wait for those that do not.
  """
  rows, columns = (
    sharding.axes_of(name, size)
    for name, size in zip(('batch', 'sequence'), targets.shape, strict=True)
  )
  local = jax.sharding.PartitionSpec(rows, columns)
  axes = (*(rows or ()), *(columns or ()))

  def of_device(head, hidden, targets):
    # Its own to begin with, or every chunk's gradient would be reduced.
    head = jax.lax.pcast(head, axes, to='varying')
    values = _chunked_logprobs(
      shape,
      temperature,
      head,
      hidden.reshape(-1, hidden.shape[-1]),
      targets.ravel(),
    )
    return tuple(x.reshape(targets.shape) for x in values)

  return jax.shard_map(
    of_device,
    mesh=mesh,
    in_specs=(jax.sharding.PartitionSpec(), local, local),
    out_specs=local,
    axis_names={*axes},
  )(head, hidden, targets)


def _chunked_logprobs(shape, temperature, head, hidden, targets, count=None):
  """Log-probabilities of the first `count` of N targets, and entropies.

  Args:
    shape, temperature, head: as elsewhere on this page.
    hidden: [N, D].
    targets: int32 [N].
    count: int32 [], wanted; None: all.

  Returns:
    float32 [N] each; 0, or what a chunk had room for, from `count` on.
  """
  size = len(targets)
  num_chunks = -(-size // shape.logprob_chunk)
  chunk = -(-size // num_chunks)
  padding = (0, num_chunks * chunk - size)
  turns = None if count is None else -(-count // chunk)
  values = _logprobs(
    shape,
    temperature,
    head,
    jnp.pad(hidden, (padding, (0, 0))).reshape(num_chunks, chunk, -1),
    jnp.pad(targets, padding).reshape(num_chunks, chunk),
    turns,
  )
  return tuple(x.ravel()[:size] for x in values)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _logprobs(shape, temperature, head, hidden, targets, turns):
  """`_chunked_logprobs` of hidden [n, C, D], targets [n, C] and some chunks."""
  return _logprobs_forward(shape, temperature, head, hidden, targets, turns)[0]


def _logprobs_forward(shape, temperature, head, hidden, targets, turns):
  def of_chunk(i):
    logits = _logits(shape, head, hidden[i]) / temperature
    log_z = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[i][:, None], axis=-1)[:, 0]
    probs = jnp.exp(logits - log_z[:, None])
    entropy = log_z - jnp.sum(probs * logits, axis=-1)
    return probs, jnp.stack([chosen - log_z, entropy, log_z])

  def add_chunk(i, values):
    return values.at[:, i].set(of_chunk(i)[1])

  last = (len(targets) if turns is None else turns) - 1
  values = jnp.zeros_like(hidden[..., 0], jnp.float32)
  values = jnp.stack([values] * 3)
  values = jax.lax.fori_loop(0, last, add_chunk, values)
  # Of the last chunk all is kept, and nothing computed again; of all of them
  # it would be too much.
  probs, of_last = of_chunk(last)
  logprobs, entropies, log_zs = values.at[:, last].set(of_last)
  residuals = temperature, head, hidden, targets, turns, log_zs, probs
  return (logprobs, entropies), residuals


def _logprobs_backward(shape, residuals, d_values):
  """Gradients of the log-probabilities; an entropy has none."""
  temperature, head, hidden, targets, turns, log_zs, last_probs = residuals
  d_logprobs, _ = d_values

  def of_chunk(i, probs):
    is_target = targets[i][:, None] == jnp.arange(probs.shape[-1])[None]
    d_logits = (is_target - probs) * (d_logprobs[i] / temperature)[:, None]
    _, pull = jax.vjp(functools.partial(_logits, shape), head, hidden[i])
    return pull(d_logits)

  def add_chunk(i, totals):
    logits = _logits(shape, head, hidden[i]) / temperature
    probs = jnp.exp(logits - log_zs[i][:, None])
    d_head, d_hidden = of_chunk(i, probs)
    return totals[0] + d_head, totals[1].at[i].set(d_hidden)

  last = (len(targets) if turns is None else turns) - 1
  d_head, of_last = of_chunk(last, last_probs)
  d_hidden = jnp.zeros_like(hidden).at[last].set(of_last)
  d_head, d_hidden = jax.lax.fori_loop(0, last, add_chunk, (d_head, d_hidden))
  return None, d_head, d_hidden, None, None


_logprobs.defvjp(_logprobs_forward, _logprobs_backward)


def init_value(shape: policy.PolicyConfig, trunk: Any) -> dict[str, Any]:
  """Puts a head that says 0 on the parameters of a policy, unboxed."""
  dtype = jnp.dtype(shape.param_dtype)
  head = dict(
    kernel=jnp.zeros((shape.d_model, 1), dtype), bias=jnp.zeros((1,), dtype)
  )
  return dict(trunk=trunk, head=head)


def split(state: TrainState) -> tuple[TrainState, dict[str, Any] | None]:
  """The state of a trunk alone, and its head of values, or None without one."""
  if set(state.params) != {'trunk', 'head'}:
    return state, None
  frozen = state.frozen and state.frozen['trunk']
  trunk = state.replace(params=state.params['trunk'], frozen=frozen)
  return trunk, state.params['head']


def value_axes(trunk: Any) -> dict[str, Any]:
  """What each axis of each parameter means, from what it is of the trunk."""
  head = dict(kernel=('embed', 'value'), bias=('value',))
  return dict(trunk=trunk, head=head)


def values(
  shape: policy.PolicyConfig,
  params: dict[str, Any],
  tokens: jax.Array,
  lengths: jax.Array,
  used: jax.Array | None = None,
) -> jax.Array:
  """One value a row, which does not see what stands behind its token.

  Args:
    shape: of the trunk.
    params: `trunk` and `head`, as `init_value` makes them.
    tokens: int32 [B, T], padded on the right.
    lengths: int32 [B], tokens up to that of the value, at least 1.
    used: int32 [B], tokens in use; None: `lengths`.

  Returns:
    float32 [B].
  """
  columns, segment_ids = places(tokens, lengths if used is None else used)
  hidden, _ = policy.forward(
    shape, params['trunk'], tokens, columns, segment_ids
  )
  last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)
  head = jax.tree.map(lambda x: x.astype(jnp.float32), params['head'])
  value = last[:, 0].astype(jnp.float32) @ head['kernel'] + head['bias']
  return value[:, 0]


def places(
  tokens: jax.Array, used: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Positions and segment ids, int32 [B, T], of rows of one text each."""
  columns = jnp.arange(tokens.shape[1], dtype=jnp.int32)
  columns = jnp.broadcast_to(columns, tokens.shape)
  return columns, (columns < used[:, None]).astype(jnp.int32)


def pad_rows(
  sequences: list[np.ndarray], columns: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rows of `columns` tokens, 0 where there is none, and their lengths.

  Raises:
    ValueError: a sequence is empty or longer than a row.
  """
  tokens = np.zeros((len(sequences), columns), np.int32)
  lengths = np.array([len(s) for s in sequences], np.int32)
  for row, sequence in zip(tokens, sequences, strict=True):
    if not 0 < len(sequence) <= columns:
      raise ValueError(f'{len(sequence)} tokens in a row of 1 to {columns}')
    row[: len(sequence)] = sequence
  return tokens, lengths
