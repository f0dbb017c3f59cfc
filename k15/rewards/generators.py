"""Generators of test inputs: written by a model, run in the sandbox.

A generator is a Python program that uses CYaRon (github.com/luogu-dev/cyaron)
and prints one input of a problem.  It reads the number of the test case.  It is
hostile text: CYaRon's files are shown inside the sandbox, read-only, and
neither the generator nor CYaRon is ever imported outside.
"""

import importlib.util
import pathlib
from collections.abc import Iterable

from k15.rewards import sandbox

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


def make_pool(workers: int = 2, **options) -> sandbox.Pool:
  """A sandbox in which CYaRon can be imported; options as `sandbox.Pool`'s.

  Raises:
    ModuleNotFoundError: it is not installed.
  """
  files = {}
  for name in _PACKAGES:
    spec = importlib.util.find_spec(name)  # Found, and not run.
    if spec is None:
      raise ModuleNotFoundError(
        f'generators of test cases need {name}, which is not installed: make'
        " extras, or pip install 'k15[sandbox]'",
        name=name,
      )
    folder = pathlib.Path(spec.origin).parent
    for path in sorted(folder.rglob('*.py')):
      place = path.relative_to(folder.parent)
      if 'tests' not in place.parts:
        files[str(place)] = path.read_text()
  imports = (*sandbox.IMPORTS, 'cyaron')
  return sandbox.Pool(workers, packages=files, imports=imports, **options)


def make_prompt(statement: str, cases: int) -> str:
  """What the model reads: how CYaRon is used, the problem, what to write."""
  task = _TASK.format(cases=cases)
  return f'{USAGE}\nProblem:\n{statement.strip()}\n\n{task}'


def run(
  generator: str,
  cases: Iterable[int],
  pool: sandbox.Pool,
  seed: str,
  limits: sandbox.Limits,
) -> list[sandbox.Outcome]:
  """Runs a generator once a case; what it prints is an input.

  Args:
    generator: text of the program.
    cases: their numbers.
    pool: from `make_pool`.
    seed: of `random` in it, together with the case's number.
    limits: of one run.
  """
  jobs = [
    sandbox.Job(
      'python',
      _RUN.format(seed=f'{seed} {case}', name=_FILE),
      f'{case}\n',
      limits,
      files={_FILE: generator},
    )
    for case in cases
  ]
  return pool.map(jobs)
