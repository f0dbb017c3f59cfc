"""Rows of a trusted file of programming problems, and where each stands.

JSON lines or one JSON array, packed by gzip or not: what it is is known by its
bytes, not by its name.
"""

import gzip
import json
import os
import pathlib
import zlib
from typing import Any

Row = dict[str, Any]
_GZIP = b'\x1f\x8b'
_BYTE_ORDER_MARK = '\ufeff'


def read(path: str | os.PathLike) -> list[tuple[str, Row]]:
  """(where, row) of every row; blank lines are none.

  Raises:
    ValueError: a sentence that names the file and the line or entry.
    OSError: it cannot be opened.
  """
  text = _text(pathlib.Path(path))
  if text.lstrip().startswith('['):
    rows = _parse(text, str(path))
    numbered = [(f'{path}, entry {n}', row) for n, row in enumerate(rows, 1)]
  else:
    # Only '\n' ends a line: JSON texts may hold U+2028 and its like.
    lines = [
      (f'{path}, line {number}', line.strip(f' \t\r{_BYTE_ORDER_MARK}'))
      for number, line in enumerate(text.split('\n'), 1)
    ]
    numbered = [(where, _parse(line, where)) for where, line in lines if line]
  if not numbered:
    raise ValueError(f'{path}: no problems in it')
  for where, row in numbered:
    if not isinstance(row, dict):
      raise ValueError(f'{where}: a {type(row).__name__}, not an object')
  return numbered


def _text(path):
  data = path.read_bytes()
  try:
    data = gzip.decompress(data) if data.startswith(_GZIP) else data
    return data.decode('utf-8-sig')
  except (EOFError, zlib.error, OSError) as error:
    raise ValueError(f'{path}: not readable as gzip: {error}') from None
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: not UTF-8: {error}') from None


def _parse(text, where):
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{where}: not JSON: {error}') from None


def text(row: Row, field: str) -> str:
  """A field of a row, lines ended by '\\n' alone.

  Raises:
    ValueError: it is missing, or no text.
  """
  if field not in row:
    raise ValueError(f'no field {field!r}; it has {sorted(row)}')
  value = row[field]
  if not isinstance(value, str):
    raise ValueError(f'field {field!r} is a {type(value).__name__}, not text')
  return value.replace('\r\n', '\n')


def optional_text(row: Row, field: str) -> str:
  """As `text`; '' where it is missing or null."""
  return '' if row.get(field) is None else text(row, field)


def texts(row: Row, field: str) -> list[str]:
  """A list of texts, likewise; [] where it is missing or null.

  Raises:
    ValueError: it is no list of texts.
  """
  values = row.get(field)
  values = [] if values is None else values
  if not isinstance(values, list):
    raise ValueError(
      f'field {field!r} is a {type(values).__name__}, not a list'
    )
  return [text({field: value}, field) for value in values]
