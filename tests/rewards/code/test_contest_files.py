"""Files of contest problems: what is read, decided, kept and not done twice."""

import json

import pytest

from k15 import files
from k15.rewards.code import contest_files
from k15.rewards.code import programs
from k15.rewards.code import test_cases
from k15.rewards.sandbox import walls

RULES = test_cases.Rules(cases=4, submissions=2, agreeing=2, valid=3, passing=2)
DOUBLE = dict(language='python', source='print(2 * int(input()))')
SUM = dict(language='python', source='n = int(input())\nprint(n + n)')
SQUARE = dict(language='python', source='print(int(input()) ** 2)')
GENERATOR = '```python\nprint(input())\n```'


def row(name, *submissions, **more):
  return dict(id=name, statement=f'Do {name}.', submissions=submissions) | more


def write(path, *rows):
  path.write_text('\n'.join(map(json.dumps, rows)))
  return path


@pytest.fixture(scope='module')
def pool():
  try:
    with test_cases.make_pool(2) as pool:
      yield pool
  except (walls.SandboxError, ModuleNotFoundError) as error:
    pytest.skip(str(error))


def test_from_a_file_of_problems_to_a_file_of_tests(pool, tmp_path):
  rows = [
    row('good', DOUBLE, SUM), row('differ', DOUBLE, SQUARE),
    row('silent', DOUBLE, SUM), row('any', needs_special_judge=True),
  ]  # fmt: skip
  problems = contest_files.read(write(tmp_path / 'in.jsonl', *rows))
  texts = dict(good=GENERATOR, differ=GENERATOR, silent='Too hard.')
  table = contest_files.select(problems, texts, pool, tmp_path, rules=RULES)
  counts = [line.split()[-4] for line in table.split('\n')[1:]]
  assert counts == ['4', '3', '1', '1']
  assert (tmp_path / 'funnel.txt').read_text() == table + '\n'
  lines = files.read_jsonl(tmp_path / 'selections.jsonl')
  assert [line['dropped'] for line in lines] == [
    '', 'few cases', 'no generator', 'special judge',
  ]  # fmt: skip
  (kept,) = files.read_jsonl(tmp_path / 'problems.jsonl')
  assert kept['prompt'].startswith('Do good.\n\nRead from standard input')
  wanted = programs.from_text(kept['answer'])
  assert [(t.stdin, t.expected) for t in wanted.tests] == [
    (f'{n}\n', f'{2 * n}\n') for n in (1, 2, 3, 4)
  ]
  # What is decided is not decided twice; what has changed is.
  texts['silent'] = GENERATOR
  table = contest_files.select(problems, texts, pool, tmp_path, rules=RULES)
  assert len(files.read_jsonl(tmp_path / 'selections.jsonl')) == 5
  kept = files.read_jsonl(tmp_path / 'problems.jsonl')
  assert [record['id'] for record in kept] == ['good', 'silent']


@pytest.mark.parametrize(
  ('rows', 'said'),
  [
    ([row('a'), row('a')], "line 2: the id 'a' comes twice"),
    ([dict(id='a', statement='')], "line 1: field 'submissions' is not a list"),
    ([row('a', 1)], 'what is no object'),
    ([row('a', DOUBLE | dict(language='x'))], "language 'x' is not one of"),
    ([row('a') | dict(statement=None)], "'statement' is a NoneType"),
  ],
)  # fmt: skip
def test_what_is_no_problem_is_said(tmp_path, rows, said):
  with pytest.raises(ValueError, match=said):
    contest_files.read(write(tmp_path / 'in.jsonl', *rows))
