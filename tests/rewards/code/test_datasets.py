"""Asserts of HumanEval and MBPP as tests that a program cannot see."""

import gzip
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks.quality import code_sets
from benchmarks.quality import public_data
from k15.rewards.code import datasets
from k15.rewards.code import programs as programs_lib
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox.inside import values

CallTest, JudgeTest = programs_lib.CallTest, programs_lib.JudgeTest


DATA = public_data.folder()


def write(path, *records):
  path.write_text(''.join(json.dumps(record) + '\n' for record in records))
  return path


def mbpp_row(code, asserts, **fields):
  row = dict(task_id=1, text='?', code=code, test_list=list(asserts))
  return row | dict(test_setup_code='') | fields


def mbpp(tmp_path, code, *asserts, setup='', **fields):
  row = mbpp_row(code, asserts, test_setup_code=setup, **fields)
  return datasets.load_mbpp(write(tmp_path / 'mbpp.jsonl', row))[0]


def humaneval_row(check, **fields):
  row = dict(
    task_id='HumanEval/0',
    prompt='def add(a, b):\n  """Sum."""\n',
    canonical_solution='  return a + b\n',
    entry_point='add',
    test=check,
  )
  return row | fields


def humaneval(tmp_path, test, **fields):
  path = write(tmp_path / 'HumanEval.jsonl', humaneval_row(test, **fields))
  return datasets.load_humaneval(path)[0]


def judged(pool, problem, *sources):
  """Kinds of verdict of programs, the reference first."""
  found = [code_sets.judge(pool, [problem], lambda p: p.reference)]
  for source in sources:
    found.append(code_sets.judge(pool, [problem], lambda p, s=source: s))
  return [kind for (kind,) in found]


def test_a_literal_becomes_a_call(tmp_path):
  code = 'def f(x, k=1):\r\n  return x + k'
  problem = mbpp(tmp_path, code, 'assert f(1, k=2) == 3')
  arguments = values.encode([[1], {'k': 2}])
  assert problem.tests == (
    CallTest(pool_lib.Call('f', arguments), '3', by_value=True),
  )
  assert (problem.id, problem.function) == ('mbpp/1', 'f')
  assert '\r' not in problem.reference


def test_other_arguments_are_an_expression_without_what_is_expected(tmp_path):
  problem = mbpp(tmp_path, 'def f(x): return x', 'assert f(1.0 / 3) == 0.5')
  (test,) = problem.tests
  assert test.call == pool_lib.Call(expression='f(1.0 / 3)')
  assert test.expected == '0.5'


def test_truth_is_a_call_too(tmp_path):
  problem = mbpp(
    tmp_path, 'def f(x): return x', 'assert f(1)', 'assert not f(0)'
  )
  assert [t.call.expression for t in problem.tests] == [
    'bool(f(1))',
    'bool(f(0))',
  ]
  assert [t.expected for t in problem.tests] == ['true', 'false']


@pytest.mark.parametrize(
  'text',
  [
    'assert set(f(1)) == set([1])', 'assert f(1) == f(2) == 3',
    'assert abs(f(1) - 2.5) < 1e-6', 'assert f(1) in (1, 2)',
    'assert (f(1) == 2) == True', 'assert f(1) - 2 == 0',
    'assert abs(2 * f(1) - 4) == 0',
  ],
)  # fmt: skip
def test_every_other_assert_stays_whole_and_outside(tmp_path, text):
  (test,) = mbpp(tmp_path, 'def f(x): return x', text).tests
  assert isinstance(test, JudgeTest)
  assert text in test.source and test.functions == (('f', 'f'),)


def test_humaneval_is_one_test_per_assert(tmp_path, pool):
  check = (
    'METADATA = {}\n\ndef check(candidate):\n  assert candidate(2) == 4\n'
    '  assert True, "a remark"\n  assert abs(candidate(0.5) - 1.0) < 1e-6\n'
  )
  problem = humaneval(
    tmp_path,
    check,
    prompt='def f(x):\n  """Twice."""\n',
    canonical_solution='  return 2 * x\n',
    entry_point='f',
  )
  assert [type(t) for t in problem.tests] == [CallTest, JudgeTest]
  assert code_sets.judge(pool, [problem], lambda p: p.reference) == ['correct']
  assert code_sets.judge(pool, [problem], code_sets.plant_bug) == ['wrong']


def test_a_loop_of_asserts_is_one_judgement(tmp_path):
  check = (
    'def check(candidate):\n  for i in range(9):\n    assert candidate(i, 1)'
  )
  (test,) = humaneval(tmp_path, check).tests
  assert isinstance(test, JudgeTest) and 'check(candidate)' in test.source


@pytest.mark.parametrize(
  'test',
  [
    'CASES = 3\n\ndef check(candidate):\n  assert candidate(1, 2) == CASES\n',
    'import math\n\ndef check(candidate):\n'
    '  assert math.isclose(candidate(1, 2), 3)\n',
    'def same(a, b):\n  "to do"\n\ndef check(candidate):\n'
    '  assert candidate(1, 2) == 3\n',
    'def check(f):\n  assert f(1, 2) == 3\n',
    'def check(f):\n  assert abs(f(1, 2) - 3) < 1e-6\n',
    'def same(a, b):\n  return abs(a - b) < 1e-6\n\ndef check(candidate):\n'
    '  assert same(candidate(1, 2), 3)\n  assert not same(candidate(1, 1), 3)',
    'def verify(f, *case):\n  *x, y = case\n  assert f(*x) == y\n\n'
    'def check(candidate):\n  verify(candidate, 1, 2, 3)\n',
    'from math import *\nONE = floor(1.5)\n\ndef check(candidate):\n'
    '  assert candidate(ONE, 2) == 3\n',
    'METADATA = {"author": "me"}\nCASES = [((1, 2), 3), ((0, 0), 0)]\n\n'
    'def check(candidate):\n  for x, y in CASES:\n'
    '    assert candidate(*x) == y\n',
    'class Case:\n  y = 3\n\ndef check(candidate):\n'
    '  """All."""\n  assert candidate(1, 2) == Case.y, "one"\n',
    'def check(candidate):\n  def same(a, b):\n    return a == b\n'
    '  x = 1\n  assert same(candidate(x, 2), 3)\n',
    'from fractions import Fraction as F\n\ndef check(candidate):\n'
    '  assert candidate(F(1, 2), F(5, 2)) == F(3)\n',
    'def check(candidate):\n  assert add(1, 2) == candidate(2, 1) == 3\n',
    'N = 2\ndef check(candidate):\n  assert candidate(1, N) == 3\ncheck(add)\n',
    'def check(candidate):\n  assert [candidate(i, 2) for i in (1,)] == [3]',
  ],
)
def test_a_check_uses_what_its_file_defines(tmp_path, pool, test):
  problem = humaneval(tmp_path, test)
  wrong = 'def add(a, b):\n  return a + b + 1'
  nothing = 'def add(a, b):\n  pass'
  kinds = judged(pool, problem, wrong, nothing)
  assert kinds[0] == 'correct' and 'correct' not in kinds[1:]
  assert kinds[1] == 'wrong'


def test_a_check_may_use_numpy(tmp_path, pool):
  pytest.importorskip('numpy')
  if not pool._config['libraries']:
    pytest.skip("the sandbox's Python cannot import our numpy")
  test = (
    'import numpy as np\n\ndef check(candidate):\n'
    '  assert np.allclose(candidate(1, 2), 3)\n'
    '  assert (candidate(np.arange(2), 1) == np.array([1, 2])).all()\n'
  )
  wrong = 'def add(a, b): return a + b + 1'
  problem = humaneval(tmp_path, test)
  assert judged(pool, problem, wrong) == ['correct', 'wrong']


def test_a_check_may_use_what_stands_before_the_function(tmp_path, pool):
  prompt = (
    'import math\n\ndef half(x):\n  return x / 2\n\n'
    'def f(x):\n  # Twice.\n'  # No body, not even a docstring.
  )
  problem = humaneval(
    tmp_path,
    'def check(candidate):\n  assert math.isclose(half(candidate(3)), 3)\n',
    prompt=prompt,
    canonical_solution='  return 2 * x\n',
    entry_point='f',
  )
  programs = 'def f(x): return 2 * x', 'def half(x): return 3\ndef f(x): pass'
  assert judged(pool, problem, *programs) == ['correct', 'correct', 'error']


ADD = 'import math\nLIMIT = 10\ndef add(a, b):\n  return a + b'


@pytest.mark.parametrize(
  'asserts',
  [
    ['assert add(1, 2) == 3; assert add(5, 5) == 10'],
    ['assert add(1, 2) == 3\nassert add(5, 5) == 10\n'],
    ['assert add(1, 2) == 3\r\nassert add(\r\n  5,\r\n  5,\r\n) == 10'],
    ['assert add(1, 2) == 3 and add(5, 5) == 10'],
    ['assert add(1, 2) == 3', 'assert not add(5, 5) != 10'],
    ['for a, b, c in ((1, 2, 3), (5, 5, 10)):\n  assert add(a, b) == c'],
    ['def t():\n  assert add(1, 2) == 3\n  assert add(5, 5) == 10\nt()'],
    ['x = 5\nassert add(1, 2) == 3\nassert add(x, x) == 2 * x'],
    ['assert add(1, 2) == 3', 'assert math.isclose(add(5, 5), 10)'],
    ['assert add(1, 2) == 3', 'assert add(5, 5) == LIMIT'],
    ['assert set([add(1, 2), add(5, 5)]) == set([3, 10])'],
    ['assert add(1, 2) == 3 != add(5, 5) == 10'],
    ['assert add(1, 2) == 3', 'assert add(5, 5) > 9 and add(5, 5) < 11'],
    ['assert add(1, 2) == 3', 'assert add(5, 5) in (10, 12)'],
    ['assert (add(1, 2), add(5, 5)) == (3, 10)'],
    ['assert 3 == add(1, 2)', 'assert 10 == add(5, 5), "ten"'],
    ['assert add(1, 2) == 3', 'assert all(add(i, i) == 2 * i for i in (5, 6))'],
    ['"a remark"; assert True; assert add(1, 2) == 3; assert add(5, 5) == 10'],
    ['if True:\n  assert add(1, 2) == 3\nassert add(5, 5) == 10'],
    [f'assert add(10 ** 5000, 2) == 1{"0" * 4999}2', 'assert add(5, 5) == 10'],
  ],
)  # fmt: skip
def test_every_assert_counts(tmp_path, pool, asserts):
  problem = mbpp(tmp_path, ADD, *asserts)
  three = 'def add(a, b): return 3 if a != 5 else 11'
  ten = 'def add(a, b): return 10 if a == b else 4'
  kinds = judged(pool, problem, three, ten)
  assert kinds == ['correct', 'wrong', 'wrong']
  assert problem.function == 'add'


def test_setup_and_imports_come_before_asserts(tmp_path, pool):
  problem = mbpp(
    tmp_path,
    'def add(a, b): return a + b',
    'assert near(add(1, 2), 3); assert add(ONE, ONE) == 2',
    'assert math.isclose(add(1, 2), 3)',
    setup='ONE = 1\r\ndef near(a, b):\r\n  return abs(a - b) < 1e-6',
    test_imports=['import math'],
  )
  wrong = 'def add(a, b): return 3'
  assert judged(pool, problem, wrong) == ['correct', 'wrong']


@pytest.mark.parametrize(
  ('code', 'text'),
  [
    ('add = lambda a, b: a + b', 'assert add(1, 2) == 3'),
    ('add = lambda a, b: a + b', 'assert list(map(add, [1], [2])) == [3]'),
    ('import functools\nadd = functools.partial(sum)',
     'assert add([1, 2]) == 3'),
    ('class S:\n  def add(self, a, b): return a + b',
     'assert S().add(1, 2) == 3; assert S().add(2, 2) == 4'),
    ('from operator import add as plus\ndef add(a, b): return plus(a, b)',
     'assert add(1, 2) == 3 and add(2, 2) == 4'),
    ('if 1:\n  def add(a, b): return a + b', 'assert add(1, 2) in [3]'),
    ('from __future__ import annotations\nN = 3\n'
     'def add(a: int, b: int): return a + b', 'assert add(1, 2) == N'),
  ],
)  # fmt: skip
def test_what_is_called_may_be_defined_in_any_way(tmp_path, pool, code, text):
  problem = mbpp(tmp_path, code, text)
  wrong = code + '\nadd = S = lambda *a: 4'
  kinds = judged(pool, problem, wrong)
  assert kinds[0] == 'correct' and kinds[1] != 'correct'


@pytest.mark.parametrize(
  ('asserts', 'said'),
  [
    (['assert add(1, 2) == '], "test 1: 'assert add(1, 2) == ' is not Python"),
    (['assert add(1, 2) == 3', 'add(1, 2) == 3'], 'test 2: no assert'),
    (['assert (add(1, 2) == 3, "m")'], 'always true: a tuple'),
    (['assert add(1, 2) == 3, add(5, 5) == 10'], 'what follows its comma'),
    (['assert sub(1, 2) == 3'], 'calls no function of the program'),
    (['assert near(add(1, 2), 3)'], "uses 'near', defined nowhere"),
    (['assert 1 + 2 == 3'], 'calls no function of the program'),
    (['assert True'], 'no assert that could fail'),
    (['def t():\n  assert add(1, 2) == 3'], "never calls 't'"),
    ([''], 'no assert'), ([], "no asserts in field 'test_list'"),
    ([7], "field 'test_list' is a int, not text"),
    ('assert', "field 'test_list' is a str, not a list"),
    (['assert abs(add(Box(1), 2) - 3) < 1'], "own class 'Box'"),
    (['assert add(1, 2) == "\0"'], 'is not Python'),
    (['assert add' + '(' * 5000], 'is not Python'),
    (['return add(1, 2)'], 'is not Python'),
    (['nonlocal x\nassert add(1, 2) == x'], 'is not Python'),
    (['from __future__ import no\nassert add(1, 2) == 3'], 'is not Python'),
  ],
)  # fmt: skip
def test_asserts_that_cannot_be_judged_are_named(tmp_path, asserts, said):
  code = f'class Box:\n  pass\n{ADD}'
  good, bad = mbpp_row(code, ['assert add(1, 2) == 3']), mbpp_row(code, [])
  path = write(tmp_path / 'm.jsonl', good, bad | dict(test_list=asserts))
  with pytest.raises(ValueError) as refusal:
    datasets.load(path)
  assert str(refusal.value).startswith(f'{path}, line 2: ')
  assert said in str(refusal.value) and '\n' not in str(refusal.value)
  assert len(str(refusal.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
  ('fields', 'said'),
  [
    (dict(test='def test(f):\n  assert f(1, 2) == 3'), "no function 'check'"),
    (dict(test='def check():\n  assert add(1, 2) == 3'), "no function 'check'"),
    (dict(test='def check(f):\n  pass'), 'no assert'),
    (dict(test='def check(f):\n  assert True, "x"'), 'no assert'),
    (dict(test='def check(f):\n  assert 1 == 1'), 'does not use its argument'),
    (dict(test='def check(f):\n  assert same(f(1, 2), 3)'), "uses 'same'"),
    (dict(test='def check(f):\n  assert (f(1, 2) == 3, 1)'), 'a tuple'),
    (dict(test='def check(f)'), "field 'test' is not Python"),
    (dict(test=None), "field 'test' is a NoneType, not text"),
    (dict(entry_point='sub'), 'does not define its entry point'),
    (dict(canonical_solution='  return ('), 'the program is not Python'),
    (dict(task_id=None), "no field 'task_id'"),
  ],
)
def test_checks_that_cannot_be_judged_are_named(tmp_path, fields, said):
  good = 'def check(f):\n  assert f(1, 2) == 3'
  rows = humaneval_row(good), humaneval_row(good, **fields)
  path = write(tmp_path / 'h.jsonl', *rows)
  with pytest.raises(ValueError) as refusal:
    datasets.load(path)
  assert str(refusal.value).startswith(f'{path}, line 2: ')
  assert said in str(refusal.value)
  path = write(tmp_path / 'lacks.jsonl', {**rows[0], 'canonical_solution': 1})
  with pytest.raises(ValueError, match="line 1: field 'canonical_solution'"):
    datasets.load(path)


def test_the_command_knows_both_sets_however_packed(tmp_path):
  good = 'def check(f):\n  assert f(1, 2) == 3'
  rows = humaneval_row(good), mbpp_row(ADD, ['assert add(1, 2) == 3'])
  for row, name in zip(rows, ('HumanEval/0', 'mbpp/1'), strict=True):
    text = json.dumps(row)
    for file, data in (
      ('x.jsonl', text.encode()), ('y.jsonl.gz', gzip.compress(text.encode())),
      ('z.json', f'[{text}]'.encode()), ('w', f'\ufeff{text}\r\n'.encode()),
    ):  # fmt: skip
      (tmp_path / file).write_bytes(data)
      done = convert(tmp_path / file, tmp_path / 'out.jsonl')
      assert (done.returncode, done.stdout) == (0, '1 problems\n'), done.stderr
      assert json.loads((tmp_path / 'out.jsonl').read_text())['id'] == name


@pytest.mark.parametrize(
  ('data', 'said'),
  [
    (b'{"question": "?", "answer": "3"}', 'neither HumanEval nor MBPP'),
    (b'', 'no problems in it'), (b'{"a": 1', 'line 1: not JSON'),
    (b'\x1f\x8bxx', 'not readable as gzip'), (b'\xff\xfe\x00', 'not UTF-8'),
    (b'3\n', 'line 1: a int, not an object'), (None, 'No such file'),
  ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence(tmp_path, data, said):
  path = tmp_path / 'x.jsonl'
  if data is not None:
    path.write_bytes(data)
  done = convert(path, tmp_path / 'out.jsonl')
  assert done.returncode and done.stderr.startswith('k15: ')
  assert said in done.stderr and str(path) in done.stderr
  assert done.stderr.count('\n') == 1 and not (tmp_path / 'out.jsonl').exists()


def test_lines_end_at_line_feeds_alone(tmp_path):
  """JSON leaves U+2028 and U+0085 in a text as they are."""
  row = mbpp_row(ADD, ['assert add(1, 2) == 3'], text='One\u2028two\x85.')
  text = json.dumps(row, ensure_ascii=False)
  path = tmp_path / 'mbpp.jsonl'
  path.write_bytes(f'\ufeff{text}\r\n \t\n\n{text}\n\ufeff\n'.encode())
  found = datasets.load(path)
  assert [p.prompt for p in found] == [row['text']] * 2
  path.write_bytes(f'{text}\n\n\u2028\n'.encode())
  with pytest.raises(ValueError, match='line 3: not JSON'):
    datasets.load(path)


def convert(source, target):
  return subprocess.run(
    [sys.executable, '-m', 'k15.rewards.code.datasets', source, target],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(__file__).parents[3],
  )


@pytest.mark.parametrize('file', ['he_helpers', 'mbpp_two_asserts'])
def test_public_rows(pool, file):
  path = DATA / 'public_cases' / f'{file}.jsonl'
  if not path.exists():
    pytest.skip(f'no {path.name} below {DATA}')
  problems = datasets.load(path)
  assert all(problem.tests for problem in problems)
  references = code_sets.judge(pool, problems, lambda p: p.reference)
  assert references == ['correct'] * len(problems)
  assert 'correct' not in code_sets.judge(pool, problems, code_sets.plant_bug)


@pytest.mark.parametrize(
  ('name', 'count'),
  [('humaneval', 164), ('mbpp', 974), ('mbpp_sanitized', 427)],
)
def test_references_pass_and_planted_bugs_do_not(pool, name, count):
  """Every 40th of each; `python -m benchmarks.quality.code_sets` judges them
  all."""
  data = public_data.folder()
  problems = code_sets.load(data).get(name)
  if not problems:
    pytest.skip(f'no {name} below {pathlib.Path(data)}')
  assert len(problems) == count
  some = problems[::40]
  honest = code_sets.judge(pool, some, lambda problem: problem.reference)
  assert honest == ['correct'] * len(some)
  assert 'correct' not in code_sets.judge(pool, some, code_sets.plant_bug)


def test_a_record_is_judged_as_the_problem_is(tmp_path, pool):
  code = 'def double(x):\n  return 2 * x'
  problem = mbpp(tmp_path, code, 'assert double(4) == 8')
  record = datasets.to_record(problem)
  assert record['id'] == 'mbpp/1' and record['domain'] == 'code'
  assert record['prompt'] == '? Write the function double.'
  right, wrong = record['response'], record['response'].replace('2', '3')
  verdicts = [
    programs_lib.verify(pool, text, record['answer']) for text in (right, wrong)
  ]
  assert [verdict.kind for verdict in verdicts] == ['correct', 'wrong']


def test_solutions_of_the_shipped_problems_pass(pool):
  path = pathlib.Path(__file__).parents[3] / 'experiments/code_problems.jsonl'
  records = [json.loads(line) for line in path.read_text().splitlines()]
  assert len(records) == 96
  pairs = [(record['response'], record['answer']) for record in records]
  verdicts = [programs_lib.verify(pool, *pair) for pair in pairs]
  assert {verdict.kind for verdict in verdicts} == {'correct'}
