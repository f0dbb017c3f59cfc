"""Tests of k15/math_datasets.py."""

import json
import math

import pytest

from k15 import data
from k15 import math_datasets
from k15 import metrics


def test_three_formats_become_one(tmp_path):
  (tmp_path / 'gsm.jsonl').write_text(
    json.dumps(dict(question='How many?', answer='2*3=6\n#### 6')) + '\n'
  )
  (tmp_path / 'math.json').write_text(
    json.dumps(
      [
        dict(problem='x?', answer='\\frac12', difficulty=5.0, type='Algebra'),
        dict(problem='y?', answer=None, difficulty=1.0, type='Algebra'),
      ]
    )
  )
  (tmp_path / 'math500.jsonl').write_text(
    json.dumps(
      dict(problem='z?', answer='3', subject='Geometry', level=2, unique_id='u')
    )
    + '\n'
    + json.dumps(
      dict(problem='w?', answer='3', type='Algebra', level='Level ?')
    )
  )
  paths = [tmp_path / n for n in ('gsm.jsonl', 'math.json', 'math500.jsonl')]
  rows = math_datasets.convert([str(path) for path in paths])
  metrics.replace_jsonl(tmp_path / 'out.jsonl', rows)
  read = [
    e.problem
    for e in data.read_problems(
      str(tmp_path / 'out.jsonl'), may_lack_answers=True
    )
  ]
  assert [(p.prompt, p.answer, p.discipline, p.difficulty) for p in read] == [
    ('How many?', '6', 'word problems', None),
    ('x?', '\\frac12', 'algebra', 1.0),
    ('y?', '', 'algebra', 0.2),
    ('z?', '3', 'geometry', 0.4),
    ('w?', '3', 'algebra', None),
  ]
  assert read[3].id == 'u' and read[1].id.endswith('math.json:1')


@pytest.mark.parametrize(
  ('fields', 'answer'),
  [
    (dict(answer=0), '0'),
    (dict(answer=0.0), '0'),
    (dict(answer=1e22), '1' + 22 * '0'),
    (dict(answer=None), ''),
    (dict(answer=float('nan')), ''),
    (
      dict(solution='So \\boxed{1}, no, \\boxed{\\frac{1}{2}}.'),
      '\\frac{1}{2}',
    ),
    (dict(answer='', solution='It is $\\boxed{0}$.'), '0'),
    (dict(answer='3', solution='It is $\\boxed{4}$.'), '3'),
    (dict(solution='No box.'), ''),
  ],
)
def test_answers_of_math(tmp_path, fields, answer):
  path = tmp_path / 'a.jsonl'
  path.write_text('\ufeff' + json.dumps(dict(problem='x\u2028?') | fields))
  (row,) = math_datasets.convert([str(path)])
  assert (row['answer'], row['prompt']) == (answer, 'x\u2028?')
  assert row['discipline'] == ''


@pytest.mark.parametrize(
  ('row', 'sentence'),
  [
    (dict(problem='x', answer=True), "'answer' is a bool, not text"),
    (dict(problem=0, answer='1'), 'the problem is 0'),
    (
      dict(problem='x', answer='1', level='hard'),
      "no level from 0 to 5: 'hard'",
    ),
    (dict(problem='x', answer='1', level=6), 'no level from 0 to 5: 6'),
    ([], 'a list, not an object'),
  ],
)
def test_malformed_rows_are_one_sentence(tmp_path, row, sentence):
  path = tmp_path / 'a.jsonl'
  path.write_text(json.dumps(row))
  with pytest.raises(ValueError, match=f'a.jsonl, line 1: .*{sentence}'):
    math_datasets.convert([str(path)])


@pytest.mark.parametrize(
  ('level', 'share'),
  [
    (0, 0.0), ('Level 3', 0.6), ('level 5', 1.0), (3.0, 0.6), ('Level ?', None),
    (None, None), (math.nan, None),
  ],
)  # fmt: skip
def test_levels_as_people_write_them(tmp_path, level, share):
  path = tmp_path / 'a.jsonl'
  fields = dict(level=level, type=level, unique_id=math.nan)
  path.write_text(json.dumps(dict(problem='x', answer='1') | fields))
  (row,) = math_datasets.convert([str(path)])
  assert row['difficulty'] == share
  assert row['id'].endswith('a.jsonl:1')
  assert row['discipline'] != 'nan'


def test_a_question_without_an_answer_may_have_a_solution(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"question": "x?", "solution": "It is \\\\boxed{5}."}')
  assert [row['answer'] for row in math_datasets.convert([str(path)])] == ['5']


def test_other_rows_are_refused(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "x"}')
  with pytest.raises(
    ValueError, match=r"a.jsonl, line 1: neither .* \['text'\]"
  ):
    math_datasets.convert([str(path)])
