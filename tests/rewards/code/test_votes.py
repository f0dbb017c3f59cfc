"""Programs vote by what they print on a generator's inputs, in the sandbox."""

import pytest

from k15.rewards.code import programs
from k15.rewards.code import test_cases
from k15.rewards.code import votes
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls

WANTED = programs.Reference((programs.StdinTest('1', '2'),), 'python')
GENERATOR = 'Small first.\n```python\nprint(int(input()) * 3)\n```'
DOUBLE, ALSO = 'print(2 * int(input()))', 'n = int(input()); print(n + n, "")'
SQUARE = 'print(int(input()) ** 2)'
FAILS_LATE = 'n = int(input()); print(2 * n // (n < 9))'


@pytest.fixture(scope='module')
def pool():
  try:
    with test_cases.make_pool(2) as pool:
      yield pool
  except (walls.SandboxError, ModuleNotFoundError) as error:
    pytest.skip(str(error))


def vote(pool, *sources, text=GENERATOR, seconds=60.0):
  limits = pool_lib.Limits(seconds=seconds)
  return votes.vote(pool, text, sources, WANTED, 3, limits)


def test_outputs_decide_and_not_the_text(pool):
  cast = vote(pool, DOUBLE, SQUARE, ALSO, None)
  assert cast == votes.Vote((0, 1, 0, None), inputs=3, failed=0)


def test_who_fails_where_others_answer_has_no_vote(pool):
  cast = vote(pool, DOUBLE, FAILS_LATE, ALSO)
  assert (cast.groups, cast.failed) == ((0, None, 0), 1)


def test_who_runs_out_of_time_has_no_vote(pool):
  cast = vote(pool, DOUBLE, 'while True: pass', SQUARE, seconds=1.0)
  assert (cast.groups, cast.failed) == ((0, None, 1), 3)


@pytest.mark.parametrize(
  'text', ['Too hard.', '```python\n1 / 0\n```', '```python\nprint()\n```']
)
def test_without_inputs_all_are_one_group(pool, text):
  assert vote(pool, DOUBLE, SQUARE, text=text) == votes.Vote((0, 0), 0, 0)


def test_functions_do_not_vote():
  call = programs.CallTest(pool_lib.Call('f', '[[],{}]'), '1')
  assert votes.can_vote(WANTED)
  assert not votes.can_vote(programs.Reference((call,)))
