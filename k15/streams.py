"""The random streams of a run: every one has a name, and no two are equal.

All randomness comes from `seed`, through this page.  A stream is what is drawn,
for which stage where several draw the like, and numbers such as the epoch:
`rng(seed, 'example order', 'sft', epoch)`.  Resumed runs make a stream anew
from its name, and so draw the same.

A list of words alone would not tell streams apart: numpy pads a seed with
zeros, so that 5, [5, 0] and [5, 0, 0] are one.  A `SeedSequence` takes the name
as its spawn key, which comes after the padding and counts by its length too.

Tokens are drawn by the key of a rollout, the ids of their request and their
position (`rollout.sampling`); `IDS` gives each kind of request its own ids.
"""

import jax
import numpy as np

from k15.config import stages

# A number is given once and for good: another would change every run's draws.
NUMBERS = {
  # -- what is drawn, as keys of jax
  'weights': 1,  # random ones
  'rollout': 2,  # tokens, for a stage
  'serving': 3,  # tokens of requests that bring no seed
  'adapters': 4,  # for a stage, by matrix: low-rank ones
  # -- as generators of numpy, or the seeds of other libraries
  'training problems': 10,
  'held-out problems': 11,
  'warm-up solutions': 12,  # problems and their worked solutions
  'held-out split': 13,  # of a file
  'training answer pairs': 14,
  'held-out answer pairs': 15,
  'options': 16,  # by question: the order of a multiple choice
  'training pictures': 17,
  'held-out pictures': 18,
  'warm-up pictures': 19,  # problems and their worked solutions
  'facts': 25,  # a table of them, which has a seed of its own
  'lessons': 24,  # for a stage: what it reads, with pictures and without
  'problem sampler': 20,  # for a stage
  'updates': 21,  # for a stage, by iteration: what is left out, and the order
  'kept examples': 22,  # for a stage, by iteration: worked solutions, in RL
  'example order': 30,  # for a stage, by epoch
  'file order': 31,  # for a stage, by file and turn
  'row order': 32,  # for a stage, by epoch
  'best fit': 33,  # for a stage: bins of a stream
  'pair order': 34,
  'pair batches': 35,  # by epoch
  'server requests': 40,  # by call
  'documents': 45,  # for a stage: generated ones
  'needles': 46,  # by row length
  'albums': 47,  # by row length, learnt and held out: pictures among others
  'bootstrap': 50,  # of an evaluation
  'comparison': 51,  # bootstrap of two of them
  # -- the stage it is drawn for, and what stages share
  **{name: s.stream for name, s in stages.STAGES.items() if s.stream},
  'responses': 108,  # that long2short's stages share
  'held_out': 109,  # evaluations after stages, on the same draws to compare
}
# Group ids of requests, int32: disjoint, for one rollout may answer several.
IDS = {
  'training': range(1 << 28),
  'curation': range(1 << 28, 2 << 28),
  'responses': range(2 << 28, 3 << 28),  # long2short's
  'texts': range(3 << 28, 4 << 28),  # long-CoT examples, judges
  'held_out': range(4 << 28, 6 << 28),  # between iterations of RL
  'evaluate': range(6 << 28, 8 << 28),  # after stages, and the one of its name
}


def rng(seed: int, name: str, *parts: str | int) -> np.random.Generator:
  """The generator of a stream.

  Args:
    seed: of the run, in [0, 2**32).
    name: what is drawn, one of `NUMBERS`.
    parts: the stage, one of `NUMBERS`, and numbers in [0, 2**32).

  Raises:
    KeyError: a name that the table does not have.
    ValueError: a number that is out of range.
  """
  return np.random.default_rng(_sequence(seed, name, *parts))


def number(seed: int, name: str, *parts: str | int) -> int:
  """A seed in [0, 2**32) for a library that takes one; see `rng`."""
  return int(_sequence(seed, name, *parts).generate_state(1)[0])


def key(seed: int, name: str, *parts: str | int) -> jax.Array:
  """The key of a stream, of jax's threefry kind; see `rng`."""
  words = _sequence(seed, name, *parts).generate_state(2)
  return _wrap(jax.device_put(words))


def key_shape() -> jax.ShapeDtypeStruct:
  """What every `key` is, without one: nothing is put on a device."""
  return jax.eval_shape(_wrap, jax.ShapeDtypeStruct((2,), np.uint32))


def _wrap(words):
  return jax.random.wrap_key_data(words, impl='threefry2x32')


def _sequence(seed, name, *parts):
  words = [NUMBERS[p] if isinstance(p, str) else int(p) for p in (name, *parts)]
  for word in (seed, *words):
    if not 0 <= word < 1 << 32:
      raise ValueError(f'stream {(name, *parts)}: {word} is not in [0, 2**32)')
  return np.random.SeedSequence(seed, spawn_key=words)
