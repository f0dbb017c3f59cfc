"""Asserts of HumanEval and MBPP as tests that a program cannot see."""

import gzip
import json
import pathlib

import pytest

from benchmarks import code_sets
from benchmarks import public_data
from k15.rewards import code_datasets
from k15.rewards import code_tests
from k15.rewards import sandbox
from k15.rewards import values

CallTest, JudgeTest = code_tests.CallTest, code_tests.JudgeTest


def mbpp(tmp_path, code, *asserts, setup=''):
  path = tmp_path / 'mbpp.jsonl'
  record = dict(
    task_id=1, text='?', code=code, test_list=asserts, test_setup_code=setup
  )
  path.write_text(json.dumps(record) + '\n')
  return code_datasets.load_mbpp(path)[0]


def test_a_literal_becomes_a_call(tmp_path):
  code = 'def f(x, k=1):\r\n  return x + k'
  problem = mbpp(tmp_path, code, 'assert f(1, k=2) == 3')
  arguments = values.encode([[1], {'k': 2}])
  assert problem.tests == (
    CallTest(sandbox.Call('f', arguments), '3', by_value=True),
  )
  assert (problem.id, problem.function) == ('mbpp/1', 'f')
  assert '\r' not in problem.reference


def test_other_arguments_are_an_expression_without_what_is_expected(tmp_path):
  problem = mbpp(tmp_path, 'def f(x): return x', 'assert f(1.0 / 3) == 0.5')
  (test,) = problem.tests
  assert test.call == sandbox.Call(expression='f(1.0 / 3)')
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
    'assert (f(1) == 2) == True',
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
  record = dict(
    task_id='HumanEval/0',
    prompt='def f(x):\n  """Twice."""\n',
    canonical_solution='  return 2 * x\n',
    entry_point='f',
    test=check,
  )
  path = tmp_path / 'HumanEval.jsonl.gz'
  path.write_bytes(gzip.compress(json.dumps(record).encode()))
  (problem,) = code_datasets.load_humaneval(path)
  assert [type(t) for t in problem.tests] == [CallTest, JudgeTest]
  assert code_sets.judge(pool, [problem], lambda p: p.reference) == ['correct']
  assert code_sets.judge(pool, [problem], code_sets.plant_bug) == ['wrong']


def test_a_loop_of_asserts_is_one_judgement(tmp_path):
  record = dict(
    task_id='HumanEval/1',
    prompt='def f(x):\n',
    canonical_solution='  return x\n',
    entry_point='f',
    test='def check(candidate):\n  for i in range(9):\n    assert candidate(i)',
  )
  path = tmp_path / 'HumanEval.jsonl.gz'
  path.write_bytes(gzip.compress(json.dumps(record).encode()))
  ((test,),) = (p.tests for p in code_datasets.load_humaneval(path))
  assert isinstance(test, JudgeTest) and 'check(candidate)' in test.source


@pytest.mark.parametrize(
  ('name', 'count'),
  [('humaneval', 164), ('mbpp', 974), ('mbpp_sanitized', 427)],
)
def test_references_pass_and_planted_bugs_do_not(pool, name, count):
  """Every 40th of each; `python -m benchmarks.code_sets` judges them all."""
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
  record = code_datasets.to_record(problem)
  assert record['id'] == 'mbpp/1' and record['domain'] == 'code'
  assert record['prompt'] == '? Write the function double.'
  right, wrong = record['response'], record['response'].replace('2', '3')
  verdicts = code_tests.verify_batch(
    pool, [(text, record['answer']) for text in (right, wrong)]
  )
  assert [verdict.kind for verdict in verdicts] == ['correct', 'wrong']


def test_solutions_of_the_shipped_problems_pass(pool):
  path = pathlib.Path(__file__).parents[1] / 'experiments/code_problems.jsonl'
  records = [json.loads(line) for line in path.read_text().splitlines()]
  assert len(records) == 96
  pairs = [(record['response'], record['answer']) for record in records]
  verdicts = code_tests.verify_batch(pool, pairs)
  assert {verdict.kind for verdict in verdicts} == {'correct'}
