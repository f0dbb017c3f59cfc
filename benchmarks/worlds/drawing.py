"""Which problems a toy run draws: k15's problem sampler, to be traced.

`k15.equations.problem_sampler` keeps its state on the host.  Here are the same
success rates, the same chances and the same notion of hard as functions of
arrays; a test compares each with it, on random numbers.  The draws themselves
are other random ones.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from k15.equations import problem_sampler

STRATEGIES = problem_sampler.STRATEGIES
# Those of experiments/base.py.
DECAY, UNSEEN, MIN_WEIGHT, HARD_BELOW = 0.5, 0.0, 0.02, 0.5


class State(NamedTuple):
  """attempts: int32 [N], draws of each problem; rate: float32 [N], s_i."""

  attempts: jax.Array
  rate: jax.Array


def start(num_problems: int) -> State:
  """Nothing is drawn yet."""
  return State(jnp.zeros(num_problems, jnp.int32), jnp.zeros(num_problems))


def draw(
  state: State,
  strategy: jax.Array,
  is_late: jax.Array,
  is_labelled_hard: jax.Array,
  is_used: jax.Array,
  n: int,
  draws: jax.Array,
) -> jax.Array:
  """int32 [n], different problems.

  Args:
    strategy: its place in `STRATEGIES`.
    is_late: whether a curriculum draws hard problems now.
    is_labelled_hard: bool [N], by their difficulty.
    is_used: bool [N], n or more that are drawn at all.
    draws: float32 [1 + N], uniform.
  """
  hits = _hits(jnp.where(is_used, weights(state), 0.0), n, draws[0])
  # Every problem once an epoch: those that were drawn least often go first.
  epochs = state.attempts.astype(jnp.float32)
  hard = is_hard(state, is_labelled_hard).astype(jnp.float32)
  late = jnp.where(is_late, -hard, epochs)
  order = jnp.stack([epochs, -hits, late])[strategy]
  order += draws[1:]  # Random among equals.
  return jax.lax.top_k(jnp.where(is_used, -order, -jnp.inf), n)[1]


def record(state: State, drawn: jax.Array, accuracies: jax.Array) -> State:
  """Averages the accuracies of different problems into their s_i."""
  seen = state.attempts[drawn] > 0
  old = state.rate[drawn]
  new = jnp.where(seen, DECAY * old + (1 - DECAY) * accuracies, accuracies)
  return State(state.attempts.at[drawn].add(1), state.rate.at[drawn].set(new))


def success_rates(state: State) -> jax.Array:
  """float32 [N], assumed where a problem was never tried."""
  return jnp.where(state.attempts > 0, state.rate, UNSEEN)


def weights(state: State) -> jax.Array:
  """float32 [N] of prioritized sampling: 1 - s_i, and no less than a floor."""
  return jnp.maximum(MIN_WEIGHT, 1 - success_rates(state))


def is_hard(state: State, is_labelled_hard: jax.Array) -> jax.Array:
  """bool [N]: by success rate or, never tried, by label."""
  return jnp.where(
    state.attempts > 0, state.rate < HARD_BELOW, is_labelled_hard
  )


def inclusion_probabilities(weights: jax.Array, n: int) -> jax.Array:
  """n w_i / sum(w), at most 1, what is left going to the others: [N]."""

  def chances(certain):
    rest = jnp.sum(jnp.where(certain, 0.0, weights))
    return (n - jnp.sum(certain)) * weights / jnp.maximum(rest, 1e-30)

  def more(carry):
    certain, _ = carry
    # k15 has 1e-9, below what float32 tells from 1.
    found = ~certain & (chances(certain) >= 1 - 1e-6)
    return certain | found, found.any()

  certain, _ = jax.lax.while_loop(
    lambda carry: carry[1],
    more,
    (jnp.zeros(len(weights), bool), jnp.array(True)),
  )
  return jnp.where(certain, 1.0, chances(certain))


def _hits(weights, n, shift):
  """float32 [N], 1 for those that systematic sampling draws.

  Points at distances of 1 on the line of all chances; problems are in a random
  order as they are.
  """
  ends = jnp.cumsum(inclusion_probabilities(weights, n))
  points = jnp.floor(ends - shift)
  return (jnp.diff(points, prepend=-1.0) > 0).astype(jnp.float32)
