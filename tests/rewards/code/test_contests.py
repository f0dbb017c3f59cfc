"""Rows as LiveCodeBench and Codeforces publish them, and what judges them."""

import base64
import json
import pathlib
import pickle
import zlib

import pytest

from k15.rewards.code import contests
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib

PATIENT = pool_lib.Limits(seconds=60.0)
STDIN = [dict(input='1 2\n', output='3\n', testtype='stdin')]
SOLUTION = 'class Solution:\n    def twice(self, xs: List[int]) -> List[int]:'


def packed(content):
  return base64.b64encode(zlib.compress(content)).decode()


def pickled(cases):
  return packed(pickle.dumps(json.dumps(cases)))


def livecodebench(private, **changes):
  row = dict(
    question_title='Sum', question_content='Add two numbers.',
    platform='atcoder', question_id='abc_a', contest_id='abc',
    contest_date='2024-09-01T00:00:00', starter_code='', difficulty='easy',
    public_test_cases=json.dumps(STDIN), private_test_cases=private,
    metadata='{}',
  )  # fmt: skip
  return row | changes


def functional(**changes):
  cases = [dict(input='[1, 2]', output='[2, 4]', testtype='functional')]
  return livecodebench(
    pickled(cases), public_test_cases=json.dumps(cases), starter_code=SOLUTION,
    metadata=json.dumps(dict(func_name='twice')), **changes,
  )  # fmt: skip


def judge(pool, record, program, tag='python'):
  response = f'```{tag}\n{program}\n```'
  return programs.verify(pool, response, record['answer'], PATIENT)


@pytest.mark.parametrize(
  'private',
  [json.dumps(STDIN), pickled(STDIN), packed(json.dumps(STDIN).encode())],
)
def test_private_tests_are_json_however_they_are_packed(private):
  record = contests.livecodebench(livecodebench(private))
  wanted = programs.from_text(record['answer'])
  assert wanted.tests == (programs.StdinTest('1 2\n', '3\n'),) * 2
  assert (record['id'], record['domain']) == ('abc_a', 'code easy')
  assert 'Read from standard input' in record['prompt']


def test_a_pickle_is_never_run(tmp_path):
  mark = tmp_path / 'ran'

  class Hostile:
    def __reduce__(self):
      return pathlib.Path.touch, (mark,)

  row = livecodebench(packed(pickle.dumps(Hostile())))
  with pytest.raises(ValueError, match='never unpickled here'):
    contests.livecodebench(row)
  assert not mark.exists()
  pickle.loads(pickle.dumps(Hostile()))  # So it would have.
  assert mark.exists()


@pytest.mark.parametrize('protocol', range(6))
def test_one_text_is_read_of_every_protocol(protocol):
  text = 'ü' * 300
  assert contests.pickled_text(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize(
  ('private', 'said'),
  [
    ('?', 'torn'), ('AAAA', 'not readable'), (packed(b'')[:-4], 'torn'),
    (packed(pickle.dumps([1])), 'instruction EMPTY_LIST'),
    (packed(pickle.dumps('{')), 'not JSON'),
    (packed(pickle.dumps('{}')), '\\[|not JSON|not a list of tests'),
    (packed(b'\x80\x04.'), '0 texts'), (packed(b'\x80'), 'a pickle with'),
    ('[1]', 'not a list of tests'),
    ('[{"testtype": "x", "input": "", "output": ""}]', "testtype 'x'"),
    ('[{"testtype": "functional", "input": "", "output": ""}]', 'func_name'),
  ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(private, said):
  with pytest.raises(ValueError, match=said):
    contests.livecodebench(livecodebench(private))


def test_a_bomb_of_zeros_is_not_unpacked(monkeypatch):
  monkeypatch.setattr(contests, '_LONGEST_UNPACKED', 1 << 16)
  with pytest.raises(ValueError, match='more than 65536 bytes'):
    contests.livecodebench(livecodebench(packed(bytes(1 << 20))))


@pytest.mark.parametrize(
  ('body', 'kind'),
  [
    ('return [2 * x for x in xs]', 'correct'),
    ('return tuple(2 * x for x in xs)', 'correct'), ('return xs', 'wrong'),
    ('return 1 / 0', 'error'),
  ],
)  # fmt: skip
def test_functions_are_called_with_imports_that_contests_have(pool, body, kind):
  record = contests.livecodebench(functional())
  assert f'```python\n{SOLUTION}\n```' in record['prompt']
  verdict = judge(pool, record, f'{SOLUTION}\n        {body}')
  assert verdict.kind == kind


def test_standard_input_and_output(pool):
  record = contests.livecodebench(livecodebench(json.dumps(STDIN)))
  right = 'print(sum(map(int, input().split())))'
  assert judge(pool, record, right).kind == 'correct'
  assert judge(pool, record, 'print(pow(2, 3, 5))').kind == 'correct'
  assert judge(pool, record, 'print(4)').kind == 'wrong'


# Any divisor of the input but 1 is right.
SCRIPT = """
import sys
n, expected, said = (open(name).read() for name in sys.argv[1:4])
try:
  print(int(said) > 1 and int(n) % int(said) == 0 and 1 or 0)
except ValueError:
  print(0)
sys.exit(0)
"""


def codeforces(**changes):
  row = dict(
    id='1/A', aliases=None, contest_id='1', title='Divisor', time_limit=1.0,
    description='Print a divisor.', input_format='One number.',
    output_format='A divisor.', interaction_format=None, note=None,
    examples=[dict(input='6\n', output='2\n')], rating=1400, tags=['math'],
    official_tests=[dict(input='15\n', output='3\n')], input_mode='stdio',
    generated_checker=None, language='python',
  )  # fmt: skip
  return row | changes


def test_a_checker_says_which_outputs_are_right(pool):
  record = contests.codeforces(codeforces(generated_checker=SCRIPT))
  largest, smallest = 'print(input())', 'n = int(input())\nprint(3)'
  assert judge(pool, record, largest).kind == 'correct'
  assert judge(pool, record, smallest).kind == 'correct'
  for wrong in ('print(1)', 'print(4)', 'print("x")'):
    assert judge(pool, record, wrong).kind == 'wrong'
  plain = contests.codeforces(codeforces())
  assert judge(pool, plain, largest).kind == 'wrong'


def test_a_problem_of_codeforces_is_read_whole():
  record = contests.codeforces(codeforces(note='Any one.'))
  wanted = programs.from_text(record['answer'])
  assert (wanted.rating, wanted.seconds, wanted.language) == (1400, 1, 'python')
  assert [t.stdin for t in wanted.tests] == ['6\n', '15\n']
  assert record['prompt'] == (
    'Divisor\n\nPrint a divisor.\n\nInput\nOne number.\n\nOutput\nA divisor.'
    '\n\nExample\n```input\n6\n```\n```output\n2\n```\n\nNote\nAny one.\n\n'
    'Read from standard input and write to standard output. Answer with the'
    ' whole program in one ```python block.'
  )
  row = codeforces(rating=None, time_limit=None)
  del row['language']
  other = programs.from_text(contests.codeforces(row)['answer'])
  assert (other.rating, other.seconds, other.language) == (None, 0, 'cpp')


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    (dict(interaction_format='Ask.'), 'interactive'),
    (dict(input_mode='file'), "input_mode 'file'"),
    (dict(examples=None, official_tests=[]), 'no tests'),
    (dict(examples=1), 'examples: not a list of tests'),
    (dict(language='cobol'), "language 'cobol' is not one of python"),
    (dict(description=None), "field 'description' is a NoneType"),
  ],
)
def test_what_cannot_be_judged_is_refused(changes, said):
  with pytest.raises(ValueError, match=said):
    contests.codeforces(codeforces(**changes))
