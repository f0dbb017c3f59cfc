"""Public data sets, known by their columns: made-up rows of each form."""

import json

import pytest

from k15.data import evaluation_sets
from k15.data import problems
from k15.data import public_sets

_VERL = dict(
  data_source='math_dapo', ability='MATH', extra_info={'index': 'a-b'},
  reward_model={'ground_truth': '34', 'style': 'rule-lighteval/MATH_v2'},
)  # fmt: skip
_TESTS = json.dumps([dict(input='1', output='2', testtype='stdin')])
# Set -> a row, and what becomes of it: prompt, answer, response.
ROWS = {
  'GSM8K': (
    dict(question='Five and two?', answer='5 + 2 = 7\n#### 7'),
    ('Five and two?', '7', '5 + 2 = 7\n#### 7'),
  ),
  'MATH': (
    dict(
      problem='1 + 1?', level='Level 5', type='Algebra',
      solution='It is $\\boxed{2}$.',
    ),
    ('1 + 1?', '2', 'It is $\\boxed{2}$.'),
  ),
  'MATH, of 500': (
    dict(
      problem='1 + 1?', solution='So.', answer='2', subject='Algebra', level=1,
      unique_id='test/1.json',
    ),
    ('1 + 1?', '2', 'So.'),
  ),
  'DAPO-Math-17k': (
    _VERL | dict(prompt=[dict(content='Solve: x - 4 = 30', role='user')]),
    ('Solve: x - 4 = 30', '34', None),
  ),
  'DAPO-Math-17k, processed': (
    _VERL | dict(prompt='x - 4 = 30', solution='34', source_prompt=[]),
    ('x - 4 = 30', '34', None),
  ),
  'NuminaMath, CoT': (
    dict(
      source='olympiads', problem='1 + 1?', solution='So \\boxed{2}.',
      messages=[dict(role='user', content='1 + 1?')],
    ),
    ('1 + 1?', '2', 'So \\boxed{2}.'),
  ),
  'NuminaMath, 1.5': (
    dict(
      problem='1 + 1?', solution='So.', answer='2', problem_type='Algebra',
      question_type='math-word-problem', source='olympiads', synthetic=False,
    ),
    ('1 + 1?', '2', 'So.'),
  ),
  'DeepScaleR': (
    dict(problem='1 + 1?', answer='2', solution='So.'), ('1 + 1?', '2', 'So.')
  ),
  'OpenR1-Math': (
    dict(
      problem='1 + 1?', solution='So.', answer='2', problem_type='Algebra',
      source='olympiads', uuid='u', generations=['is 3', 'is 2', 'is 2!'],
      correctness_math_verify=[False, True, True], messages=[],
    ),
    ('1 + 1?', '2', 'is 2'),
  ),
  'AIME': (
    dict(id=60, problem='1 + 1?', solution='So.', answer='2', url='u'),
    ('1 + 1?', '2', 'So.'),
  ),
  'AIME in capitals': (
    dict(ID='2024-I-1', Problem='1 + 1?', Solution='So.', Answer=2),
    ('1 + 1?', '2', 'So.'),
  ),
}  # fmt: skip


def _write(path, *rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return str(path)


@pytest.mark.parametrize('name', ROWS)
def test_a_set_is_known_and_said(tmp_path, capsys, name):
  row, expected = ROWS[name]
  path = _write(tmp_path / 'train.jsonl', row)
  (found,) = problems.read_file(path, problems.Fields())
  problem = found.problem
  assert (problem.prompt, problem.answer, found.response) == expected
  assert problem.domain == 'mathematics'
  name = name.partition(',')[0]
  assert capsys.readouterr().out == (
    f'task: {path} is read as {name}: {public_sets.SETS[name].takes}\n'
  )


def test_levels_and_types_of_math(tmp_path):
  path = _write(tmp_path / 'a.jsonl', ROWS['MATH'][0], ROWS['MATH, of 500'][0])
  hard, easy = problems.read_file(path, problems.Fields())
  assert (hard.problem.difficulty, easy.problem.difficulty) == (1.0, 0.2)
  assert hard.problem.discipline == easy.problem.discipline == 'algebra'


def test_programs_of_livecodebench(tmp_path):
  row = dict(
    question_content='Add one.', question_id='q1', starter_code='',
    difficulty='easy', metadata='{}', public_test_cases=_TESTS,
    private_test_cases='[]',
  )  # fmt: skip
  path = _write(tmp_path / 'test.jsonl', row)
  assert evaluation_sets.format_of(path) == 'livecodebench'
  (found,) = problems.read_file(path, problems.Fields())
  assert (found.problem.id, found.problem.domain) == ('q1', 'code easy')
  assert found.problem.prompt.startswith('Add one.')


def test_gpqa_is_known_where_it_is_evaluated(tmp_path):
  row = dict(Question='Q') | {
    f'{kind} Answer{number}': number or 'right'
    for kind, number in [
      ('Correct', ''), *(('Incorrect', f' {i}') for i in (1, 2, 3))
    ]
  }  # fmt: skip
  path = _write(tmp_path / 'gpqa.jsonl', row)
  assert evaluation_sets.format_of(path) == 'gpqa'


def test_each_row_of_dapo_once(tmp_path):
  row = ROWS['DAPO-Math-17k'][0]
  other = row | dict(prompt=[dict(content='x = 34', role='user')])
  path = _write(tmp_path / 'a.jsonl', row, other, row, row)
  found = problems.read_file(path, problems.Fields())
  assert [e.problem.prompt for e in found] == ['Solve: x - 4 = 30', 'x = 34']


def test_the_columns_that_a_config_names_come_first(tmp_path, capsys):
  row = dict(question='a', answer='b #### 1', problem='c')
  path = _write(tmp_path / 'a.jsonl', row)
  (found,) = problems.read_file(path, problems.Fields(prompt='problem'))
  assert (found.problem.prompt, found.problem.answer) == ('c', 'b #### 1')
  assert not capsys.readouterr().out


def test_a_file_of_several_sets_is_refused(tmp_path):
  row = dict(question='a', answer='1', problem='c', solution='d')
  path = _write(tmp_path / 'a.jsonl', row)
  sentence = (
    r"may be any of \['DeepScaleR', 'GSM8K'\], whose problems are in"
    r" \['problem', 'question'\].* \['answer', 'problem', 'question', 'sol"
  )
  with pytest.raises(ValueError, match=sentence):
    problems.read_file(path, problems.Fields())


def test_a_file_of_none_is_refused(tmp_path):
  path = _write(tmp_path / 'a.jsonl', dict(text='a', label='b'))
  sentence = r"no field 'prompt', .* \['label', 'text'\], the columns of no"
  with pytest.raises(ValueError, match=sentence):
    problems.read_file(path, problems.Fields())


def test_a_proof_has_no_answer(tmp_path):
  row = ROWS['NuminaMath, 1.5'][0] | dict(answer='proof')
  path = _write(tmp_path / 'a.jsonl', row)
  (found,) = problems.read_file(path, problems.Fields(), True)
  assert found.problem.answer == ''
  with pytest.raises(ValueError, match="line 1: field 'answer' is empty"):
    problems.read_file(path, problems.Fields())
