"""Chains of a tiny world: their exact success, by counting all of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.worlds import facts as facts_lib
from benchmarks.worlds import policy
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import World

# Two symbols, two steps of two rounds: 2^4 writings, 2^2 decisions, 2^2 coins.
TINY = World(
  symbols=2, operators=2, steps=2, rounds=2, width=3, embedding=2,
  problems=5, held_out=3,
)  # fmt: skip


def small(nature, seed=0):
  setting = facts_lib.make(TINY, nature, seed)
  params = policy.init(TINY, jax.random.key(seed))
  params = {k: 3 * np.asarray(v) for k, v in params.items()}
  return setting, params


def traced(facts):
  """Arrays of jax, as those of a program are."""
  return jax.tree.map(jnp.asarray, facts)


def chances(params, state, operator, embedding):
  """P(write 0), P(write 1), and P(again) after either, by hand."""
  seen, out, bias = params['seen'], params['out'], params['bias']
  # Rows: 2 symbols, 2 operators, 2 numbers, 2 symbols looked at, 2 phases.
  base = seen[state] + seen[2 + operator] + embedding @ seen[4:6]
  logits = np.tanh(base + seen[9]) @ out[:, :2] + bias[:2]
  write = np.exp(logits) / np.exp(logits).sum()
  hidden = [np.tanh(base + seen[6 + y] + seen[8]) for y in range(2)]
  again = [1 / (1 + np.exp(-(h @ out[:, 2] + bias[2]))) for h in hidden]
  return write, again


def by_counting(setting, params, nature, i):
  """P(right) and expected symbols of held-out problem i."""
  problems, right, symbols = setting.held_out, 0.0, 0.0
  bits = itertools.product(range(2), repeat=8)
  for w00, w01, w10, w11, a0, a1, luck0, luck1 in bits:
    state, p, count = problems.start[i], 1.0, 0
    steps = ((w00, w01, a0, luck0), (w10, w11, a1, luck1))
    for t, (first, second, again, lucky) in enumerate(steps):
      operator = problems.operators[i, t]
      write, redo = chances(params, state, operator, problems.embedding[i])
      p *= write[first] * write[second]
      p *= redo[first] if again else 1 - redo[first]
      if nature.fixed_luck:
        p *= (problems.coin[i, t] < nature.luck) == lucky
      else:
        p *= nature.luck if lucky else 1 - nature.luck
      count += 1 + again
      written = second if again else first
      state = setting.facts.right[state, operator] if lucky else written
    right += p * (state == problems.answer[i])
    symbols += p * count
  return right, symbols


@pytest.mark.parametrize('fixed', [0.0, 1.0])
def test_exact_success_and_sampling(fixed):
  nature = Nature(luck=0.3, fixed_luck=fixed)
  setting, params = small(nature)
  facts = traced(setting.facts)
  found = policy.exact(TINY, nature, facts, params, setting.held_out)
  counted = [by_counting(setting, params, nature, i) for i in range(3)]
  right, symbols = np.array(counted).T
  assert right.std() > 0.01  # The problems differ.
  np.testing.assert_allclose(found.right, right, atol=1e-5)
  np.testing.assert_allclose(found.symbols, symbols, atol=1e-5)

  n = 4000
  rows = np.repeat(np.arange(3), n)
  asked = facts_lib.Problems(*(field[rows] for field in setting.held_out))
  draws = jax.random.uniform(
    jax.random.key(1), policy.draws_of_chains(TINY, len(rows))
  )
  chains = policy.sample(TINY, nature, facts, params, asked, draws)
  sampled = np.asarray(chains.is_right).reshape(3, n).mean(1)
  # Four standard errors of n coins: 4 sqrt(1/4 / 4000).
  np.testing.assert_allclose(sampled, right, atol=0.032)
  # Symbols are the first two of a step's three tokens.
  mask = np.asarray(chains.mask).reshape(3, n, 2, 3)
  np.testing.assert_allclose(
    mask[..., :2].sum((-2, -1)).mean(1), symbols, atol=0.045
  )


def test_logprobs_are_those_of_what_was_sampled():
  nature = Nature()
  setting, params = small(nature)
  draws = np.random.default_rng(0).random((2, 4, 3), np.float32)
  problems = setting.held_out
  facts = traced(setting.facts)
  chains = policy.sample(TINY, nature, facts, params, problems, draws)
  found = np.asarray(policy.logprobs(TINY, params, chains)).reshape(3, 2, 3)
  for i, t in itertools.product(range(3), range(2)):
    write, redo = chances(
      params, int(chains.state[i, t]), problems.operators[i, t],
      problems.embedding[i],
    )  # fmt: skip
    first, second = np.asarray(chains.written[i, t])
    again = redo[first] if chains.again[i, t, 0] else 1 - redo[first]
    expected = np.log([write[first], write[second], again])
    np.testing.assert_allclose(found[i, t], expected, atol=1e-5)


def test_greedy_takes_the_likeliest():
  nature = Nature()
  setting, params = small(nature)
  facts = traced(setting.facts)
  found = policy.exact(TINY, nature, facts, params, setting.held_out, 1e4)
  assert {round(float(p), 3) for p in found.right} <= {0.0, 1.0}


def test_a_setting_hangs_on_its_seed_alone():
  nature = Nature(easy_share=0.8)
  world = World(problems=200, held_out=200)
  one, same, other = (facts_lib.make(world, nature, s) for s in (1, 1, 2))
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True):
    np.testing.assert_array_equal(a, b)
  assert (one.facts.right != other.facts.right).any()
  assert (one.facts.right != one.facts.misconception).all()
  assert one.train.operators[one.train.is_easy].max() == 3
  assert 0.7 < one.train.is_easy.mean() < 0.9
  assert 0.4 < one.held_out.is_easy.mean() < 0.6
