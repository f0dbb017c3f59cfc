"""Users' problems from files, and the packed stream of examples SFT reads."""

import dataclasses
import decimal
import functools
import gzip
import hashlib
import json
import math
import pathlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

try:
  import pyarrow
  import pyarrow.parquet
except ModuleNotFoundError:  # An extra: 165 MB, for files of one kind.
  pyarrow = None

from k15 import quiet_imports as quiet
from k15 import streams
from k15.data_types import Problem

# Prompt and response; the response ends with the end-of-sequence token.
TokenPair = tuple[np.ndarray, np.ndarray]
_PARQUET_BATCH_ROWS = 1024  # held at once


@dataclasses.dataclass(frozen=True)
class Example:
  """A problem and, where the file has one, a worked solution of it."""

  problem: Problem
  response: str | None = None


@dataclasses.dataclass(frozen=True)
class Fields:
  """Where a row of a file has what makes a problem.

  Two may be the same: with GSM8K's `answer` as both answer and response, the
  marker finds the answer within the worked solution.

  Attributes:
    prompt: text, needed in every row.
    answer: text or number, needed in every row.
    response: text; a row without it, or with '', null or NaN, has none.
    domain, discipline: text or number, optional.
    difficulty: number from 0 to `hardest`; where it is missing, null or NaN the
      problem has no label.
    hardest: difficulty of the hardest problems, which becomes 1.
    answer_marker: the reference answer is the text after the last one, where
      there is one; '' takes the field as it is.
  """

  prompt: str = 'prompt'
  answer: str = 'answer'
  response: str = 'response'
  domain: str = 'domain'
  discipline: str = 'discipline'
  difficulty: str = 'difficulty'
  hardest: float = 1.0
  answer_marker: str = ''

  @classmethod
  def of(cls, task: Any) -> 'Fields':
    """Those of a user's files, as `config.task` names them."""
    return cls(
      prompt=task.prompt_field,
      answer=task.answer_field,
      response=task.response_field,
      domain=task.domain_field,
      discipline=task.discipline_field,
      difficulty=task.difficulty_field,
      hardest=task.hardest,
      answer_marker=task.answer_marker,
    )


def read_problems(
  path: str,
  fields: Fields = Fields(),
  may_lack_answers: bool = False,
  answer_of: Callable[[dict[str, Any], str], str] | None = None,
) -> list[Example]:
  """Reads a JSONL, JSON or Parquet file, in its order.

  A row may have an `id`; by default it is the name of the file and the number
  of the line.

  Args:
    path: ends with .jsonl, .json (an array of objects) or .parquet; JSONL may
      be compressed, .jsonl.gz.
    fields: of a row.
    may_lack_answers: whether a row may have no answer, an empty one, or a
      number that is not finite; the answer then is ''.
    answer_of: (row, place) -> answer, where no single field has it.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a row is not what it should be; says which and why.
  """
  examples, seen = [], {}
  for number, where, row in read_rows(path):
    example = Example(
      Problem(
        id=_label(row, 'id') or f'{pathlib.Path(path).name}:{number}',
        prompt=_text(row, fields.prompt, where),
        answer=answer_of(row, where)
        if answer_of
        else _answer(row, fields, where, may_lack_answers),
        domain=_label(row, fields.domain),
        difficulty=_difficulty(row, fields.difficulty, fields.hardest, where),
        discipline=_label(row, fields.discipline),
      ),
      response=_response(row, fields.response, where),
    )
    first = seen.setdefault(example.problem.id, where)
    if first != where:
      raise ValueError(f'{where}: id {example.problem.id!r} is also at {first}')
    examples.append(example)
  if not examples:
    raise ValueError(f'{path}: no problems in it')
  return examples


def number_text(value: Any) -> str | None:
  """A number as digits that say what it is and no more; None if it is none.

  Whole numbers are written whole, others with the fewest decimals that tell
  them from their neighbours: 1e22 is 10000000000000000000000, 2.0 is 2.  A
  truth value is no number.

  Raises:
    ValueError: it is not finite.
  """
  if isinstance(value, bool) or not isinstance(
    value, int | float | decimal.Decimal
  ):
    return None
  if isinstance(value, int):
    return str(value)
  if not math.isfinite(value):
    raise ValueError(f'{value}, not a finite number')
  if isinstance(value, decimal.Decimal):
    text = format(value, 'f')
    text = text.rstrip('0').rstrip('.') if '.' in text else text
  else:
    text = np.format_float_positional(value, trim='-')
  return '0' if text == '-0' else text


def read_rows(
  path: str | pathlib.Path,
) -> Iterator[tuple[int, str, dict[str, Any]]]:
  """Yields number, place and fields of every row; only .json is held whole.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another suffix, or a row that is no object.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  readers = {
    '.jsonl': _jsonl_rows,
    '.json': _json_rows,
    '.parquet': _parquet_rows,
    '.jsonl.gz': _jsonl_rows,
  }
  suffix = ''.join(file.suffixes[-2:]) if file.suffix == '.gz' else file.suffix
  if suffix not in readers:
    raise ValueError(f'{path}: {suffix!r} is not one of {list(readers)}')
  yield from readers[suffix](file)


def digest(path: str | pathlib.Path) -> dict[str, Any]:
  """Name, bytes and SHA-256 of a file: what says that it is the same one."""
  path = pathlib.Path(path)
  facts = path.stat()
  found = _sha256(path.absolute(), facts.st_size, facts.st_mtime_ns)
  return dict(name=path.name, bytes=facts.st_size, sha256=found)


@functools.lru_cache(256)
def _sha256(path, size, mtime_ns):
  """Of a file as it was then: large ones are asked for more than once."""
  del size, mtime_ns
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def first_row(path: str) -> dict[str, Any]:
  """The first row of such a file, {} of an empty one; raises as above."""
  return next((row for _, _, row in read_rows(path)), {})


def split_held_out(
  examples: Sequence[Example], n: int, seed: int
) -> tuple[list[Example], list[Example]]:
  """Takes n distinct prompts aside; no prompt is on both sides.

  Every copy of a held-out prompt leaves the training side; one is kept.

  Returns:
    Training and held-out examples, both in the order they came.

  Raises:
    ValueError: n leaves nothing to train on.
  """
  first = {}
  for i, example in enumerate(examples):
    first.setdefault(_prompt_key(example), i)
  if not 0 <= n < len(first):
    raise ValueError(
      f'{n} held-out problems of {len(first)} distinct prompts leave none to '
      'train on'
    )
  rng = streams.rng(seed, 'held-out split')
  chosen = rng.permutation(list(first.values()))[:n]
  held_out = [examples[i] for i in sorted(chosen)]
  return remove_overlap(examples, held_out)[0], held_out


def remove_overlap(
  train: Sequence[Example], held_out: Sequence[Example]
) -> tuple[list[Example], int]:
  """Drops training examples whose prompt is held out; counts them.

  Prompts that differ in white space alone are the same.
  """
  known = {_prompt_key(example) for example in held_out}
  kept = [example for example in train if _prompt_key(example) not in known]
  return kept, len(train) - len(kept)


def sft_iterator(
  pairs: Sequence[TokenPair],
  row_length: int,
  rows: int,
  seed: int,
  stage: str = 'sft',
) -> quiet.grain.DatasetIterator:
  """Endless packed batches, shuffled anew in every epoch.

  Args:
    pairs: prompts and responses, int32 [T]; kept in memory.
    row_length: tokens of a packed row.
    rows: packed rows of a batch.
    seed, stage: the same ones give the same stream; see `streams`.

  Returns:
    An iterator of dicts of arrays [rows, row_length]: int32 `tokens`,
    `positions` (from 0 in each example) and `segment_ids` (from 1, 0 is
    padding), float32 `loss_mask` (1 on response tokens).  `get_state()` is a
    dict of integers that JSON can hold; after `set_state(state)` the stream
    goes on bit by bit.

  Raises:
    ValueError: no pairs, one without a prompt, or one that no row can hold.
  """
  if not pairs:
    raise ValueError('0 examples to learn from')
  for i, (prompt, response) in enumerate(pairs):
    length = len(prompt) + len(response)
    if not len(prompt) or length > row_length:
      raise ValueError(
        f'example {i} has {len(prompt)} prompt tokens and {length} in all; a '
        f'row holds 1 to {row_length}'
      )
  # Data in memory needs no threads: one core packs two million tokens a second
  # without.  Examples of 70 to 250 tokens in 25 rows of 320 leave 9 % padding
  # best-fit into four batches of bins, 14 % into one.
  stream = (
    quiet.grain.MapDataset.source(pairs)
    .seed(streams.number(seed, 'example order', stage))
    .shuffle()
    .repeat()
    .map(_example_row)
    .to_iter_dataset(
      quiet.grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    )
  )
  stream = quiet.grain.experimental.BestFitPackIterDataset(
    stream,
    length_struct=dict(tokens=row_length, loss_mask=row_length),
    num_packing_bins=4 * rows,
    seed=streams.number(seed, 'best fit', stage),
    meta_features=('loss_mask',),
  )
  return iter(stream.map(_packed_row).batch(rows, drop_remainder=True))


def _example_row(pair):
  prompt, response = pair
  mask = np.zeros(len(prompt) + len(response), np.float32)
  mask[len(prompt) :] = 1.0
  return dict(tokens=np.concatenate(pair).astype(np.int32), loss_mask=mask)


def _packed_row(row):
  return dict(
    tokens=row['tokens'],
    positions=row['tokens_positions'],
    segment_ids=row['tokens_segment_ids'],
    loss_mask=row['loss_mask'],
  )


def _jsonl_rows(file) -> Iterator[tuple[int, str, dict[str, Any]]]:
  open_bytes = gzip.open if file.suffix == '.gz' else open
  with open_bytes(file, 'rb') as lines:
    for number, line in _numbered(lines, file):
      where = f'{file}, line {number}'
      if not line.strip():
        continue
      try:
        row = json.loads(line.decode('utf-8-sig'))
      except (ValueError, RecursionError) as error:
        raise ValueError(f'{where}: not JSON: {error}') from None
      if not isinstance(row, dict):
        raise ValueError(f'{where}: a {type(row).__name__}, not an object')
      yield number, where, row


def _numbered(lines, file):
  try:
    yield from enumerate(lines, 1)
  except (OSError, EOFError, zlib.error) as error:  # Of a torn .gz.
    raise ValueError(f'{file}: not readable: {error}') from None


def _json_rows(file) -> Iterator[tuple[int, str, dict[str, Any]]]:
  try:
    rows = json.loads(file.read_bytes().decode('utf-8-sig'))
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{file}: not JSON: {error}') from None
  if not isinstance(rows, list):
    raise ValueError(f'{file}: a {type(rows).__name__}, not an array')
  for number, row in enumerate(rows, 1):
    where = f'{file}, entry {number}'
    if not isinstance(row, dict):
      raise ValueError(f'{where}: a {type(row).__name__}, not an object')
    yield number, where, row


def _parquet_rows(file) -> Iterator[tuple[int, str, dict[str, Any]]]:
  if pyarrow is None:
    raise ValueError(
      f'{file}: Parquet is read by pyarrow, which is not installed: make'
      " extras, or pip install 'k15[parquet]'"
    )
  try:
    number = 0
    with pyarrow.parquet.ParquetFile(file) as table:
      names = table.schema_arrow.names
      if len(set(names)) < len(names):
        raise ValueError(f'{file}: two columns of one name: {names}')
      narrow = _narrow_columns(table.schema_arrow)
      for batch in table.iter_batches(_PARQUET_BATCH_ROWS):
        for row in _batch_rows(batch, f'{file}, row {number + 1}'):
          number += 1
          for name, as_written in narrow.items():
            if row[name] is not None:
              row[name] = float(str(as_written(row[name])))
          yield number, f'{file}, row {number}', row
  except (pyarrow.ArrowException, OSError) as error:
    raise ValueError(f'{file}: not readable as Parquet: {error}') from None


def _batch_rows(batch, where):
  try:
    return batch.to_pylist()
  except pyarrow.ArrowException:
    raise
  except (ValueError, OverflowError) as error:
    raise ValueError(
      f'{where} or one of the {len(batch) - 1} after it: {_column_of(batch)}'
      f' cannot be read: {error}'
    ) from None


def _column_of(batch):
  """The first column with a value that Python has no form of."""
  for name, column in zip(batch.schema.names, batch.columns, strict=True):
    try:
      column.to_pylist()
    except (ValueError, OverflowError):
      return f'column {name!r}'
  return 'a column'


def _narrow_columns(schema):
  """Columns of less than double precision -> their type.

  As a double, 0.1 of float32 is 0.10000000149011612, which nobody wrote.
  """
  types = {pyarrow.float32(): np.float32, pyarrow.float16(): np.float16}
  return {f.name: types[f.type] for f in schema if f.type in types}


def _value(row, field, where):
  if field not in row:
    raise ValueError(f'{where}: no field {field!r}; it has {sorted(row)}')
  return row[field]


def _text(row, field, where):
  value = _value(row, field, where)
  if not isinstance(value, str):
    raise ValueError(
      f'{where}: field {field!r} is a {type(value).__name__}, not text'
    )
  if not value.strip():
    raise ValueError(f'{where}: field {field!r} is empty')
  try:
    value.encode('utf-8')  # JSON can hold halves of surrogate pairs.
  except UnicodeEncodeError as error:
    raise ValueError(f'{where}: field {field!r}: {error}') from None
  return value


def _answer(row, fields, where, may_lack):
  """The reference answer; '' where it is missing and may be."""
  field, marker = fields.answer, fields.answer_marker
  value = row.get(field) if may_lack else _value(row, field, where)
  try:
    number = number_text(value)
  except ValueError as error:
    if may_lack:
      return ''
    raise ValueError(f'{where}: field {field!r} is {error}') from None
  if may_lack and (value is None or value == '' or str(value).isspace()):
    return ''
  text = number or _text(row, field, where)
  if marker and marker in text:
    text = text.rpartition(marker)[2]
    if not text.strip() and not may_lack:
      raise ValueError(f'{where}: field {field!r} ends at {marker!r}')
  return text.strip()


def _response(row, field, where):
  value = row.get(field)
  # Tables write NaN for what is missing.
  is_missing = value is None or value == '' or value != value
  return None if is_missing else _text(row, field, where)


def _label(row, field):
  """A name as text; '' where the row has none, or NaN as some writers do."""
  value = row.get(field)
  return '' if value is None or value != value else str(value)


def _difficulty(row, field, most, where):
  value = row.get(field)
  # Tables write NaN for what is missing.
  if value is None or value != value:
    return None
  is_number = not isinstance(value, bool) and isinstance(
    value, int | float | decimal.Decimal
  )
  if not is_number or not 0 <= value <= most:
    raise ValueError(f'{where}: {field} {value!r} is outside [0, {most:g}]')
  return float(value) / most


def _prompt_key(example):
  return ' '.join(example.problem.prompt.split())
