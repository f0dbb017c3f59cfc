"""Rows of JSONL, JSON, CSV and Parquet files, one after the other.

A row is a dict of its fields, and comes with its place, so that whoever refuses
it can say where it stands.
"""

import csv
import decimal
import gzip
import importlib
import io
import json
import math
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from k15 import files
from k15.config import extras

_PARQUET_BATCH_ROWS = 1024  # held at once


def read_rows(
  path: str | pathlib.Path,
) -> Iterator[tuple[int, str, dict[str, Any]]]:
  """Yields number, place and fields of every row.

  Files of .json and .csv are held whole, no others.  A star in the name stands
  for several files, which are read by their names, and their rows numbered on.

  Raises:
    FileNotFoundError: no such file.
    ValueError: another suffix, or a row that is no object.
  """
  several, before = files.matching(path), 0
  for file in several or [path]:
    number = 0
    for number, where, row in _rows_of(file):
      yield before + number, where, row
    before += number


def _rows_of(path):
  file = pathlib.Path(path)
  if not file.is_file():
    raise FileNotFoundError(f'{path}: no such file')
  readers = {
    '.jsonl': _jsonl_rows,
    '.json': _json_rows,
    '.csv': _csv_rows,
    '.parquet': _parquet_rows,
    '.jsonl.gz': _jsonl_rows,
  }
  suffix = ''.join(file.suffixes[-2:]) if file.suffix == '.gz' else file.suffix
  if suffix not in readers:
    raise ValueError(f'{path}: {suffix!r} is not one of {list(readers)}')
  yield from readers[suffix](file)


def first_row(path: str) -> dict[str, Any]:
  """The first row of such a file, {} of an empty one; raises as above."""
  return next((row for _, _, row in read_rows(path)), {})


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


def _csv_rows(file) -> Iterator[tuple[int, str, dict[str, Any]]]:
  """A heading names the columns; all values are texts."""
  try:
    text = file.read_bytes().decode('utf-8-sig')
    rows = list(csv.DictReader(io.StringIO(text, newline=''), strict=True))
  except (ValueError, csv.Error) as error:
    raise ValueError(f'{file}: not CSV: {error}') from None
  for number, row in enumerate(rows, 1):
    if None in row or None in row.values():
      raise ValueError(f'{file}, row {number}: not as many values as columns')
    yield number, f'{file}, row {number}', row


def _parquet_rows(file) -> Iterator[tuple[int, str, dict[str, Any]]]:
  # An extra, for files of one kind.  Not before there is one: it starts a
  # thread, beside which `host_memory.keep_freed` keeps less where threads
  # compute.
  try:
    pyarrow = importlib.import_module('pyarrow')
    parquet = importlib.import_module('pyarrow.parquet')
  except ModuleNotFoundError:
    what = extras.sentence(f'{file}: Parquet', 'pyarrow')
    raise ValueError(what) from None
  try:
    number = 0
    with parquet.ParquetFile(file) as table:
      names = table.schema_arrow.names
      if len(set(names)) < len(names):
        raise ValueError(f'{file}: two columns of one name: {names}')
      types = {pyarrow.float32(): np.float32, pyarrow.float16(): np.float16}
      narrow = _narrow_columns(table.schema_arrow, types)
      for batch in table.iter_batches(_PARQUET_BATCH_ROWS):
        where = f'{file}, row {number + 1}'
        for row in _batch_rows(batch, where, pyarrow.ArrowException):
          number += 1
          for name, as_written in narrow.items():
            if row[name] is not None:
              row[name] = float(str(as_written(row[name])))
          yield number, f'{file}, row {number}', row
  except (pyarrow.ArrowException, OSError) as error:
    raise ValueError(f'{file}: not readable as Parquet: {error}') from None


def _batch_rows(batch, where, broken):
  try:
    return batch.to_pylist()
  except broken:
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


def _narrow_columns(schema, types):
  """Columns of less than double precision -> their type, of those given.

  As a double, 0.1 of float32 is 0.10000000149011612, which nobody wrote.
  """
  return {f.name: types[f.type] for f in schema if f.type in types}
