"""Programs judged: calls, stdin and stdout, checkers, trusted assertions."""

import pytest

from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox.inside import values

StdinTest, JudgeTest = programs.StdinTest, programs.JudgeTest
PATIENT = pool_lib.Limits(seconds=60.0)
HASTY = pool_lib.Limits(seconds=1.0)  # For what never ends.


def call(value, expected, **options):
  arguments = values.encode([[value], {}])
  return programs.CallTest(
    pool_lib.Call('f', arguments), values.encode(expected), **options
  )


def judge(pool, source, *tests, language='python', limits=PATIENT):
  verdict = programs.judge_program(pool, language, source, tests, limits)
  assert verdict.rung == pool.rung and verdict.seconds >= 0
  return verdict


@pytest.mark.parametrize(
  ('returned', 'kind'),
  [
    ('(1, 2.0)', 'correct'), ('[1, 2.0]', 'wrong'), ('(1, 2)', 'wrong'),
    ('(1.0, 2.0)', 'wrong'), ('(True, 2.0)', 'wrong'), ('(1, 2.1)', 'wrong'),
    ('None', 'wrong'), ('"(1, 2.0)"', 'wrong'), ('object()', 'error'),
  ],
)  # fmt: skip
def test_a_call_is_compared_with_its_type(pool, returned, kind):
  source = f'def f(x): return {returned}'
  assert judge(pool, source, call(0, (1, 2.0))).kind == kind


def test_a_call_may_be_near_or_of_another_type_where_the_test_says(pool):
  source = 'def f(x): return x + 1e-9'
  assert judge(pool, source, call(1, 1.0)).kind == 'wrong'
  assert judge(pool, source, call(1, 1.0, tolerance=1e-6)).kind == 'correct'
  exact = 'def f(x): return float(x)'
  assert judge(pool, exact, call(1, 1)).kind == 'wrong'
  assert judge(pool, exact, call(1, 1, by_value=True)).kind == 'correct'


@pytest.mark.parametrize(
  ('returned', 'expected', 'kind'),
  [
    ('__import__("fractions").Fraction(1, 2)', 0.5, 'correct'),
    ('__import__("decimal").Decimal(3)', 3, 'correct'),
    ('__import__("decimal").Decimal("0.1")', 0.1, 'wrong'),
    ('frozenset({1})', {1}, 'correct'), ('{1: 2}.keys()', {1}, 'correct'),
    ('__import__("collections").deque([1])', [1], 'wrong'),
    ('(i for i in [1])', [1], 'wrong'), ('range(1)', [0], 'wrong'),
    ('[10 ** 5000]', [10 ** 5000], 'correct'),
    ('[10 ** 5000 + 1]', [10 ** 5000], 'wrong'),
  ],
)  # fmt: skip
def test_by_value_is_as_an_assert_has_it(pool, returned, expected, kind):
  source = f'def f(x): return {returned}'
  test = call(0, expected, by_value=True)
  assert judge(pool, source, test).kind == kind


def test_the_first_test_that_fails_decides(pool):
  source = 'def f(x): return 1 if x < 5 else 1 / 0'
  assert judge(pool, source, call(1, 1), call(2, 2), call(9, 1)).kind == 'wrong'
  verdict = judge(pool, source, call(1, 1), call(9, 1))
  assert verdict.kind == 'error'
  assert verdict.reason == 'crash: ZeroDivisionError: division by zero'


def test_each_test_has_a_process_of_its_own(pool):
  source = 'seen = []\ndef f(x):\n  seen.append(x)\n  return len(seen)'
  assert judge(pool, source, *[call(i, 1) for i in range(3)]).kind == 'correct'


@pytest.mark.parametrize(
  ('source', 'reason'),
  [
    ('def f(x):\n  while True: pass', 'timeout'),
    ('def f(x): return [0] * 10**9', 'memory'),
    ('import sys; sys.exit(0)', 'crash: it ended before it returned'),
    ('def g(x): pass', "crash: KeyError: 'f'"),
    ('def f(x): return g', "crash: NameError: name 'g' is not defined"),
  ],
)
def test_what_stops_early_is_an_error_with_its_reason(pool, source, reason):
  limits = HASTY if reason == 'timeout' else PATIENT
  verdict = judge(pool, source, call(1, 1), limits=limits)
  assert (verdict.kind, verdict.reason) == ('error', reason)


def test_output_is_compared_by_tokens(pool):
  source = 'for i in range(3): print(i, end="  \\n\\n")'
  assert judge(pool, source, StdinTest('', '0 1\n2')).kind == 'correct'
  assert judge(pool, source, StdinTest('', '0 1 2 3')).kind == 'wrong'
  assert judge(pool, source, StdinTest('', '0 1')).kind == 'wrong'
  crash = source + '\nraise ValueError'
  assert judge(pool, crash, StdinTest('', '0 1 2')).kind == 'error'


def test_cpp_reads_and_writes(pool):
  source = (
    '#include <iostream>\nint main(){double a,s=0;while(std::cin>>a)s+=a;'
    'std::cout.precision(9);std::cout<<s/3;}'
  )
  tests = [StdinTest('1 0 0', '0.333333'), StdinTest('2', '0.666667')]
  near = [StdinTest(t.stdin, t.expected, tolerance=1e-5) for t in tests]
  verdict = judge(pool, source, *near, language='cpp')
  if 'no program' in verdict.reason:
    pytest.skip('no g++')
  assert verdict.kind == 'correct'
  assert judge(pool, source, *tests, language='cpp').kind == 'wrong'
  broken = judge(pool, 'int main() { return x; }', tests[0], language='cpp')
  assert broken.kind == 'error' and broken.reason.startswith('compile:')


CHECKER = """
def check(stdin, expected, stdout):
  '''Any two numbers above 0 with the sum that stdin names.'''
  found = [int(token) for token in stdout.split()]
  return len(found) == 2 and min(found) > 0 and sum(found) == int(stdin)
"""


@pytest.mark.parametrize(
  ('source', 'kind'),
  [
    ('print(1, int(input()) - 1)', 'correct'),
    ('print(int(input()) - 3, 3)', 'correct'),
    ('print(0, input())', 'wrong'),
    ('print("one")', 'error'),  # The checker cannot read it.
    ('def check(*a): return True\nprint(1, 1)', 'wrong'),
  ],
)
def test_a_checker_decides_in_its_own_process(pool, source, kind):
  test = StdinTest('7', '', checker=CHECKER)
  assert judge(pool, source, test).kind == kind


def test_a_checker_has_to_say_true_itself(pool):
  test = StdinTest('', '', checker='def check(*a): return 1')
  assert judge(pool, 'pass', test).kind == 'wrong'


JUDGE = """
for n in range(5):
  root = candidate(n * n)
  assert abs(root - n) < 1e-6, n
"""


@pytest.mark.parametrize(
  ('body', 'kind'),
  [
    ('return x ** 0.5', 'correct'),
    ('return x ** 0.49', 'wrong'),
    ('return "right"', 'error'),
    ('raise AssertionError', 'error'),
    ('import os; os._exit(0)', 'error'),
    (
      'return type("A", (float,), {"__sub__": lambda a, b: 0.0})(9)', 'wrong',
    ),
  ],
)  # fmt: skip
def test_trusted_assertions_ask_the_program(pool, body, kind):
  test = JudgeTest(JUDGE, (('candidate', 'f'),), seconds=120.0)
  assert judge(pool, f'def f(x): {body}', test).kind == kind


def test_a_judge_that_asks_nothing_finds_nothing_right(pool):
  for source in (
    'for x in []:\n  assert candidate(x) == 1', 'def t(): assert candidate(1)',
  ):  # fmt: skip
    verdict = judge(pool, 'f = abs', JudgeTest(source, (('candidate', 'f'),)))
    assert verdict.kind == 'error' and 'asked the program nothing' in (
      verdict.reason
    )


def test_judges_see_what_a_program_returns_as_it_is(pool):
  source = (
    'from fractions import Fraction\nassert f(1) == Fraction(1, 2)\n'
    'assert f(2) == {1, 2} and f(3) == [] and sorted(f(4)) == [1, 2]\n'
    'assert next(f(5)) == 7 and f(6)[0] == 3'
  )
  test = JudgeTest(source, (('f', 'f'),))
  program = (
    'from fractions import Fraction\nfrom collections import deque\n'
    'def f(x): return {1: Fraction(1, 2), 2: {1: 0, 2: 0}.keys(), 3: [],'
    ' 4: {0: 1, 1: 2}.values(), 5: iter([7]), 6: deque([3])}[x]'
  )
  assert judge(pool, program, test).kind == 'correct'
  wrong = program.replace('iter([7])', 'iter([8])')
  assert judge(pool, wrong, test).kind == 'wrong'


def test_a_judge_that_swallows_failures_is_not_believed(pool):
  source = 'try: candidate(1)\nexcept Exception: pass'
  test = JudgeTest(source, (('candidate', 'f'),))
  assert judge(pool, 'def f(x): 1 / 0', test).kind == 'error'


CATCHES = (
  'assert candidate(1) == 1\ntry:\n  candidate("a")\n  assert False\n'
  'except TypeError: pass'
)


@pytest.mark.parametrize(
  ('body', 'kind'),
  [
    ('return x + 0', 'correct'), ('return x', 'wrong'),
    ('raise TypeError', 'error'), ('return x if x == 1 else 1 / 0', 'error'),
    ('import os; return x if x == 1 else os._exit(1)', 'error'),
  ],
)  # fmt: skip
def test_a_judge_may_ask_for_an_exception_by_its_name(pool, body, kind):
  test = JudgeTest(CATCHES, (('candidate', 'f'),))
  assert judge(pool, f'def f(x): {body}', test).kind == kind


def test_without_tests_nothing_is_right(pool):
  verdict = judge(pool, 'pass')
  assert (verdict.kind, verdict.reason) == ('error', 'unparsable: no tests')


@pytest.mark.parametrize(
  ('expected', 'actual', 'tolerance', 'same'),
  [
    ('1 2', ' 1\n2 \n', 0, True), ('1 2', '12', 0, False), ('', ' \n', 0, True),
    ('1', '1.0', 0, False), ('1', '1.0', 1e-9, True),
    ('yes', 'YES', 1e-9, False),
    ('1e3', '1000', 1e-9, True), ('0', '1e-10', 1e-9, True),
    ('nan', 'nan', 1e-9, True), ('1', 'nan', 1e9, False),
    ('1', 'inf', 9, False),
    ('1', '1_0', 9, False), ('7', '٧', 1e-9, False), ('1', '0x1', 9, False),
    ('1', '1' + ' ' * 10**6, 0, True), ('1', '1 ' * 10**6, 0, False),
    ('1', '9' * 10**6, 1e300, False), ('-0', '0', 1e-9, True),
  ],
)  # fmt: skip
def test_tokens(expected, actual, tolerance, same):
  assert programs.same_tokens(expected, actual, tolerance) is same


@pytest.mark.parametrize(
  ('response', 'program'),
  [
    ('```python\nx\n```', 'x\n'), ('```\nx\n```', 'x\n'), ('x', None),
    ('```py\na\n```\n```py\nb\n```', 'b\n'), ('```python\nx', None),
    ('```py\na\n```</think>no', None), ('<think>```py\na\n```', None),
    ('<think>```py\na\n```</think>```\nb```', 'b'),
    ('```c++\r\nx\r\n```', 'x\r\n'),
  ],
)  # fmt: skip
def test_the_program_is_the_last_block_after_the_thinking(response, program):
  assert programs.extract_program(response) == program


def test_a_reference_is_text(pool):
  tests = [
    call(1, 2),
    StdinTest('1', '', 1e-6, CHECKER),
    JudgeTest(JUDGE, (('candidate', 'f'),)),
  ]
  text = programs.to_text(tests)
  assert programs.from_text(text) == programs.Reference(tuple(tests))


def test_responses_are_verified(pool):
  reference = programs.to_text([call(1, 2)])
  right, wrong = (f'```python\ndef f(x): return x + {n}\n```' for n in (1, 2))
  verdicts = [
    programs.verify(pool, response, reference)
    for response in (right, wrong, 'no program')
  ]
  # No program is no answer, as no number is none; nothing failed.
  assert [v.kind for v in verdicts] == ['correct', 'wrong', 'wrong']
  assert verdicts[2].reason == 'no fenced program'
