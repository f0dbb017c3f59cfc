"""GSM8K, MATH and MATH-500 files as rows that `data.read_problems` reads.

  python -m k15.math_datasets gsm8k/train.jsonl math/train.json mixed.jsonl

The last name is the file to be written.  A row gets `id`, `prompt`, `answer`,
`domain`, `discipline` and, where MATH has a level, `difficulty`, out of 5.
"""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import metrics

DOMAIN = 'mathematics'


def convert(paths: Sequence[str]) -> list[dict[str, Any]]:
  """Rows of all files; an answer that is missing is ''.

  Raises:
    ValueError: a row with neither `question` nor `problem`.
  """
  rows = []
  for path in paths:
    path = pathlib.Path(path)
    name = '/'.join(path.parts[-2:])
    for number, record in enumerate(_records(path), 1):
      rows.append(_row(record, f'{name}:{number}'))
  return rows


def _records(path):
  text = path.read_text()
  if path.suffix == '.json':
    return json.loads(text)
  return [json.loads(line) for line in text.splitlines() if line.strip()]


def _row(record: Mapping[str, Any], default_id: str) -> dict[str, Any]:
  if 'question' in record:  # GSM8K
    answer = str(record['answer']).rpartition('####')[2].strip()
    row = dict(prompt=record['question'], answer=answer)
    row |= dict(domain=DOMAIN, discipline='word problems')
  elif 'problem' in record:  # MATH
    row = dict(
      prompt=record['problem'],
      answer=str(record.get('answer') or '').strip(),
      domain=DOMAIN,
      discipline=str(record.get('type') or record.get('subject')).casefold(),
      difficulty=_difficulty(record),
    )
  else:
    raise ValueError(f'{default_id}: fields {sorted(record)}')
  return dict(id=str(record.get('unique_id') or default_id)) | row


def _difficulty(record):
  """MATH's level out of 5; None where it has none, or 'Level ?'."""
  level = record.get('level', record.get('difficulty'))
  text = str(level or '').removeprefix('Level ')
  return float(text) / 5 if text not in ('', '?') else None


if __name__ == '__main__':
  if len(sys.argv) < 3:
    sys.exit('usage: python -m k15.math_datasets FILE... OUT.jsonl')
  converted = convert(sys.argv[1:-1])
  metrics.replace_jsonl(sys.argv[-1], converted)
  print(f'{len(converted)} problems')
