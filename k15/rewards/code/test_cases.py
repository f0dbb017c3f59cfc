"""Test cases for problems that have none: Kimi k1.5, section 2.3.5.

  with test_cases.make_pool(workers=2) as pool:
    selections = test_cases.select(problems, generate, pool)
  print(test_cases.funnel(selections))

A model reads how CYaRon is used and what the problem asks, and writes a
generator: a program that prints one input.  It runs 50 times.  On every input
10 accepted submissions run: the case is valid if 7 print the same, and what
they print is what is expected.  The problem is kept, with its valid cases, if
there are 40 and 9 of the 10 submissions pass all of them.

Not published, and decided here: an input counts once however often it is
printed; a case on which the submissions agree to print nothing is not valid;
a submission that ran out of time GIVE_UP times is not run again, and nothing is
for a problem that cannot reach 40 cases.  All programs run in the sandbox.

A generator reads the number of the test case.  It is hostile text: the files of
CYaRon (github.com/luogu-dev/cyaron) are shown inside the sandbox, read-only,
and neither is ever imported outside.
"""

import collections
import dataclasses
import importlib.util
import pathlib
import random
from collections.abc import Callable, Iterable, Sequence

from k15.config import extras
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib

# What a generator needs of it; its colours are optional.
_PACKAGES = ('cyaron', 'xeger')
_FILE = 'generator.py'
# The generator has a file of its own, so that it may begin as it likes, and a
# stdout of its own, as CYaRon closes what it wrote to.  Workers are forks: they
# would all draw the same numbers.
_RUN = """import os, random, runpy, sys
random.seed({seed!r})
sys.stdout = open(os.dup(1), 'w')
try:
  runpy.run_path({name!r}, run_name='__main__')
finally:
  if not sys.stdout.closed:
    sys.stdout.flush()
  sys.stdout = sys.__stdout__
"""
USAGE = """\
CYaRon is a Python library that makes random test data.

from cyaron import *              # also randint, choice, uniform of random
import sys
case = int(input())               # number of the test case, from 1
io = IO(sys.stdout, disable_output=True)
io.input_writeln(3, [1, 2])       # writes the line "3 1 2"

Numbers:  randint(low, high)  uniform(low, high)  choice(list)
Vectors:  Vector.random(n, [(low, high)])      n different vectors of 1 number
          Vector.random(n, [(0, 9), (1, 5)])   n different pairs
          with mode=1 they may repeat, with mode=2 they are floats
Strings:  String.random(n)   String.random((low, high), charset="abc")
Graphs:   Graph.tree(n)  Graph.chain(n)  Graph.binary_tree(n)
          Graph.graph(n, m)  Graph.DAG(n, m)  Graph.connected(n, m)
          with weight_limit=(low, high), self_loop=False, repeated_edges=False
          nodes are 1 to n; io.input_writeln(graph.to_str(shuffle=True)) writes
          one edge "u v w" a line; to_str(output=Edge.unweighted_edge) "u v"
Polygons: Polygon.convex_hull(n, fx=to_x, fy=to_y).points   from [0, 1]
Sequence: Sequence(lambda i, f: f(i - 1) + i, [1]).get(1, 9)
"""
_TASK = """\
Write a Python program that uses CYaRon and prints one input of the problem to
standard output, and nothing else.  It is run {cases} times and reads the number
of the test case, 1 to {cases}.  Early cases are small and cover the extremes;
later ones are large, up to the limits that the problem states.  Give the whole
program in one fenced block.
"""


def make_pool(workers: int = 2, **options) -> pool_lib.Pool:
  """A sandbox in which CYaRon can be imported; options as `pool.Pool`'s.

  Raises:
    ModuleNotFoundError: it is not installed.
  """
  files = {}
  for folder in find_packages():
    for path in sorted(folder.rglob('*.py')):
      place = path.relative_to(folder.parent)
      if 'tests' not in place.parts:
        files[str(place)] = path.read_text()
  imports = (*pool_lib.IMPORTS, 'cyaron')
  return pool_lib.Pool(workers, packages=files, imports=imports, **options)


def find_packages() -> list[pathlib.Path]:
  """Folders of what generators import.

  Raises:
    ModuleNotFoundError: it is not installed.
  """
  folders = []
  for name in _PACKAGES:
    spec = importlib.util.find_spec(name)  # Found, and not run.
    if spec is None:
      raise ModuleNotFoundError(
        extras.sentence('a generator of test cases', name), name=name
      )
    folders.append(pathlib.Path(spec.origin).parent)
  return folders


def make_prompt(statement: str, cases: int) -> str:
  """What the model reads: how CYaRon is used, the problem, what to write."""
  task = _TASK.format(cases=cases)
  return f'{USAGE}\nProblem:\n{statement.strip()}\n\n{task}'


def run(
  generator: str,
  cases: Iterable[int],
  pool: pool_lib.Pool,
  seed: str,
  limits: pool_lib.Limits,
) -> list[pool_lib.Outcome]:
  """Runs a generator once a case; what it prints is an input.

  Args:
    pool: from `make_pool`.
    seed: of `random` in it, together with the case's number.
  """
  jobs = [
    pool_lib.Job(
      'python',
      _RUN.format(seed=f'{seed} {case}', name=_FILE),
      f'{case}\n',
      limits,
      files={_FILE: generator},
    )
    for case in cases
  ]
  return pool.map(jobs)


PAPER = (1000, 614, 463, 323)  # problems after each step of its funnel
GIVE_UP = 3  # one that hangs would cost its 5 s on each of 50 inputs
LIMITS = pool_lib.Limits(seconds=5.0)


@dataclasses.dataclass(frozen=True)
class Submission:
  """A program that is said to solve a problem; `language` as in `languages`."""

  language: str
  source: str


@dataclasses.dataclass(frozen=True)
class ContestProblem:
  """Attributes:
  id: unique.
  statement: with the format of input and output.
  submissions: that were accepted somewhere.
  needs_special_judge: several outputs are right, so that equality cannot judge.
  tolerance: of numbers in outputs, absolute and relative.
  """

  id: str
  statement: str
  submissions: tuple[Submission, ...]
  needs_special_judge: bool = False
  tolerance: float = 0.0


@dataclasses.dataclass(frozen=True)
class Rules:
  """How many; the paper's numbers.

  Attributes:
    cases: inputs asked of a generator.
    submissions: drawn for a problem.
    agreeing: submissions that print the same, for a case to be valid.
    valid: cases, for a problem to go on.
    passing: submissions that pass all valid cases, for it to be kept.
  """

  cases: int = 50
  submissions: int = 10
  agreeing: int = 7
  valid: int = 40
  passing: int = 9


@dataclasses.dataclass(frozen=True)
class Selection:
  """What became of a problem.

  Attributes:
    problem: it.
    dropped: '' where it was kept; else 'special judge', 'no generator',
      'few cases' or 'few passing'.
    num_inputs: different ones that the generator printed, likewise.
    tests: the valid cases, as far as they could matter.
    num_passing: submissions that pass all of them.
    errors: how often who ('generator' or 'submission') failed why.
  """

  problem: ContestProblem
  dropped: str
  num_inputs: int = 0
  tests: tuple[programs.StdinTest, ...] = ()
  num_passing: int = 0
  errors: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)


def select(
  problems: Sequence[ContestProblem],
  generate: Callable[[list[str]], list[str]],
  pool: pool_lib.Pool,
  rules: Rules = Rules(),
  seed: int = 0,
  limits: pool_lib.Limits = LIMITS,
) -> list[Selection]:
  """Makes test cases, and says which problems they are good enough for.

  Args:
    problems: each with at least `rules.submissions` submissions.
    generate: prompts -> texts of a model; the program in a text is the
      generator.
    pool: from `test_cases.make_pool`.
    rules: how many of what.
    seed: of the inputs and of the draw of submissions.

  Returns:
    One selection a problem, in order.

  Raises:
    ValueError: a problem has too few submissions, or generate did not answer
      each prompt once.
  """
  asked = [p for p in problems if not p.needs_special_judge]
  for problem in asked:
    if len(problem.submissions) < rules.submissions:
      raise ValueError(
        f'{problem.id}: {len(problem.submissions)} submissions, of which'
        f' {rules.submissions} would be drawn'
      )
  prompts = [make_prompt(p.statement, rules.cases) for p in asked]
  texts = generate(prompts) if prompts else []
  if len(texts) != len(prompts):
    raise ValueError(f'{len(texts)} generators for {len(prompts)} problems')
  answers, selections = iter(texts), []
  for problem in problems:
    if problem.needs_special_judge:
      selections.append(Selection(problem, 'special judge'))
    else:
      text = next(answers)
      selections.append(_select(problem, text, pool, rules, seed, limits))
  return selections


def _select(problem, text, pool, rules, seed, limits):
  generator = programs.extract_program(text, 'python')
  if generator is None:
    return Selection(problem, 'no generator')
  errors = collections.Counter()
  seed = f'{seed} {problem.id}'
  inputs = inputs_of(generator, pool, rules, seed, limits, errors)
  selection = Selection(problem, 'few cases', len(inputs), errors=errors)
  if len(inputs) < rules.valid:
    return selection
  drawn = random.Random(seed).sample(problem.submissions, rules.submissions)
  tests, passes = _agree(problem, drawn, inputs, pool, rules, limits, errors)
  selection = dataclasses.replace(
    selection, tests=tuple(tests), num_passing=sum(passes) if tests else 0
  )
  if len(tests) < rules.valid:
    return selection
  kept = selection.num_passing >= rules.passing
  return dataclasses.replace(selection, dropped='' if kept else 'few passing')


def inputs_of(
  generator: str,
  pool: pool_lib.Pool,
  rules: Rules,
  seed: str,
  limits: pool_lib.Limits,
  errors: collections.Counter,
) -> list[str]:
  """Different ones that a generator prints; stops once there cannot be enough.

  Args:
    rules: of which it takes `cases` and `valid`.
    errors: counts what fails, as in `Selection`.
  """
  inputs, failures = {}, 0
  for start in range(1, rules.cases + 1, pool.workers):
    cases = range(start, min(start + pool.workers, rules.cases + 1))
    outcomes = run(generator, cases, pool, seed, limits)
    for text in _successes(outcomes, 'generator', errors):
      failures += not text.strip() or text in inputs
      if text.strip():
        inputs[text] = None
    if failures > rules.cases - rules.valid:
      break
  return list(inputs)


def _agree(problem, submissions, inputs, pool, rules, limits, errors):
  """The valid cases, and who passes all of them; stops like `inputs_of`."""
  tests, timeouts = [], [0] * len(submissions)
  passes = [True] * len(submissions)
  for done, stdin in enumerate(inputs):
    if len(tests) + len(inputs) - done < rules.valid:
      break
    running = [i for i, n in enumerate(timeouts) if n < GIVE_UP]
    outcomes = pool.map(
      pool_lib.Job(
        submissions[i].language, submissions[i].source, stdin, limits
      )
      for i in running
    )
    for i, outcome in zip(running, outcomes, strict=True):
      timeouts[i] += outcome.reason == 'timeout'
    outputs = [None] * len(submissions)
    printed = _successes(outcomes, 'submission', errors)
    for i, output in zip(running, printed, strict=True):
      outputs[i] = output or None
    expected, agreeing = _majority(outputs, problem.tolerance)
    if sum(agreeing) >= rules.agreeing:
      tests.append(programs.StdinTest(stdin, expected, problem.tolerance))
      passes = [a and b for a, b in zip(passes, agreeing, strict=True)]
  return tests, passes


def _successes(outcomes, who, errors):
  """What was printed, '' where a run failed; failures are counted."""
  for outcome in outcomes:
    if outcome.reason:
      errors[who, outcome.reason.partition(':')[0]] += 1
  return ['' if o.reason else o.stdout for o in outcomes]


def _majority(outputs, tolerance):
  """The output that most agree with, and which ones do."""
  expected, agreeing = '', [False] * len(outputs)
  for output in dict.fromkeys(o for o in outputs if o and o.strip()):
    same = [
      o is not None and programs.same_tokens(output, o, tolerance)
      for o in outputs
    ]
    if sum(same) > sum(agreeing):
      expected, agreeing = output, same
  return expected, agreeing


def funnel(selections: Sequence[Selection], rules: Rules = Rules()) -> str:
  """The table of how many problems are left after each step."""
  rows = [
    'problems', 'need no special judge',
    f'generator with {rules.valid} valid cases or more', 'kept',
  ]  # fmt: skip
  lines = [f'{"":40}{"here":>8}{"":8}{"paper":>8}']
  counts = funnel_counts(selections)
  for row, count, paper in zip(rows, counts, PAPER, strict=True):
    share, theirs = count / max(1, counts[0]), paper / PAPER[0]
    lines.append(f'{row:40}{count:8}{share:8.1%}{paper:8}{theirs:8.1%}')
  return '\n'.join(lines)


def funnel_counts(selections: Sequence[Selection]) -> tuple[int, ...]:
  """Problems, without special judge, with enough valid cases, kept."""
  dropped = [selection.dropped for selection in selections]
  return (
    len(dropped),
    sum(reason != 'special judge' for reason in dropped),
    sum(reason in ('', 'few passing') for reason in dropped),
    dropped.count(''),
  )
