"""Problems from files: users' own, and GSM8K and MATH as they are published.

A file of the user's has a problem in each row, and `Fields` says which field is
what.  Those of GSM8K, MATH and MATH-500 become such a file first:

  python -m k15.data.problems gsm8k/train.jsonl math/train.json mixed.jsonl

The last name is the file to be written.  A row gets `id`, `prompt`, `answer`,
`domain`, `discipline` and, where MATH has a level, `difficulty`, out of 5.  A
record without an answer has it in the last box of its solution.
"""

import dataclasses
import decimal
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from k15 import files
from k15 import streams
from k15.data import public_sets
from k15.data import rows
from k15.data_types import Example, Problem
from k15.vision import datasets
from k15.vision import references


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
  keep: references.Keep = references.forget,
  row_of: Callable[[dict[str, Any], str], dict[str, Any]] | None = None,
  repeats: bool = False,
) -> list[Example]:
  """Reads a JSONL, JSON or Parquet file, in its order.

  A row may have an `id`; by default it is the name of the file and the number
  of the line.  It may have `images`, or be laid out as verl and TRL do: see
  `k15.vision.datasets`.

  Args:
    path: ends with .jsonl, .json (an array of objects) or .parquet; JSONL may
      be compressed, .jsonl.gz.
    fields: of a row.
    may_lack_answers: whether a row may have no answer, an empty one, or a
      number that is not finite; the answer then is ''.
    answer_of: (row, place) -> answer, where no single field has it.
    keep: gets the pictures.
    row_of: (row, place) -> the row that is read in its place.
    repeats: whether rows are left out that have the prompt and the answer of
      one before.

  Raises:
    FileNotFoundError: no such file.
    ValueError: a row is not what it should be; says which and why.
  """
  examples, seen, folder = [], {}, pathlib.Path(path).parent
  met = set()
  for number, where, row in rows.read_rows(path):
    row = row_of(row, where) if row_of else row
    row = _flattened(row, fields, where)
    prompt = _text(row, fields.prompt, where)
    pictures = datasets.pictures_of(row.get('images'), where, folder, keep)
    if pictures:
      datasets.check_marks(prompt, len(pictures), where)
    example = Example(
      Problem(
        id=_label(row, 'id') or f'{pathlib.Path(path).name}:{number}',
        prompt=prompt,
        answer=answer_of(row, where)
        if answer_of
        else _answer(row, fields, where, may_lack_answers),
        domain=_label(row, fields.domain),
        difficulty=_difficulty(row, fields.difficulty, fields.hardest, where),
        discipline=_label(row, fields.discipline),
        images=pictures,
      ),
      response=_response(row, fields.response, where),
    )
    if repeats:
      known = example.problem.prompt, example.problem.answer
      if known in met:
        continue
      met.add(known)
    # Replay, records and measures know a problem by its id: responses to two of
    # one id would be of one problem.
    first = seen.setdefault(example.problem.id, where)
    if first != where:
      raise ValueError(f'{where}: id {example.problem.id!r} is also at {first}')
    examples.append(example)
  if not examples:
    raise ValueError(f'{path}: no problems in it')
  return examples


def read_file(
  path: str,
  fields: Fields,
  may_lack_answers: bool = False,
  keep: references.Keep = references.forget,
) -> list[Example]:
  """Reads a file with these fields, or one of `public_sets`, and says which.

  Raises:
    FileNotFoundError, ValueError: as `read_problems`; or the file is neither,
      or may be several.
  """
  first = rows.first_row(path)
  name = first and public_sets.recognised(
    first, fields.prompt, fields.answer, path
  )
  if not name:
    return read_problems(path, fields, may_lack_answers, keep=keep)
  known = public_sets.SETS[name]
  print(f'task: {path} is read as {name}: {known.takes}', flush=True)
  return read_problems(
    path,
    may_lack_answers=may_lack_answers,
    keep=keep,
    row_of=known.make,
    repeats=known.repeats,
  )


def _flattened(row, fields, where):
  try:
    return datasets.flattened(row, fields.prompt, fields.answer)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from None


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
  # Of each prompt the first copy: a permutation of all rows would hold out what
  # comes often more often.
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


def convert(paths: Sequence[str]) -> list[dict[str, Any]]:
  """Rows of all files; an answer that is missing is ''.

  Raises:
    ValueError: a row with neither `question` nor `problem`, or one whose
      fields are not what they should be; says which.
  """
  return [
    _math_row(record, f'{_two_names(path)}:{number}', where)
    for path in paths
    for number, where, record in rows.read_rows(path)
  ]


def _math_row(
  record: Mapping[str, Any], default_id: str, where: str
) -> dict[str, Any]:
  """The row of one record; `where` begins what it raises."""
  if 'question' in record:  # GSM8K
    prompt, level = record['question'], ''
    answer = boxed_answer(record, where).rpartition('####')[2].strip()
    discipline = 'word problems'
  elif 'problem' in record:  # MATH
    prompt, answer = record['problem'], boxed_answer(record, where)
    level = public_sets.first_of(record, 'level', 'difficulty')
    discipline = str(public_sets.first_of(record, 'type', 'subject')).casefold()
  else:
    raise ValueError(
      f"{where}: neither 'question' nor 'problem' among {sorted(record)}"
    )
  if not isinstance(prompt, str) or not prompt.strip():
    raise ValueError(
      f'{where}: the problem is {prompt!r}, and has to be a text'
    )
  return dict(
    id=str(public_sets.first_of(record, 'unique_id')) or default_id,
    prompt=prompt,
    answer=answer,
    domain=public_sets.MATHEMATICS,
    discipline=discipline,
    difficulty=public_sets.level_share(level, where),
  )


def _two_names(path):
  """MATH has train/1.json and test/1.json: the folder tells them apart."""
  return '/'.join(pathlib.Path(path).parts[-2:])


def boxed_answer(record: Mapping[str, Any], where: str) -> str:
  """The answer of a record: its own, or the last box of its solution."""
  return public_sets.boxed_answer(record, where)


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
    number = rows.number_text(value)
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
  # True is an int to Python, and Parquet has decimals.
  is_number = not isinstance(value, bool) and isinstance(
    value, int | float | decimal.Decimal
  )
  if not is_number or not 0 <= value <= most:
    raise ValueError(f'{where}: {field} {value!r} is outside [0, {most:g}]')
  return float(value) / most


def _prompt_key(example):
  problem = example.problem
  return ' '.join(problem.prompt.split()), problem.digests


if __name__ == '__main__':
  if len(sys.argv) < 3:
    sys.exit('usage: python -m k15.data.problems FILE... OUT.jsonl')
  try:
    found = convert(sys.argv[1:-1])
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  files.replace_jsonl(sys.argv[-1], found)
  print(f'{len(found)} problems')
