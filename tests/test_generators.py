"""Generators: CYaRon in the sandbox, cases that differ, seeds that repeat."""

import ast

import pytest

from k15.rewards import generators
from k15.rewards import sandbox
from k15.rewards import sandbox_rungs

LIMITS = sandbox.Limits(seconds=60.0)
GENERATOR = """from __future__ import annotations
from cyaron import *
import sys
case = int(input())
io = IO(sys.stdout, disable_output=True)
io.input_writeln(case, [1, 2])
io.input_writeln(Vector.random(6, [(1, 1000)], mode=1))
io.input_write(Graph.tree(4, weight_limit=(3, 9)).to_str(shuffle=True))
"""


@pytest.fixture(scope='module')
def pool():
  try:
    with generators.make_pool(workers=2) as pool:
      yield pool
  except (sandbox_rungs.SandboxError, ModuleNotFoundError) as error:
    pytest.skip(str(error))


def run(pool, source=GENERATOR, cases=(1, 2), seed='0'):
  return generators.run(source, cases, pool, seed, LIMITS)


def test_cyaron_writes_inputs(pool):
  outcomes = run(pool)
  assert [o.reason for o in outcomes] == ['', '']
  lines = outcomes[1].stdout.splitlines()
  assert lines[0] == '2 1 2'
  assert all(1 <= int(x) <= 1000 for x in lines[1].split())
  edges = [[int(x) for x in line.split()] for line in lines[2:]]
  assert len(edges) == 3
  assert all(3 <= w <= 9 and {u, v} <= {1, 2, 3, 4} for u, v, w in edges)


def test_cases_differ_and_seeds_repeat(pool):
  first = [o.stdout.splitlines()[1] for o in run(pool)]
  assert first[0] != first[1]
  assert first == [o.stdout.splitlines()[1] for o in run(pool)]
  assert first != [o.stdout.splitlines()[1] for o in run(pool, seed='1')]


def test_all_that_the_usage_statement_shows_is_there(pool):
  shown = """from cyaron import *
randint(1, 2), uniform(1, 2), choice([3]), String.random(3)
String.random((2, 4), charset='abc')
Vector.random(3, [(0, 9), (1, 5)]), Vector.random(3, [(0, 9)], mode=2)
for make in (Graph.tree, Graph.chain, Graph.binary_tree): make(4)
for make in (Graph.graph, Graph.DAG, Graph.connected):
  make(5, 6, weight_limit=(1, 9), self_loop=False, repeated_edges=False)
Graph.tree(3).to_str(output=Edge.unweighted_edge)
hull = Polygon.convex_hull(3, fx=lambda x: int(999 * x), fy=lambda y: y)
print(len(hull.points), Sequence(lambda i, f: f(i - 1) + i, [1]).get(1, 3))
"""
  (outcome,) = run(pool, shown, [1])
  assert (outcome.reason, outcome.stdout) == ('', '3 [2, 4, 7]\n')


def test_a_generator_cannot_change_cyaron(pool):
  if not pool.rung.startswith('namespaces'):
    pytest.skip(f'{pool.rung} gives every run a copy of its own')
  write = 'import cyaron\nopen(cyaron.__file__, "a")'
  (outcome,) = run(pool, write, [1])
  assert outcome.reason.startswith('crash: OSError: [Errno 30] Read-only')


def test_a_generator_cannot_reach_the_network(pool):
  connect = 'import socket\nsocket.create_connection(("127.0.0.1", 1))'
  (outcome,) = run(pool, connect, [1])
  assert outcome.reason.startswith('crash: PermissionError')


def test_what_is_left_in_buffers_is_printed(pool):
  (outcome,) = run(pool, 'print(input(), end="")\nraise SystemExit', [4])
  assert (outcome.reason, outcome.stdout) == ('', '4')


def test_the_prompt_holds_usage_problem_and_task():
  prompt = generators.make_prompt('Add two numbers.\n', 50)
  assert prompt.startswith(generators.USAGE)
  assert 'Problem:\nAdd two numbers.\n' in prompt
  assert 'It is run 50 times' in prompt
  example = generators.USAGE.split('\n\n')[1]
  assert ast.parse(example)


def test_without_cyaron_it_is_named(monkeypatch):
  monkeypatch.setattr(generators.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ModuleNotFoundError, match='need cyaron, .* make extras'):
    generators.make_pool()
