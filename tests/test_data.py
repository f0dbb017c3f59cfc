"""Users' files, the held-out split, and the packed stream of SFT."""

import decimal
import gzip
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from k15 import data
from k15.data_types import Problem


def _write(path, *lines):
  text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  path.write_text('\n'.join(text) + '\n')
  return str(path)


def _examples(*prompts):
  return [
    data.Example(Problem(id=str(i), prompt=prompt, answer='1'), 'because 1')
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
  assert data.read_problems(path) == [
    data.Example(Problem('set.jsonl:1', '1+1?', '2')),
    data.Example(Problem('7', '漢?', 'x', 'math', 0.5), 'so x'),
  ]


def test_a_missing_difficulty_is_no_label(tmp_path):
  rows = [{'difficulty': d} for d in (0, 0.0, None, float('nan'), 4)] + [{}]
  rows = [dict(prompt=f'{i}?', answer='1') | row for i, row in enumerate(rows)]
  path = _write(tmp_path / 'a.jsonl', *rows)  # Python writes NaN as it is.
  read = data.read_problems(path, data.Fields(hardest=5.0))
  expected = [0.0, 0.0, None, None, 0.8, None]
  assert [e.problem.difficulty for e in read] == expected
  path = tmp_path / 'a.parquet'
  columns = {'prompt': ['a', 'b'], 'answer': ['1', '2']}
  table = pyarrow.table(columns | {'difficulty': [None, 0.5]})
  pyarrow.parquet.write_table(table, path)
  read = data.read_problems(str(path))
  assert [e.problem.difficulty for e in read] == [None, 0.5]


def test_reads_parquet(tmp_path):
  path = tmp_path / 'set.parquet'
  table = {'q': ['a?', 'b?'], 'answer': [1, 2], 'response': ['so', None]}
  pyarrow.parquet.write_table(pyarrow.table(table), path)
  assert data.read_problems(str(path), data.Fields(prompt='q')) == [
    data.Example(Problem('set.parquet:1', 'a?', '1'), 'so'),
    data.Example(Problem('set.parquet:2', 'b?', '2')),
  ]


def test_gsm8k_keeps_the_answer_within_the_solution(tmp_path):
  solution = '48/2 = <<48/2=24>>24\n#### 1,024'
  path = _write(tmp_path / 'a.jsonl', {'question': 'Q?', 'answer': solution})
  (example,) = data.read_problems(
    path,
    data.Fields(
      prompt='question',
      answer='answer',
      response='answer',
      answer_marker='####',
    ),
  )
  assert example == data.Example(Problem('a.jsonl:1', 'Q?', '1,024'), solution)


def test_answer_without_the_marker_is_taken_whole(tmp_path):
  path = _write(tmp_path / 'a.jsonl', {'prompt': 'Q?', 'answer': '5'})
  (example,) = data.read_problems(path, data.Fields(answer_marker='####'))
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
    data.read_problems(path, data.Fields(answer_marker='##'))
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
  (example,) = data.read_problems(str(path))
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
    fields = data.Fields(answer=field)
    examples = data.read_problems(str(path), fields, may_lack_answers=True)
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
    data.read_problems(str(path))
  (example,) = data.read_problems(str(path), may_lack_answers=True)
  assert example.problem.answer == ''
  values = pyarrow.array([float(number)], pyarrow.float32())
  table = pyarrow.table(dict(prompt=['a'], answer=values))
  pyarrow.parquet.write_table(table, tmp_path / 'a.parquet')
  with pytest.raises(ValueError, match="row 1: field 'answer' is .*not a fin"):
    data.read_problems(str(tmp_path / 'a.parquet'))


@pytest.mark.parametrize('answer', [None, '', ' ', 'so ## ', float('nan')])
def test_answers_may_be_missing_in_any_way(tmp_path, answer):
  path = _write(tmp_path / 'a.jsonl', dict(prompt='a', answer=answer))
  fields = data.Fields(answer_marker='##')
  (example,) = data.read_problems(path, fields, may_lack_answers=True)
  assert example.problem.answer == ''
  path = _write(tmp_path / 'b.jsonl', dict(prompt='a'))
  (example,) = data.read_problems(path, fields, may_lack_answers=True)
  assert example.problem.answer == ''


def test_zero_is_a_value(tmp_path):
  row = dict(prompt='a', answer=0, id=0, domain=0, discipline=0, difficulty=0)
  (example,) = data.read_problems(_write(tmp_path / 'a.jsonl', row))
  assert example.problem == Problem('0', 'a', '0', '0', 0.0, '0')
  path = _write(tmp_path / 'b.jsonl', row | dict(response=0))
  with pytest.raises(ValueError, match="'response' is a int, not text"):
    data.read_problems(path)


@pytest.mark.parametrize('value', [10**400, True, 'Level 2'])
def test_a_difficulty_of_another_kind_is_named(tmp_path, value):
  row = dict(prompt='a', answer='1', difficulty=value)
  path = _write(tmp_path / 'a.jsonl', row)
  with pytest.raises(ValueError, match='line 1: difficulty .* is outside'):
    data.read_problems(path)


def test_compressed_lines(tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  path.write_bytes(gzip.compress(b'{"prompt": "a", "answer": 1}'))
  (example,) = data.read_problems(str(path))
  assert example.problem.id == 'a.jsonl.gz:1'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match='a.jsonl.gz: not readable'):
    data.read_problems(str(path))


def test_a_digest_is_of_the_content(tmp_path):
  a, b = tmp_path / 'a.jsonl', tmp_path / 'other' / 'a.jsonl'
  b.parent.mkdir()
  a.write_text('x')
  b.write_text('x')
  assert data.digest(a) == data.digest(b)
  assert data.digest(a)['name'] == 'a.jsonl'
  b.write_text('y')
  assert data.digest(a) != data.digest(b)


def test_refused_files(tmp_path):
  with pytest.raises(FileNotFoundError, match='gone.jsonl: no such file'):
    data.read_problems(str(tmp_path / 'gone.jsonl'))
  with pytest.raises(FileNotFoundError, match='no such file'):
    data.read_problems(str(tmp_path))
  with pytest.raises(ValueError, match=r"'.csv' is not one of \['.jsonl'"):
    data.read_problems(_write(tmp_path / 'a.csv', 'a'))
  with pytest.raises(ValueError, match='no problems in it'):
    data.read_problems(_write(tmp_path / 'a.jsonl', '', ' '))
  with pytest.raises(ValueError, match='not readable as Parquet'):
    data.read_problems(_write(tmp_path / 'a.parquet', 'text'))
  (tmp_path / 'b.jsonl').write_bytes(b'{"prompt": "\xff"}')
  with pytest.raises(ValueError, match='line 1: not JSON'):
    data.read_problems(str(tmp_path / 'b.jsonl'))


def test_split_is_deterministic_and_disjoint_by_prompt():
  # 12 examples of 10 distinct prompts; 'p0' comes three times.
  examples = _examples(*(f'p{i}' for i in range(10)), 'p0', ' p0\n')
  seen = set()
  for seed in range(20):
    train, held_out = data.split_held_out(examples, 4, seed)
    assert (train, held_out) == data.split_held_out(examples, 4, seed)
    prompts = [e.problem.prompt.strip() for e in held_out]
    assert len(set(prompts)) == 4
    assert not set(prompts) & {e.problem.prompt.strip() for e in train}
    assert len(train) == (12 - 4 - 2 if 'p0' in prompts else 12 - 4)
    seen.add(tuple(prompts))
  assert len(seen) > 10
  assert data.split_held_out(examples, 0, 0) == (examples, [])
  with pytest.raises(ValueError, match='10 held-out .* of 10 distinct'):
    data.split_held_out(examples, 10, 0)


def test_overlap_leaves_the_training_side_and_is_counted():
  train, held_out = _examples('a', 'b', 'a  c', 'b'), _examples('b', ' a c')
  kept, removed = data.remove_overlap(train, held_out)
  assert [e.problem.prompt for e in kept] == ['a']
  assert removed == 3


def _pairs(count, seed=0):
  """Pairs whose tokens tell which pair they are: 1000 * number + place."""
  rng = np.random.default_rng(seed)
  pairs = []
  for i in range(count):
    p, r = rng.integers(1, 6), rng.integers(1, 20)
    tokens = 1000 * (i + 1) + np.arange(p + r, dtype=np.int32)
    pairs.append((tokens[:p], tokens[p:]))
  return pairs


def _sequences(batch):
  """(tokens, mask) of each packed sequence, after checking its layout."""
  for row in range(len(batch['tokens'])):
    ids = batch['segment_ids'][row]
    used = ids > 0
    assert not batch['loss_mask'][row][~used].any()
    for segment in range(1, ids.max() + 1):
      (places,) = np.nonzero(ids == segment)
      np.testing.assert_array_equal(np.diff(places), 1)
      np.testing.assert_array_equal(
        batch['positions'][row, places], np.arange(len(places))
      )
      yield batch['tokens'][row, places], batch['loss_mask'][row, places]


def test_packed_rows_hold_whole_examples():
  pairs = _pairs(50)
  stream = data.sft_iterator(pairs, row_length=32, rows=4, seed=1)
  seen = []
  for _ in range(8):
    batch = next(stream)
    assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
      'tokens': ((4, 32), 'int32'),
      'positions': ((4, 32), 'int32'),
      'segment_ids': ((4, 32), 'int32'),
      'loss_mask': ((4, 32), 'float32'),
    }
    for tokens, mask in _sequences(batch):
      index = tokens[0] // 1000 - 1
      prompt, response = pairs[index]
      np.testing.assert_array_equal(tokens, np.concatenate([prompt, response]))
      np.testing.assert_array_equal(
        mask, [0.0] * len(prompt) + [1.0] * len(response)
      )
      seen.append(index)
  # 8 batches of 4 rows hold more than the 50 examples: an epoch and a part.
  assert len(set(seen)) == 50
  counts = np.bincount(seen)
  assert counts.max() <= 3


@pytest.mark.parametrize('after', [0, 1, 3, 4, 11])
def test_stream_resumes_bit_by_bit(after):
  def stream():
    return data.sft_iterator(_pairs(40), row_length=32, rows=3, seed=5)

  running = stream()
  for _ in range(after):
    next(running)
  state = json.loads(json.dumps(running.get_state()))
  resumed = stream()
  next(resumed)  # It may have run before.
  resumed.set_state(state)
  for _ in range(9):
    expected, batch = next(running), next(resumed)
    for key in expected:
      assert expected[key].tobytes() == batch[key].tobytes()


def test_seed_decides_the_order():
  def first(seed):
    pairs = _pairs(40)
    return next(data.sft_iterator(pairs, row_length=32, rows=3, seed=seed))

  np.testing.assert_array_equal(first(3)['tokens'], first(3)['tokens'])
  assert (first(3)['tokens'] != first(4)['tokens']).any()


@pytest.mark.parametrize(
  ('lengths', 'message'),
  [
    ([], '0 examples'),
    ([(2, 3), (2, 7)], 'example 1 has 2 prompt tokens and 9 in all; .* to 8'),
    ([(0, 3)], 'example 0 has 0 prompt tokens'),
  ],
)
def test_refused_pairs(lengths, message):
  pairs = [(np.ones(p, np.int32), np.ones(r, np.int32)) for p, r in lengths]
  with pytest.raises(ValueError, match=message):
    data.sft_iterator(pairs, row_length=8, rows=2, seed=0)


def test_rows_of_a_stream_are_well_filled():
  rng = np.random.default_rng(0)
  pairs = [
    (np.ones(20, np.int32), np.ones(rng.integers(50, 230), np.int32))
    for _ in range(500)
  ]
  stream = data.sft_iterator(pairs, row_length=320, rows=16, seed=0)
  next(stream)
  tokens = 0
  for _ in range(10):
    tokens += np.count_nonzero(next(stream)['segment_ids'])
  assert tokens > 0.8 * 10 * 16 * 320


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
    data.read_problems(str(path))


def test_two_columns_of_one_name_are_refused(tmp_path):
  path = tmp_path / 'a.parquet'
  columns = [pyarrow.array(['a']), pyarrow.array([1]), pyarrow.array([2])]
  table = pyarrow.Table.from_arrays(columns, ['prompt', 'answer', 'answer'])
  pyarrow.parquet.write_table(table, path)
  with pytest.raises(ValueError, match='a.parquet: two columns of one name'):
    data.read_problems(str(path))


def test_a_response_of_nan_is_none(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"prompt": "a", "answer": 1, "response": NaN}')
  assert data.read_problems(str(path))[0].response is None
