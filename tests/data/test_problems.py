"""Users' files, the held-out split, and files of GSM8K and MATH."""

import decimal
import gzip
import json
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from k15 import files
from k15.data import problems
from k15.data_types import Example, Problem


def _write(path, *lines):
  text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  path.write_text('\n'.join(text) + '\n')
  return str(path)


def _examples(*prompts):
  return [
    Example(Problem(id=str(i), prompt=prompt, answer='1'), 'because 1')
    for i, prompt in enumerate(prompts)
  ]


def test_reads_jsonl(tmp_path):
  path = _write(
    tmp_path / 'set.jsonl',
    {'prompt': '1+1?', 'answer': 2},
    '',
    {
      'prompt': '漢?',
      'answer': ' x ',
      'response': 'so x',
      'id': 7,
      'domain': 'math',
      'difficulty': 0.5,
    },
  )
  assert problems.read_problems(path) == [
    Example(Problem('set.jsonl:1', '1+1?', '2')),
    Example(Problem('7', '漢?', 'x', 'math', 0.5), 'so x'),
  ]


def test_a_missing_difficulty_is_no_label(tmp_path):
  rows = [{'difficulty': d} for d in (0, 0.0, None, float('nan'), 4)] + [{}]
  rows = [dict(prompt=f'{i}?', answer='1') | row for i, row in enumerate(rows)]
  path = _write(tmp_path / 'a.jsonl', *rows)  # Python writes NaN as it is.
  read = problems.read_problems(path, problems.Fields(hardest=5.0))
  expected = [0.0, 0.0, None, None, 0.8, None]
  assert [e.problem.difficulty for e in read] == expected
  path = tmp_path / 'a.parquet'
  columns = {'prompt': ['a', 'b'], 'answer': ['1', '2']}
  table = pyarrow.table(columns | {'difficulty': [None, 0.5]})
  pyarrow.parquet.write_table(table, path)
  read = problems.read_problems(str(path))
  assert [e.problem.difficulty for e in read] == [None, 0.5]


def test_reads_parquet(tmp_path):
  path = tmp_path / 'set.parquet'
  table = {'q': ['a?', 'b?'], 'answer': [1, 2], 'response': ['so', None]}
  pyarrow.parquet.write_table(pyarrow.table(table), path)
  assert problems.read_problems(str(path), problems.Fields(prompt='q')) == [
    Example(Problem('set.parquet:1', 'a?', '1'), 'so'),
    Example(Problem('set.parquet:2', 'b?', '2')),
  ]


def test_gsm8k_keeps_the_answer_within_the_solution(tmp_path):
  solution = '48/2 = <<48/2=24>>24\n#### 1,024'
  path = _write(tmp_path / 'a.jsonl', {'question': 'Q?', 'answer': solution})
  (example,) = problems.read_problems(
    path,
    problems.Fields(
      prompt='question',
      answer='answer',
      response='answer',
      answer_marker='####',
    ),
  )
  assert example == Example(Problem('a.jsonl:1', 'Q?', '1,024'), solution)


def test_answer_without_the_marker_is_taken_whole(tmp_path):
  path = _write(tmp_path / 'a.jsonl', {'prompt': 'Q?', 'answer': '5'})
  (example,) = problems.read_problems(
    path, problems.Fields(answer_marker='####')
  )
  assert example.problem.answer == '5'


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('{"prompt": ', 'line 2: not JSON'),
    ('[' * 10**5, 'line 2: not JSON'),
    ('[1]', 'line 2: a list, not an object'),
    ({'answer': '1', 'b': 2}, r"no field 'prompt'; it has \['answer', 'b'\]"),
    ({'prompt': 'a'}, "line 2: no field 'answer'"),
    ({'prompt': ' ', 'answer': '1'}, "line 2: field 'prompt' is empty"),
    ({'prompt': 'a', 'answer': ''}, "line 2: field 'answer' is empty"),
    ({'prompt': 'a', 'answer': 'so ## '}, "'answer' ends at '##'"),
    ({'prompt': ['a'], 'answer': '1'}, "'prompt' is a list, not text"),
    ({'prompt': 'a', 'answer': None}, "'answer' is a NoneType, not text"),
    ({'prompt': 'a', 'answer': True}, "'answer' is a bool, not text"),
    ({'prompt': '\ud800', 'answer': '1'}, 'surrogates not allowed'),
    ({'prompt': 'a', 'answer': '1', 'response': 3}, "'response' is a int"),
    ({'prompt': 'a', 'answer': '1', 'difficulty': 2}, '2 is outside'),
    ({'prompt': 'a', 'answer': '1', 'difficulty': 'easy'}, "'easy' is outside"),
    (
      {'prompt': 'a', 'answer': '1', 'id': 'x'},
      "line 2: id 'x' is also at .*1",
    ),
  ],
)
def test_refused_rows_name_the_line(tmp_path, line, message):
  first = {'prompt': 'fine', 'answer': '1', 'id': 'x'}
  path = _write(tmp_path / 'a.jsonl', first, line)
  with pytest.raises(ValueError, match=message) as error:
    problems.read_problems(path, problems.Fields(answer_marker='##'))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('number', 'text'),
  [
    ('0', '0'),
    ('-0.0', '0'),
    ('2.0', '2'),
    ('0.1', '0.1'),
    ('1e22', '1' + 22 * '0'),
    ('1e-7', '0.0000001'),
    ('0.30000000000000004', '0.30000000000000004'),  # 0.1 + 0.2 as a double
    ('123456789012345678901234567890', '123456789012345678901234567890'),
  ],
)
def test_numbers_as_answers_are_the_digits_that_were_meant(
  tmp_path, number, text
):
  path = tmp_path / 'a.jsonl'
  path.write_text(f'{{"prompt": "a", "answer": {number}}}')
  (example,) = problems.read_problems(str(path))
  assert example.problem.answer == text


def test_numbers_of_parquet_are_read_at_their_own_width(tmp_path):
  columns = dict(
    half=pyarrow.array(np.array([0.1, 3.0, 0.0], np.float16)),
    single=pyarrow.array([0.1, 1e22, None], pyarrow.float32()),
    double=pyarrow.array([0.1, 1e22, None], pyarrow.float64()),
    exact=pyarrow.array(
      [decimal.Decimal(x) for x in ('0.10', '5', '-1.25')],
      pyarrow.decimal128(10, 2),
    ),
    whole=pyarrow.array([0, -7, 2**63 - 1], pyarrow.int64()),
  )
  path = tmp_path / 'a.parquet'
  table = pyarrow.table(columns | dict(prompt=['a', 'b', 'c']))
  pyarrow.parquet.write_table(table, path)

  def answers(field):
    fields = problems.Fields(answer=field)
    examples = problems.read_problems(str(path), fields, may_lack_answers=True)
    return [example.problem.answer for example in examples]

  assert answers('half') == ['0.1', '3', '0']
  assert answers('single') == answers('double') == ['0.1', '1' + 22 * '0', '']
  assert answers('exact') == ['0.1', '5', '-1.25']
  assert answers('whole') == ['0', '-7', '9223372036854775807']


@pytest.mark.parametrize('number', ['NaN', 'Infinity', '-Infinity', '1e999'])
def test_an_answer_that_is_no_number_is_refused_or_missing(tmp_path, number):
  path = tmp_path / 'a.jsonl'
  path.write_text(f'\n{{"prompt": "a", "answer": {number}}}')
  with pytest.raises(ValueError, match="line 2: field 'answer' is .*not a fin"):
    problems.read_problems(str(path))
  (example,) = problems.read_problems(str(path), may_lack_answers=True)
  assert example.problem.answer == ''
  values = pyarrow.array([float(number)], pyarrow.float32())
  table = pyarrow.table(dict(prompt=['a'], answer=values))
  pyarrow.parquet.write_table(table, tmp_path / 'a.parquet')
  with pytest.raises(ValueError, match="row 1: field 'answer' is .*not a fin"):
    problems.read_problems(str(tmp_path / 'a.parquet'))


@pytest.mark.parametrize('answer', [None, '', ' ', 'so ## ', float('nan')])
def test_answers_may_be_missing_in_any_way(tmp_path, answer):
  path = _write(tmp_path / 'a.jsonl', dict(prompt='a', answer=answer))
  fields = problems.Fields(answer_marker='##')
  (example,) = problems.read_problems(path, fields, may_lack_answers=True)
  assert example.problem.answer == ''
  path = _write(tmp_path / 'b.jsonl', dict(prompt='a'))
  (example,) = problems.read_problems(path, fields, may_lack_answers=True)
  assert example.problem.answer == ''


def test_zero_is_a_value(tmp_path):
  row = dict(prompt='a', answer=0, id=0, domain=0, discipline=0, difficulty=0)
  (example,) = problems.read_problems(_write(tmp_path / 'a.jsonl', row))
  assert example.problem == Problem('0', 'a', '0', '0', 0.0, '0')
  path = _write(tmp_path / 'b.jsonl', row | dict(response=0))
  with pytest.raises(ValueError, match="'response' is a int, not text"):
    problems.read_problems(path)


@pytest.mark.parametrize('value', [10**400, True, 'Level 2'])
def test_a_difficulty_of_another_kind_is_named(tmp_path, value):
  row = dict(prompt='a', answer='1', difficulty=value)
  path = _write(tmp_path / 'a.jsonl', row)
  with pytest.raises(ValueError, match='line 1: difficulty .* is outside'):
    problems.read_problems(path)


def test_compressed_lines(tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  path.write_bytes(gzip.compress(b'{"prompt": "a", "answer": 1}'))
  (example,) = problems.read_problems(str(path))
  assert example.problem.id == 'a.jsonl.gz:1'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match='a.jsonl.gz: not readable'):
    problems.read_problems(str(path))


def test_refused_files(tmp_path):
  with pytest.raises(FileNotFoundError, match='gone.jsonl: no such file'):
    problems.read_problems(str(tmp_path / 'gone.jsonl'))
  with pytest.raises(FileNotFoundError, match='no such file'):
    problems.read_problems(str(tmp_path))
  with pytest.raises(ValueError, match=r"'.tsv' is not one of \['.jsonl'"):
    problems.read_problems(_write(tmp_path / 'a.tsv', 'a'))
  with pytest.raises(ValueError, match='no problems in it'):
    problems.read_problems(_write(tmp_path / 'a.jsonl', '', ' '))
  with pytest.raises(ValueError, match='not readable as Parquet'):
    problems.read_problems(_write(tmp_path / 'a.parquet', 'text'))
  (tmp_path / 'b.jsonl').write_bytes(b'{"prompt": "\xff"}')
  with pytest.raises(ValueError, match='line 1: not JSON'):
    problems.read_problems(str(tmp_path / 'b.jsonl'))


def test_split_is_deterministic_and_disjoint_by_prompt():
  # 12 examples of 10 distinct prompts; 'p0' comes three times.
  examples = _examples(*(f'p{i}' for i in range(10)), 'p0', ' p0\n')
  seen = set()
  for seed in range(20):
    train, held_out = problems.split_held_out(examples, 4, seed)
    assert (train, held_out) == problems.split_held_out(examples, 4, seed)
    prompts = [e.problem.prompt.strip() for e in held_out]
    assert len(set(prompts)) == 4
    assert not set(prompts) & {e.problem.prompt.strip() for e in train}
    assert len(train) == (12 - 4 - 2 if 'p0' in prompts else 12 - 4)
    seen.add(tuple(prompts))
  assert len(seen) > 10
  assert problems.split_held_out(examples, 0, 0) == (examples, [])
  with pytest.raises(ValueError, match='10 held-out .* of 10 distinct'):
    problems.split_held_out(examples, 10, 0)


def test_overlap_leaves_the_training_side_and_is_counted():
  train, held_out = _examples('a', 'b', 'a  c', 'b'), _examples('b', ' a c')
  kept, removed = problems.remove_overlap(train, held_out)
  assert [e.problem.prompt for e in kept] == ['a']
  assert removed == 3


@pytest.mark.parametrize(
  ('column', 'what'),
  [
    (pyarrow.array([1], pyarrow.timestamp('ns')), 'Nanosecond'),
    (pyarrow.array([2**60], pyarrow.timestamp('ms')), 'too large'),
    (pyarrow.array([2**30], pyarrow.date32()), 'magnitude'),
    (pyarrow.array([b'\xff'], pyarrow.binary()).view('string'), 'utf-8'),
  ],
)
def test_a_column_of_values_python_has_not_is_named(tmp_path, column, what):
  path = tmp_path / 'a.parquet'
  table = pyarrow.table(dict(prompt=['a'], answer=[1], made=column))
  pyarrow.parquet.write_table(table, path)
  with pytest.raises(
    ValueError, match=rf"a.parquet, row 1 .*column 'made' cannot be .*{what}"
  ):
    problems.read_problems(str(path))


def test_two_columns_of_one_name_are_refused(tmp_path):
  path = tmp_path / 'a.parquet'
  columns = [pyarrow.array(['a']), pyarrow.array([1]), pyarrow.array([2])]
  table = pyarrow.Table.from_arrays(columns, ['prompt', 'answer', 'answer'])
  pyarrow.parquet.write_table(table, path)
  with pytest.raises(ValueError, match='a.parquet: two columns of one name'):
    problems.read_problems(str(path))


def test_a_response_of_nan_is_none(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"prompt": "a", "answer": 1, "response": NaN}')
  assert problems.read_problems(str(path))[0].response is None


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
  rows = problems.convert([str(path) for path in paths])
  files.replace_jsonl(tmp_path / 'out.jsonl', rows)
  read = [
    e.problem
    for e in problems.read_problems(
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
  (row,) = problems.convert([str(path)])
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
    problems.convert([str(path)])


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
  (row,) = problems.convert([str(path)])
  assert row['difficulty'] == share
  assert row['id'].endswith('a.jsonl:1')
  assert row['discipline'] != 'nan'


def test_a_question_without_an_answer_may_have_a_solution(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"question": "x?", "solution": "It is \\\\boxed{5}."}')
  assert [row['answer'] for row in problems.convert([str(path)])] == ['5']


def test_other_rows_are_refused(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "x"}')
  with pytest.raises(
    ValueError, match=r"a.jsonl, line 1: neither .* \['text'\]"
  ):
    problems.convert([str(path)])
