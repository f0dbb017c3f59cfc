"""The policy of a toy world: a small network, its chains, its exact success.

It sees the symbol it stands on, the operator and the problem's embedding, and
writes a symbol.  In worlds with checks it then looks at what it has written,
too, through the same hidden layer, and may write the step again; it remembers
nothing of earlier rounds.  So the distribution of whole chains can be summed
exactly, and no evaluation has the noise of samples.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.worlds import facts as facts_lib
from benchmarks.worlds.facts import Facts
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import Problems
from benchmarks.worlds.facts import World
from k15.equations import losses

Params = dict[str, jax.Array]
_SFT_RATE, _SFT_COPIES = 0.02, 4  # of Adam; of each fact in a batch


class Chains(NamedTuple):
  """n sampled chains of L steps, R rounds each.

  Attributes:
    state, operator: int32 [n, L], what each step began with.
    embedding: float32 [n, embedding], of the problem.
    written: int32 [n, L, R], a symbol for each round, reached or not.
    again: bool [n, L, R - 1], whether the step is written again after it.
    mask: float32 [n, L (2 R - 1)], tokens that were written: symbols of a
      step, then its decisions.
    is_right: bool [n].
  """

  state: jax.Array
  operator: jax.Array
  embedding: jax.Array
  written: jax.Array
  again: jax.Array
  mask: jax.Array
  is_right: jax.Array


class Success(NamedTuple):
  """float32 [n] each: of problems, P(right answer) and expected symbols."""

  right: jax.Array
  symbols: jax.Array


def uniforms(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
  """Random numbers in [0, 1), an array for each shape.

  By one call: each takes the compiler longer than all that is done with them.
  """
  sizes = [math.prod(shape) for shape in shapes]
  ends = np.cumsum(sizes)
  parts = jnp.split(jax.random.uniform(key, (int(ends[-1]),)), ends[:-1])
  return [x.reshape(shape) for x, shape in zip(parts, shapes, strict=True)]


def draws_of_chains(world: World, n: int) -> tuple[int, int, int]:
  """Shape of the random numbers of n chains."""
  return world.steps, 2 * world.rounds, n


def init(world: World, key: jax.Array) -> Params:
  """Weights before supervised fine-tuning."""
  seen = 2 * world.symbols + world.operators + world.embedding + 2
  into, out = uniforms(
    key, (seen, world.width), (world.width, world.symbols + 1)
  )
  return dict(
    seen=into - 0.5,
    out=(out - 0.5) / 3,
    bias=jnp.zeros(world.symbols + 1),
  )


def _hidden_sum(world, params, state, operator, embedding):
  """What symbol, operator and problem add to the hidden layer: [..., width]."""
  kinds = world.symbols, world.operators
  # Products with one-hot rows: their gradients are products too, where those
  # of look-ups would be scattered, which is slow on processors.
  seen = jnp.concatenate(
    [*map(jax.nn.one_hot, (state, operator), kinds), embedding], -1
  )
  return seen @ params['seen'][: seen.shape[-1]]


def _write_logits(world, params, hidden_sum):
  """[..., symbols], of what to write."""
  hidden = jnp.tanh(hidden_sum + params['seen'][-1])
  S = world.symbols
  return hidden @ params['out'][:, :S] + params['bias'][:S]


def _again_logit(world, params, hidden_sum, written):
  """[...], of writing the step again, `written` being what stands there."""
  looks = params['seen'][-2 - world.symbols : -2]
  look = jax.nn.one_hot(written, world.symbols) @ looks
  hidden = jnp.tanh(hidden_sum + look + params['seen'][-2])
  return hidden @ params['out'][:, -1] + params['bias'][-1]


def sample(
  world: World,
  nature: Nature,
  facts: Facts,
  params: Params,
  problems: Problems,
  draws: jax.Array,
) -> Chains:
  """A chain for each problem, at temperature 1.

  Args:
    draws: uniform, of the shape `draws_of_chains`.
  """
  n, R = len(problems.start), world.rounds
  coins = jnp.where(nature.fixed_luck > 0, problems.coin.T, draws[:, -1])

  def step(state, inputs):
    operator, drawn, is_lucky = inputs
    base = _hidden_sum(world, params, state, operator, problems.embedding)
    chances = jax.nn.softmax(_write_logits(world, params, base))
    ends = jnp.cumsum(chances, -1)[..., None, :-1]  # The last one is 1.
    written = jnp.sum(ends <= drawn[:R].T[..., None], -1, dtype=jnp.int32)
    again = _again_logit(
      world, params, base[:, None], written[:, :-1]
    ) > jax.scipy.special.logit(drawn[R : 2 * R - 1].T)
    reached = jnp.cumprod(again, -1)  # of the second round, the third ...
    last = jnp.sum(reached, -1)
    accepted = jnp.take_along_axis(written, last[:, None], 1)[:, 0]
    right = facts.right[state, operator]
    following = jnp.where(is_lucky, right, accepted)
    begun = jnp.concatenate([jnp.ones((n, 1)), reached], -1)
    mask = jnp.concatenate([begun, begun[:, :-1]], -1)
    return following, (state, written, again, mask)

  end, (state, written, again, mask) = jax.lax.scan(
    step, problems.start, (problems.operators.T, draws, coins < nature.luck)
  )
  by_chain = (jnp.moveaxis(x, 0, 1) for x in (state, written, again, mask))
  state, written, again, mask = by_chain
  return Chains(
    state=state,
    operator=problems.operators,
    embedding=problems.embedding,
    written=written,
    again=again,
    mask=mask.reshape(n, -1),
    is_right=facts_lib.is_right(world, nature, end, problems.answer),
  )


def logprobs(world: World, params: Params, chains: Chains) -> jax.Array:
  """log pi of each token, float32 [n, L (2 R - 1)]; reached or not."""
  embedding = chains.embedding[:, None]
  embedding = jnp.broadcast_to(
    embedding, (*chains.state.shape, embedding.shape[-1])
  )
  base = _hidden_sum(world, params, chains.state, chains.operator, embedding)
  return _logprobs(world, params, base, chains.written, chains.again).reshape(
    len(chains.state), -1
  )


def _logprobs(world, params, base, written, again):
  """Of the symbols, then of the decisions of a step: [..., 2 R - 1]."""
  of_symbols = jax.nn.log_softmax(_write_logits(world, params, base))
  # A masked sum: the gradient of a look-up would be scattered.
  chosen = jax.nn.one_hot(written, world.symbols)
  of_symbols = jnp.sum(of_symbols[..., None, :] * chosen, -1)
  logit = _again_logit(world, params, base[..., None, :], written[..., :-1])
  of_again = jax.nn.log_sigmoid(jnp.where(again, logit, -logit))
  return jnp.concatenate([of_symbols, of_again], -1)


def exact(
  world: World,
  nature: Nature,
  facts: Facts,
  params: Params,
  problems: Problems,
  sharpness: jax.Array | float = 1.0,
) -> Success:
  """Sums over all chains, by the distribution of the symbol after each step.

  Args:
    sharpness: what logits are multiplied by, 1 / temperature.
  """
  S, n = world.symbols, len(problems.start)
  states = jnp.arange(S)
  embedding = jnp.broadcast_to(
    problems.embedding[:, None], (n, S, world.embedding)
  )

  def step(carry, inputs):
    at, symbols = carry  # [n, S], [n]
    operator, coin = inputs
    base = _hidden_sum(
      world,
      params,
      jnp.broadcast_to(states, (n, S)),
      jnp.broadcast_to(operator[:, None], (n, S)),
      embedding,
    )
    chances = jax.nn.softmax(sharpness * _write_logits(world, params, base))
    writes = jnp.ones((n, S))
    if world.rounds > 1:
      logit = _again_logit(
        world, params, base[..., None, :], jnp.broadcast_to(states, (n, S, S))
      )
      again = jax.nn.sigmoid(sharpness * logit)
      chances, writes = _after_checks(chances, again, world.rounds)
    right = facts.right[:, operator].T
    is_harmless = jnp.where(nature.fixed_luck > 0, coin, nature.luck)
    moved = at[..., None] * chances * (1 - is_harmless)[:, None, None]
    lucky = (at * is_harmless[:, None])[..., None]
    moved += lucky * jax.nn.one_hot(right, S)
    return (moved.sum(1), symbols + jnp.sum(at * writes, -1)), None

  # Of fixed luck the coins are known: each is 0 or 1.
  known = (problems.coin < nature.luck).astype(jnp.float32)
  begun = jax.nn.one_hot(problems.start, S), jnp.zeros(n)
  (at, symbols), _ = jax.lax.scan(step, begun, (problems.operators.T, known.T))
  is_right = facts_lib.is_right(world, nature, states, problems.answer[:, None])
  return Success(jnp.sum(at * is_right, -1), symbols)


def _after_checks(chances, again, rounds):
  """What is accepted at last [..., S], and expected writings [...]."""
  repeats = jnp.sum(chances * again, -1)
  before = jnp.stack([repeats**r for r in range(rounds)], -1)
  checked, last = before[..., :-1].sum(-1), before[..., -1]
  accepted = chances * (1 - again) * checked[..., None]
  return accepted + chances * last[..., None], before.sum(-1)


def prior(world: World, nature: Nature, facts: Facts, key: jax.Array) -> Params:
  """Supervised fine-tuning on what the writer of a world writes."""
  S, size, R = world.symbols, world.operators, world.rounds
  keys = jax.random.split(key, world.sft_steps + 1)
  state = jnp.tile(jnp.repeat(jnp.arange(S), size), _SFT_COPIES)
  operator = jnp.tile(jnp.arange(size), S * _SFT_COPIES)
  right = facts.right[state, operator][:, None]
  wrong = facts.misconception[state, operator][:, None]
  q = facts.q[state, operator][:, None]
  n, tokens = len(state), 2 * R - 1
  # A row a fact, all of it in the loss; the mean over rows.
  segments = jnp.ones((n, tokens), jnp.int32)
  optimizer = optax.adam(
    optax.cosine_decay_schedule(_SFT_RATE, world.sft_steps)
  )

  def loss(params, embedding, written, again):
    base = _hidden_sum(world, params, state, operator, embedding)
    value, _ = losses.next_token(
      _logprobs(world, params, base, written, again),
      segments,
      jnp.ones((n, tokens)),
      jnp.full((n, 1), 1 / n),
    )
    return value

  def step(carry, step_key):
    params, moments = carry
    knows, slips, anything, checks, embedding = uniforms(
      step_key, *[(n, R)] * 4, (n, world.embedding)
    )
    written = jnp.where(knows < q, right, wrong)
    anything = (anything * S).astype(jnp.int32)
    written = jnp.where(slips < nature.slip, anything, written)
    looked = written[:, :-1]
    chance = jnp.where(looked == right, nature.alarm, nature.catch)
    again = checks[:, :-1] < chance
    embedding = facts_lib.as_embedding(embedding)
    gradient = jax.grad(loss)(params, embedding, written, again)
    direction, moments = optimizer.update(gradient, moments)
    return (optax.apply_updates(params, direction), moments), None

  params = init(world, keys[0])
  (params, _), _ = jax.lax.scan(
    step, (params, optimizer.init(params)), keys[1:]
  )
  return params
