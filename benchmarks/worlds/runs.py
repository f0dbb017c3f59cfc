"""Many runs of toy worlds at once: chunks of one compiled program, by threads.

A `Case` is one run.  Cases of one world are one program, which takes a fixed
number of them at a time: so it is compiled once, and its arrays stay in the
processor's cache.  Learning rates are the best over seeds that nothing else
uses.
"""

import concurrent.futures
import dataclasses
import functools
import os
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from benchmarks.worlds import facts
from benchmarks.worlds import learning
from benchmarks.worlds import policy
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import World
from benchmarks.worlds.learning import Arm
from benchmarks.worlds.learning import Curves

CHUNK = 16  # runs of one call
# Of a nature: the policy that RL begins with knows nothing of it.
_IN_RL_ALONE = dict(
  luck=0.0, answers=0, fixed_luck=0.0, easy_share=0.0, hard_steps=0.0, pool=1.0,
)  # fmt: skip
_TUNING_SEED = 1000  # the first of the seeds that choose rates


@dataclasses.dataclass(frozen=True)
class Case:
  """One run."""

  world: World
  nature: Nature
  arm: Arm
  seed: int


@dataclasses.dataclass
class Clock:
  """What runs have cost: responses, wall and processor seconds, compilation
  and supervised fine-tuning included."""

  responses: int = 0
  seconds: float = 0.0
  cpu_seconds: float = 0.0

  @property
  def rate(self) -> float:
    """Responses a second."""
    return self.responses / max(self.seconds, 1e-9)


def simulate(cases: Sequence[Case], clock: Clock | None = None) -> list[Curves]:
  """The curves of each, in order; numpy."""
  began = time.perf_counter(), time.process_time()
  found = dict.fromkeys(cases)
  by_world: dict[World, list[Case]] = {}
  for case in found:
    by_world.setdefault(case.world, []).append(case)
  for world, some in by_world.items():
    found |= zip(some, _of_world(world, some), strict=True)
  if clock is not None:
    clock.seconds += time.perf_counter() - began[0]
    clock.cpu_seconds += time.process_time() - began[1]
    clock.responses += sum(
      c.world.iterations * c.world.drawn * c.world.group for c in found
    )
  return [found[case] for case in cases]


def tuned(
  cases: Mapping[str, Case],
  rates: Mapping[str, Sequence[float]],
  seeds: int,
  clock: Clock,
) -> dict[str, Case]:
  """Each case with the rate of the largest area under its accuracy.

  Args:
    cases: by name; their seeds do not matter.
    rates: by the same names, to be tried.
    seeds: how many each rate is tried on.
  """
  tries = {
    name: [
      [_with(case, rate, _TUNING_SEED + seed) for seed in range(seeds)]
      for rate in rates[name]
    ]
    for name, case in cases.items()
  }
  flat = [c for by_rate in tries.values() for row in by_rate for c in row]
  areas = dict(zip(flat, map(area, simulate(flat, clock)), strict=True))
  return {
    name: _with(
      cases[name],
      rates[name][
        int(np.argmax([np.mean([areas[c] for c in row]) for row in by_rate]))
      ],
      cases[name].seed,
    )
    for name, by_rate in tries.items()
  }


def area(curves: Curves) -> float:
  """Mean accuracy over RL, by trapezoids."""
  a = curves.accuracy
  return float((a[1:] + a[:-1]).mean() / 2)


def _with(case, rate, seed):
  arm = case.arm._replace(rate=rate)
  return dataclasses.replace(case, arm=arm, seed=seed)


def _of_world(world, cases):
  starts = [(c.nature._replace(**_IN_RL_ALONE), c.seed) for c in cases]
  settings = {
    key: facts.make(world, *key) for key in {(c.nature, c.seed) for c in cases}
  }
  unique = {
    start: settings[c.nature, c.seed].facts
    for start, c in zip(starts, cases, strict=True)
  }
  inputs = [(*start, its) for start, its in unique.items()]
  priors = dict(zip(unique, _in_chunks(_priors(world), inputs), strict=True))
  inputs = [
    (c.nature, c.arm, c.seed, settings[c.nature, c.seed], priors[start])
    for c, start in zip(cases, starts, strict=True)
  ]
  return _in_chunks(_runs(world), inputs)


@functools.cache
def _runs(world):
  return _program(functools.partial(learning.run, world))


@functools.cache
def _priors(world):
  def prior(nature, seed, facts):
    return policy.prior(world, nature, facts, jax.random.key(seed))

  return _program(prior)


def _program(function):
  # Compiling takes longer than most of what is run; these lose no speed by it.
  options = {'xla_backend_optimization_level': '1'}
  return jax.jit(jax.vmap(function), compiler_options=options)


def _in_chunks(program, inputs):
  """One output for each input; the last chunk is filled up."""

  def call(start):
    some = inputs[start : start + CHUNK]
    some += [some[-1]] * (CHUNK - len(some))
    return jax.device_get(program(*jax.tree.map(_stack, *some)))

  # Compiled by the first, while the others wait.
  starts = range(0, len(inputs), CHUNK)
  found = [call(0)]
  with concurrent.futures.ThreadPoolExecutor(_cores()) as threads:
    found += threads.map(call, starts[1:])
  return [
    jax.tree.map(lambda x, i=i: x[i], chunk)
    for chunk in found
    for i in range(CHUNK)
  ][: len(inputs)]


def _stack(*values):
  # Python numbers would be weakly typed, and a whole one no float.
  kinds = {int: np.int32, float: np.float32}
  kind = kinds.get(type(values[0]))
  return np.stack([np.asarray(value, kind) for value in values])


def _cores():
  return len(os.sched_getaffinity(0))
