"""Log-probabilities of given tokens, and of those that might stand there.

Sampling tells the log-probability of what it drew and no more; here a whole row
is read at once, as training reads it, with the weights that decode.

Axes: W columns of a padded row, D width, V vocabulary, K alternatives.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from k15.model import heads
from k15.model import inference
from k15.model import policy

ALTERNATIVES = 20  # K
_CHUNK = 64  # tokens whose logits are there at once; W is a multiple of it


class Scores(NamedTuple):
  """Of T tokens, each given those before it; of the first, nothing is known.

  `logprobs` float32 [T], nats; `ids` int32 [T, K], the likeliest tokens in its
  place in falling order, and `tops` float32 [T, K] theirs.
  """

  logprobs: Any
  ids: Any
  tops: Any


def score(
  shape: policy.PolicyConfig,
  params: Any,
  tokens: np.ndarray,
  columns: int,
  temperature: float,
) -> Scores:
  """Reads one row.

  Args:
    shape: of the policy.
    params: of it, or what `SlotDecoder.prepare` made of them.
    tokens: int32 [T], without pictures.
    columns: W but for rounding, at least T: a program for each.
    temperature: of the distributions; 0 is 1, as in sampling.

  Returns:
    Of numpy arrays.
  """
  padded = np.zeros(-(-columns // _CHUNK) * _CHUNK, np.int32)
  padded[: len(tokens)] = tokens
  scores = _score(
    shape, params, padded, np.int32(len(tokens)), np.float32(temperature or 1)
  )
  return Scores(*(x[: len(tokens)] for x in jax.device_get(scores)))


@functools.partial(jax.jit, static_argnums=0)
def _score(shape, params, tokens, length, temperature):
  if isinstance(params, inference.Weights):
    hidden = inference.hidden_of(shape, params, tokens, length).T
  else:
    columns = jnp.arange(len(tokens))[None]
    inside = (columns < length).astype(jnp.int32)
    hidden, _ = policy.forward(shape, params, tokens[None], columns, inside)
    hidden = hidden[0]

  def of_chunk(hidden_and_targets):
    hidden, targets = hidden_and_targets
    if isinstance(params, inference.Weights):
      logits = inference.logits_of(params, hidden.T)
    else:
      logits = heads.logits_of(shape, params, hidden)
    logprobs = jax.nn.log_softmax(logits / temperature)
    own = jnp.take_along_axis(logprobs, targets[:, None], axis=1)[:, 0]
    tops, ids = jax.lax.top_k(logprobs, min(ALTERNATIVES, logprobs.shape[1]))
    return own, ids, tops

  # A column predicts the next one; the last predicts nothing.
  chunked = hidden.reshape(-1, _CHUNK, hidden.shape[-1])
  targets = jnp.roll(tokens, -1).reshape(-1, _CHUNK)
  scores = jax.lax.map(of_chunk, (chunked, targets))
  flat = (x.reshape(len(tokens), *x.shape[2:]) for x in scores)
  return Scores(*(jnp.roll(x, 1, axis=0) for x in flat))
