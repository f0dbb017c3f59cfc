"""Reward of a program: does it pass tests that it never sees?

  tests = [programs.StdinTest('1 2', '3'), ...]
  with pool.Pool() as pool:
    verdict = programs.judge_program(pool, 'python', source, tests)
    verdict = programs.verify(pool, response, programs.to_text(tests))

The program gets inputs alone, in a process of its own per test; expected
values stay on the trusted side.  Three kinds of test:

  CallTest   arguments in, a value out, compared as text, types included
  StdinTest  stdin in, stdout out, token by token, or by a trusted checker
  JudgeTest  trusted assertions in a second process; the functions they call
             are answered by the program, as plain values
  UnitTest   assertions in the program's own language, in its own process: all
             that languages without calls allow.  For evaluation: a program
             that reads its own source there finds what it has to print

A program that stops early is an error, with its reason, and not merely wrong.
"""

import dataclasses
import functools
import json
import math
import re
import secrets
import time
from collections.abc import Iterable

from k15.rewards import thinking
from k15.rewards.code import fences
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox.inside import values
from k15.rewards.verdict import Verdict

_NUMBER = re.compile(r'[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?')
_RAISED = re.compile(r'crash: ([A-Z]\w*)(?::|$)')
_NAME = re.compile(r'\w+')
_CLASS = re.compile(r'^[ \t]*(?:\w+[ \t]+)*?class[ \t]+(\w+)', re.MULTILINE)
_LIMITS = pool_lib.Limits()
_LONGEST_NUMBER = 64  # characters; longer tokens are compared as text
_RUN_CHECKER = '\nimport json, sys\nassert check(*json.load(sys.stdin)) is True'


@dataclasses.dataclass(frozen=True)
class CallTest:
  """Attributes:
  call: what is called.
  expected: text (values.py) of the value it has to return.
  tolerance: of floats, absolute and relative; 0 asks for the same float.
  by_value: 1, 1.0 and True are the same, as Python's == has it.
  """

  call: pool_lib.Call
  expected: str
  tolerance: float = 0.0
  by_value: bool = False


@dataclasses.dataclass(frozen=True)
class StdinTest:
  """Attributes:
  stdin: what the program reads.
  expected: what it has to print.
  tolerance: of numbers, absolute and relative; 0 compares text.
  checker: trusted Python that defines check(stdin, expected, stdout), True
    for a right output; '' compares token by token.
  """

  stdin: str
  expected: str
  tolerance: float = 0.0
  checker: str = ''


@dataclasses.dataclass(frozen=True)
class JudgeTest:
  """Attributes:
  source: trusted Python; an AssertionError is a wrong answer.
  functions: (name in the source, function of the program) pairs.
  seconds: of the whole, the program's answers included.
  """

  source: str
  functions: tuple[tuple[str, str], ...]
  seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class UnitTest:
  """Attributes:
  head: lines that a program gets where it lacks them, such as imports.
  before: text in front of the program.
  drop: what lines begin with that are taken out of both; '' none.
  after: the tests, behind it.  `CLASS` in them becomes the program's first
    class, and `DONE` a word that has to be the last that is printed: who ends
    before the tests do, with whatever exit code, has not passed them.
  """

  head: tuple[str, ...]
  before: str
  after: str
  drop: str = ''


DONE, CLASS = 'K15_DONE', 'K15_CLASS'
Test = CallTest | StdinTest | JudgeTest | UnitTest
_KINDS = {
  'call': CallTest, 'stdin': StdinTest, 'judge': JudgeTest, 'unit': UnitTest,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reference:
  """What judges a program; as text, the answer of a problem.

  Attributes:
    tests: it has to pass.
    language: it is written in, a key of languages.LANGUAGES.
    preamble: put in front of it, such as imports that a contest has.
    seconds: of a run, where that is more than the limits allow.
    rating: of the problem among contestants, Elo; None where it has none.
  """

  tests: tuple[Test, ...]
  language: str = 'python'
  preamble: str = ''
  seconds: float = 0.0
  rating: float | None = None


def to_text(tests: Iterable[Test], language='python', **settings) -> str:
  """The text of a reference, with other fields of `Reference`."""
  names = {kind: name for name, kind in _KINDS.items()}
  rows = [{'kind': names[type(t)], **dataclasses.asdict(t)} for t in tests]
  return json.dumps({'language': language, 'tests': rows, **settings})


def from_text(text: str) -> Reference:
  """The reference of a text."""
  record, tests = json.loads(text), []
  for row in record['tests']:
    kind = _KINDS[row.pop('kind')]
    if kind is CallTest:
      row['call'] = pool_lib.Call(**row['call'])
    if kind is JudgeTest:
      row['functions'] = tuple(tuple(pair) for pair in row['functions'])
    if kind is UnitTest:
      row['head'] = tuple(row['head'])
    tests.append(kind(**row))
  return Reference(**{**record, 'tests': tuple(tests)})


def extract_program(
  response: str, language: str = '', names: Iterable[str] = ()
) -> str | None:
  """The program in a response, after the thinking; None without one.

  Args:
    language, names: see `fences.find_program`.
  """
  said = thinking.said(response)
  if said is None:
    return None
  return fences.find_program(said, language, names)


def _called(tests):
  """Functions of the program that tests name."""
  names = {t.call.function for t in tests if isinstance(t, CallTest)}
  for test in tests:
    if isinstance(test, JudgeTest):
      names.update(function for _, function in test.functions)
  return sorted(names - {''})


def verify(
  pool: pool_lib.Pool,
  response: str,
  reference: str,
  limits: pool_lib.Limits = _LIMITS,
) -> Verdict:
  """Judges the program in a response by the tests of a reference."""
  wanted = from_text(reference)
  program = program_of(response, wanted)
  if program is None:
    return Verdict('wrong', 'no fenced program')
  limits = limits_of(wanted, limits)
  return judge_program(pool, wanted.language, program, wanted.tests, limits)


def program_of(response: str, wanted: Reference) -> str | None:
  """The program in a response as it is run; None without one."""
  names = _called(wanted.tests)
  program = extract_program(response, wanted.language, names)
  return None if program is None else wanted.preamble + program


def limits_of(wanted: Reference, limits: pool_lib.Limits) -> pool_lib.Limits:
  """Of a run: as long as the problem asks for, where that is longer."""
  seconds = max(limits.seconds, wanted.seconds)
  return dataclasses.replace(limits, seconds=seconds)


def judge_program(
  pool: pool_lib.Pool,
  language: str,
  source: str,
  tests: Iterable[Test],
  limits: pool_lib.Limits = _LIMITS,
) -> Verdict:
  """Runs the tests in order, up to the first that is not passed."""
  start, kind, reason = time.monotonic(), 'error', 'unparsable: no tests'
  runners = {
    CallTest: _call, StdinTest: _stdin, JudgeTest: _judge, UnitTest: _unit,
  }  # fmt: skip
  job = pool_lib.Job(language, source, limits=limits)
  for test in tests:
    kind, reason = runners[type(test)](pool, job, test)
    if kind != 'correct':
      break
  return Verdict(kind, reason, pool.rung, time.monotonic() - start)


def _call(pool, job, test):
  """('correct' or 'wrong', '') or ('error', reason)."""
  outcome = pool.run(dataclasses.replace(job, call=test.call))
  if reason := _failure(outcome):
    return 'error', reason
  try:
    same = values.same(
      test.expected, outcome.value, test.tolerance, test.by_value
    )
  except ValueError as error:
    return 'error', f'unparsable: {error}'
  return 'correct' if same else 'wrong', ''


def _failure(outcome):
  if not outcome.reason and not outcome.value:
    return 'crash: it ended before it returned'
  return outcome.reason


def _stdin(pool, job, test):
  outcome = pool.run(dataclasses.replace(job, stdin=test.stdin))
  if outcome.reason:
    return 'error', outcome.reason
  if not test.checker:
    same = same_tokens(test.expected, outcome.stdout, test.tolerance)
    return 'correct' if same else 'wrong', ''
  task = json.dumps([test.stdin, test.expected, outcome.stdout])
  checker = pool_lib.Job('python', test.checker + _RUN_CHECKER, task)
  return _judgement(pool.judge(checker, _no_answer), 'checker')


def _judge(pool, job, test):
  asked, failures, functions = [], [], dict(test.functions)
  end = time.monotonic() + test.seconds

  def answer(name, arguments):
    if time.monotonic() > end:
      failures.append('timeout')
      return 'timeout', ''
    asked.append(name)
    call = pool_lib.Call(functions[name], arguments)
    outcome = pool.run(dataclasses.replace(job, call=call))
    if reason := _failure(outcome):
      failures.append(reason)
    return reason, outcome.value

  # The last question may be asked at the very end, and the program has its own
  # time to answer it.
  limits = pool_lib.Limits(seconds=test.seconds + job.limits.seconds)
  judge = pool_lib.Job('python', test.source, '', limits, ask=tuple(functions))
  outcome = pool.judge(judge, answer)
  if failures and outcome.value not in ('passed', 'failed'):
    return 'error', failures[0]
  for failure in failures:
    # A test may be about what the program raises, if it says so by name.
    raised = _RAISED.match(failure)
    if not raised or raised[1] not in _NAME.findall(test.source):
      return 'error', failure
  if not asked and outcome.value == 'passed':  # Whatever the program is.
    return 'error', 'unparsable: judge: it asked the program nothing'
  return _judgement(outcome, 'judge')


def _unit(pool, job, test):
  word = secrets.token_hex(8)
  source = with_tests(job.source, test, word)
  outcome = pool.run(dataclasses.replace(job, source=source))
  if outcome.reason.startswith('crash'):  # An assertion's end is no other.
    return 'wrong', outcome.reason
  if outcome.reason:
    return 'error', outcome.reason
  return 'correct' if outcome.stdout.split()[-1:] == [word] else 'wrong', ''


def with_tests(source: str, test: UnitTest, word: str) -> str:
  """A program and its tests as one; at the end it prints the word."""
  lines = source.splitlines()
  known = {line.strip() for line in lines}
  head = [line for line in test.head if line.strip() not in known]
  if test.drop:
    lines, head = (
      [line for line in part if not line.lstrip().startswith(test.drop)]
      for part in (lines, head)
    )
    source = '\n'.join(lines)
  name = _CLASS.search(source)
  after = test.after.replace(CLASS, name[1] if name else CLASS)
  after = after.replace(DONE, word)
  return '\n'.join([*head, test.before, source, after])


def _judgement(outcome, who):
  if outcome.value == 'passed' and not outcome.reason:
    return 'correct', ''
  if outcome.value == 'failed':
    return 'wrong', ''
  return 'error', f'unparsable: {who}: {outcome.reason}'


def _no_answer(name, arguments):
  return f'{name} is not a function', ''


def same_tokens(expected: str, actual: str, tolerance: float = 0.0) -> bool:
  """Whether two outputs agree token by token, white space aside.

  Args:
    expected: trusted.
    actual: hostile.
    tolerance: of numbers, absolute and relative; 0 compares text.
  """
  # As much of it as could still agree, however much white space it has.
  wanted = expected.split()
  found = actual.split(maxsplit=len(wanted))
  return len(wanted) == len(found) and all(
    map(functools.partial(_same_token, tolerance), wanted, found)
  )


def _same_token(tolerance, expected, actual):
  actual = actual.rstrip()
  if expected == actual or tolerance <= 0:
    return expected == actual
  if max(len(expected), len(actual)) > _LONGEST_NUMBER:
    return False
  if not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
    return False
  return math.isclose(
    float(expected), float(actual), rel_tol=tolerance, abs_tol=tolerance
  )
