"""Programs in groups: those that print the same on inputs of a model's making.

Kimi k1.5, appendix C.  What a vote is, `equations.contests` says; here programs
run, all of them hostile, as does the generator of their inputs.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Sequence

from k15.equations import contests
from k15.rewards.code import programs
from k15.rewards.code import test_cases
from k15.rewards.sandbox import pool as pool_lib


@dataclasses.dataclass(frozen=True)
class Vote:
  """Attributes:
  groups: [n], see `contests.vote_by_output`.
  inputs: different ones that the generator printed.
  failed: of n * inputs runs, those that failed.
  """

  groups: tuple[int | None, ...]
  inputs: int
  failed: int


def can_vote(wanted: programs.Reference) -> bool:
  """Whether programs read standard input; functions have no inputs as text."""
  return all(isinstance(t, programs.StdinTest) for t in wanted.tests)


def vote(
  pool: pool_lib.Pool,
  text: str,
  sources: Sequence[str | None],
  wanted: programs.Reference,
  cases: int,
  limits: pool_lib.Limits,
) -> Vote:
  """Runs programs on generated inputs and groups them.

  Args:
    pool: from `test_cases.make_pool`.
    text: of a model, which holds the generator, perhaps.
    sources: programs, in the reference's language; None where there is none.
    cases: how often the generator runs.
    limits: of a program's run, which the problem may lengthen.
  """
  generator = programs.extract_program(text, 'python')
  inputs = []
  if generator is not None:
    rules = test_cases.Rules(cases=cases, valid=1)
    inputs = test_cases.inputs_of(
      generator, pool, rules, 'vote', test_cases.LIMITS, collections.Counter()
    )
  limits = programs.limits_of(wanted, limits)
  # Equal programs print the same: each runs once.
  different = list(dict.fromkeys(s for s in sources if s is not None))
  outcomes = pool.map(
    pool_lib.Job(wanted.language, source, stdin, limits)
    for source in different
    for stdin in inputs
  )
  printed = [None if o.reason else _digest(o.stdout) for o in outcomes]
  width = len(inputs)
  rows = {
    source: printed[i * width : (i + 1) * width]
    for i, source in enumerate(different)
  }
  outputs = [None if s is None else rows[s] for s in sources]
  return Vote(
    groups=tuple(contests.vote_by_output(outputs)),
    inputs=width,
    failed=sum(o is None for row in outputs if row is not None for o in row),
  )


def _digest(output):
  """Equal for outputs that are so but for white space."""
  words = ' '.join(output.split())
  return hashlib.sha256(words.encode(errors='replace')).hexdigest()
