"""Test cases: which inputs are valid, which problems are kept, the funnel.

A shell program starts in a millisecond, and the rules are scaled down: 6 cases
of which 5 have to be valid, 4 submissions of which 3 agree and 3 pass.

Generators: CYaRon in the sandbox, cases that differ, seeds that repeat.
"""

import ast

import pytest

from k15.rewards.code import test_cases
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls

RULES = test_cases.Rules(cases=6, submissions=4, agreeing=3, valid=5, passing=3)
PATIENT_SECONDS = 60.0  # What ends by itself is never judged by the clock.
ENDLESS = 'while True: pass'
DOUBLE = 'print(2 * int(input()))'
SQUARE_UP_TO_3 = 'n = int(input())\nprint(2 * n if n < 4 else n * n)'
PRINT_CASE = 'print(input())'


def make_problem(*programs, name='p', **settings):
  submissions = tuple(test_cases.Submission('python', p) for p in programs)
  return test_cases.ContestProblem(
    name, f'About {name}.', submissions, **settings
  )


def select(pool, problem, generator=PRINT_CASE):
  programs = [generator, *(p.source for p in problem.submissions)]
  seconds = 2.0 if ENDLESS in programs else PATIENT_SECONDS
  limits = pool_lib.Limits(seconds=seconds)
  texts = [f'Let me think.\n```python\n{generator}\n```']
  return test_cases.select(
    [problem], lambda prompts: texts, pool, RULES, limits=limits
  )[0]


def test_a_problem_on_which_all_agree_is_kept_with_its_cases(pool):
  selection = select(pool, make_problem(*[DOUBLE] * 4))
  assert (selection.dropped, selection.num_passing) == ('', 4)
  cases = [(t.stdin, t.expected) for t in selection.tests]
  assert cases == [(f'{n}\n', f'{2 * n}\n') for n in range(1, 7)]
  assert not selection.errors


def test_one_bad_submission_of_four_is_outvoted(pool):
  selection = select(pool, make_problem(*[DOUBLE] * 3, SQUARE_UP_TO_3))
  assert (selection.dropped, selection.num_passing) == ('', 3)
  assert selection.tests[-1].expected == '12\n'


def test_different_bad_submissions_leave_too_few_that_pass_all(pool):
  # Each case has 3 that agree, and each bad one fails another case.
  bad = [f'n = int(input())\nprint(2 * n + (n == {n}))' for n in (2, 5)]
  selection = select(pool, make_problem(DOUBLE, DOUBLE, *bad))
  assert len(selection.tests) == 6
  assert (selection.dropped, selection.num_passing) == ('few passing', 2)


def test_cases_without_agreement_are_not_valid(pool):
  # From 4 on it is two against two; with 2 of 6 lost there cannot be 5.
  problem = make_problem(*[DOUBLE, SQUARE_UP_TO_3] * 2)
  selection = select(pool, problem)
  assert selection.dropped == 'few cases'
  assert [t.stdin for t in selection.tests] == ['1\n', '2\n', '3\n']


@pytest.mark.parametrize(
  ('generator', 'num_inputs', 'errors'),
  [
    ('print(7)', 1, {}),  # The same input counts once.
    ('print()', 0, {}),
    ('1 / 0', 0, {('generator', 'crash'): 2}),
    (ENDLESS, 0, {('generator', 'timeout'): 2}),
    ('import socket; socket.socket()', 0, {('generator', 'crash'): 2}),
  ],
)
def test_a_generator_that_fails_is_given_up(
  pool, generator, num_inputs, errors
):
  # 2 cases that fail are one more than 6 - 5; two run at once.
  selection = select(pool, make_problem(*[DOUBLE] * 4), generator)
  assert (selection.dropped, selection.num_inputs) == ('few cases', num_inputs)
  assert selection.errors == errors


def test_no_program_in_the_text_is_no_generator(pool):
  selections = test_cases.select(
    [make_problem(*[DOUBLE] * 4)], lambda prompts: ['Too hard.'], pool, RULES
  )
  assert selections[0].dropped == 'no generator'


def test_submissions_that_agree_on_nothing_or_a_crash_make_no_case(pool):
  for program in ('pass', 'print(); print(" ")', '1 / 0'):
    selection = select(pool, make_problem(*[program] * 4))
    assert (selection.dropped, selection.tests) == ('few cases', ())
  # 4 submissions on 2 inputs, after which 5 of 6 are out of reach.
  assert selection.errors == {('submission', 'crash'): 8}


def test_a_submission_out_of_time_is_given_up(pool):
  problem = make_problem(*[DOUBLE] * 3, ENDLESS)
  selection = select(pool, problem)
  assert (selection.dropped, selection.num_passing) == ('', 3)
  assert selection.errors == {('submission', 'timeout'): test_cases.GIVE_UP}


def test_numbers_agree_within_the_tolerance(pool):
  programs = ['print(int(input()) / 3)', 'print(f"{int(input()) / 3:.9f}")']
  assert select(pool, make_problem(*programs * 2)).dropped == 'few cases'
  problem = make_problem(*programs * 2, tolerance=1e-6)
  selection = select(pool, problem)
  assert selection.dropped == ''
  assert selection.tests[0].tolerance == 1e-6


def test_problems_with_a_special_judge_are_not_asked_about(pool):
  problems = [
    make_problem(name='any order', needs_special_judge=True),
    make_problem(*[DOUBLE] * 4, name='double'),
  ]
  prompts = []

  def generate(asked):
    prompts.extend(asked)
    return [f'```python\n{PRINT_CASE}\n```']

  selections = test_cases.select(problems, generate, pool, RULES)
  assert [s.dropped for s in selections] == ['special judge', '']
  assert prompts == [test_cases.make_prompt('About double.', 6)]
  assert test_cases.funnel_counts(selections) == (2, 1, 1, 1)


def test_too_few_submissions_or_answers_are_refused(pool):
  with pytest.raises(ValueError, match='p: 3 submissions, of which 4'):
    select(pool, make_problem(*[DOUBLE] * 3))
  with pytest.raises(ValueError, match='0 generators for 1 problems'):
    test_cases.select(
      [make_problem(*[DOUBLE] * 4)], lambda prompts: [], pool, RULES
    )


def test_the_funnel_is_printed_beside_the_papers():
  # 1000, 614, 463 and 323 in the paper, section 2.3.5.
  problem = make_problem()
  dropped = [
    '',
    '',
    'few passing',
    'few cases',
    'no generator',
    'special judge',
  ]
  selections = [test_cases.Selection(problem, reason) for reason in dropped]
  assert test_cases.funnel_counts(selections) == (6, 5, 3, 2)
  lines = test_cases.funnel(selections).splitlines()
  assert [line.split()[-4:] for line in lines[1:]] == [
    ['6', '100.0%', '1000', '100.0%'],
    ['5', '83.3%', '614', '61.4%'],
    ['3', '50.0%', '463', '46.3%'],
    ['2', '33.3%', '323', '32.3%'],
  ]


LIMITS = pool_lib.Limits(seconds=60.0)
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
    with test_cases.make_pool(workers=2) as pool:
      yield pool
  except (walls.SandboxError, ModuleNotFoundError) as error:
    pytest.skip(str(error))


def run(pool, source=GENERATOR, cases=(1, 2), seed='0'):
  return test_cases.run(source, cases, pool, seed, LIMITS)


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
  prompt = test_cases.make_prompt('Add two numbers.\n', 50)
  assert prompt.startswith(test_cases.USAGE)
  assert 'Problem:\nAdd two numbers.\n' in prompt
  assert 'It is run 50 times' in prompt
  example = test_cases.USAGE.split('\n\n')[1]
  assert ast.parse(example)


def test_without_cyaron_it_is_named(monkeypatch):
  monkeypatch.setattr(test_cases.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ModuleNotFoundError, match='needs cyaron, .* make extras'):
    test_cases.make_pool()
