"""Tests of k15/math_datasets.py."""

import json

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


def test_other_rows_are_refused(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "x"}')
  with pytest.raises(ValueError, match=r"a.jsonl:1: fields \['text'\]"):
    math_datasets.convert([str(path)])
