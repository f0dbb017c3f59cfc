"""GSM8K, MATH and MATH-500 files as rows that `data.read_problems` reads.

  python -m k15.math_datasets gsm8k/train.jsonl math/train.json mixed.jsonl

The last name is the file to be written.  A row gets `id`, `prompt`, `answer`,
`domain`, `discipline` and, where MATH has a level, `difficulty`, out of 5.  A
record without an answer has it in the last box of its solution.
"""

import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import data
from k15 import metrics
from k15.rewards import answer_text

DOMAIN = 'mathematics'


def convert(paths: Sequence[str]) -> list[dict[str, Any]]:
  """Rows of all files; an answer that is missing is ''.

  Raises:
    ValueError: a row with neither `question` nor `problem`, or one whose
      fields are not what they should be; says which.
  """
  return [
    row_of(record, f'{"/".join(pathlib.Path(path).parts[-2:])}:{number}', where)
    for path in paths
    for number, where, record in data.read_rows(path)
  ]


def row_of(
  record: Mapping[str, Any], default_id: str, where: str
) -> dict[str, Any]:
  """The row of one record; `where` begins what it raises."""
  if 'question' in record:  # GSM8K
    prompt, level = record['question'], ''
    answer = answer_of(record, where).rpartition('####')[2].strip()
    discipline = 'word problems'
  elif 'problem' in record:  # MATH
    prompt, answer = record['problem'], answer_of(record, where)
    level = _first(record, 'level', 'difficulty')
    discipline = str(_first(record, 'type', 'subject')).casefold()
  else:
    raise ValueError(
      f"{where}: neither 'question' nor 'problem' among {sorted(record)}"
    )
  if not isinstance(prompt, str) or not prompt.strip():
    raise ValueError(
      f'{where}: the problem is {prompt!r}, and has to be a text'
    )
  return dict(
    id=str(_first(record, 'unique_id')) or default_id,
    prompt=prompt,
    answer=answer,
    domain=DOMAIN,
    discipline=discipline,
    difficulty=_difficulty(level, where),
  )


def answer_of(record: Mapping[str, Any], where: str) -> str:
  """The answer of a record: its own, or the last box of its solution."""
  answer = _text(record, 'answer', where).strip()
  if answer:
    return answer
  return answer_text.boxed(_text(record, 'solution', where)) or ''


def _text(record, field, where):
  """A field as text; '' where it is missing, null or not a finite number."""
  value = record.get(field)
  if value is None or isinstance(value, str):
    return value or ''
  try:
    number = data.number_text(value)
  except ValueError:
    return ''
  if number is None:
    raise ValueError(
      f'{where}: field {field!r} is a {type(value).__name__}, not text'
    )
  return number


def _first(record, *fields):
  """The first of the fields that says something; '' if none does.

  Tables write NaN for what is missing.
  """
  values = (record.get(field) for field in fields)
  return next((v for v in values if v not in (None, '') and v == v), '')


def _difficulty(level, where):
  """A level of 'Level 1' to 'Level 5' as a share; None where nobody knows."""
  text = str(level).casefold().removeprefix('level').replace('?', '').strip()
  try:
    share = float(text) / 5 if text else None
  except ValueError:
    share = math.nan
  if share is not None and not 0 <= share <= 1:
    raise ValueError(f'{where}: no level from 0 to 5: {level!r}')
  return share


if __name__ == '__main__':
  if len(sys.argv) < 3:
    sys.exit('usage: python -m k15.math_datasets FILE... OUT.jsonl')
  try:
    converted = convert(sys.argv[1:-1])
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  metrics.replace_jsonl(sys.argv[-1], converted)
  print(f'{len(converted)} problems')
