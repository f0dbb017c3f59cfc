"""Public data sets of problems, known by their columns, as rows of one form.

Each is a page of the hub's data sets: openai/gsm8k,
EleutherAI/hendrycks_math and HuggingFaceH4/MATH-500,
BytedTsinghua-SIA/DAPO-Math-17k and open-r1/DAPO-Math-17k-Processed,
AI-MO/NuminaMath-CoT and NuminaMath-1.5,
agentica-org/DeepScaleR-Preview-Dataset, open-r1/OpenR1-Math-220k,
Maxwell-Jia/AIME_2024 and HuggingFaceH4/aime_2024,
livecodebench/code_generation_lite.  Files that have the columns which a config
names are none of these, whatever else they have.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from k15.data import rows
from k15.rewards.answers import verify
from k15.rewards.code import contests

Row = dict[str, Any]
MATHEMATICS = 'mathematics'
# What NuminaMath-1.5 has instead of an answer that can be compared.
_NO_ANSWERS = ('proof', 'notfound')


@dataclasses.dataclass(frozen=True)
class PublicSet:
  """Attributes:
  columns: those that tell it from the others before which it stands.
  prompt: the one that has the problem.
  takes: in words, what becomes of columns.
  make: (row, place) -> a row with the default names of `problems.Fields`.
  repeats: whether it has the same row many times, of which one is enough.
  source: of `data_source`, where columns alone do not tell it.
  """

  columns: tuple[str, ...]
  prompt: str
  takes: str
  make: Callable[[Row, str], Row]
  repeats: bool = False
  source: str = ''


def recognised(row: Row, prompt: str, answer: str, path: str) -> str:
  """Which of SETS a file is, by its first row; '': it has its own columns.

  Args:
    row: the first one.
    prompt, answer: columns of a file of the user's, which come first.
    path: begins what is raised.

  Raises:
    ValueError: it is none, or may be several; names the columns found.
  """
  if prompt in row and answer in row:
    return ''
  found = [
    name
    for name, known in SETS.items()
    if row.keys() >= set(known.columns)
    and (not known.source or row.get('data_source') == known.source)
  ]
  prompts = {SETS[name].prompt for name in found}
  if len(prompts) > 1:
    raise ValueError(
      f'{path}: it may be any of {found}, whose problems are in'
      f' {sorted(prompts)}: task.prompt_field and task.answer_field have to'
      f' name its columns, {sorted(row)}'
    )
  if not found and prompt not in row:
    raise ValueError(
      f'{path}: no field {prompt!r}, as task.prompt_field has it; it has'
      f' {sorted(row)}, the columns of no data set that is known'
    )
  return found[0] if found else ''


def boxed_answer(record: Mapping[str, Any], where: str) -> str:
  """The answer of a record: its own, or the last box of its solution."""
  answer = _loose_text(record, 'answer', where).strip()
  if answer:
    return answer
  return verify.boxed(_loose_text(record, 'solution', where)) or ''


def first_of(record: Mapping[str, Any], *fields: str) -> Any:
  """The first of the fields that says something; '' if none does.

  Tables write NaN for what is missing.
  """
  values = (record.get(field) for field in fields)
  return next((v for v in values if v not in (None, '') and v == v), '')


def level_share(level: Any, where: str) -> float | None:
  """A level of 'Level 1' to 'Level 5' as a share; None where nobody knows."""
  text = str(level).casefold().removeprefix('level').replace('?', '').strip()
  try:
    share = float(text) / 5 if text else None
  except ValueError:
    share = math.nan
  if share is not None and not 0 <= share <= 1:
    raise ValueError(f'{where}: no level from 0 to 5: {level!r}')
  return share


def _loose_text(record, field, where):
  """A field as text; '' where it is missing, null or not a finite number."""
  value = record.get(field)
  if value is None or isinstance(value, str):
    return value or ''
  try:
    number = rows.number_text(value)
  except ValueError:
    return ''
  if number is None:
    raise ValueError(
      f'{where}: field {field!r} is a {type(value).__name__}, not text'
    )
  return number


def _row(prompt, answer, response='', discipline='', difficulty=None):
  return dict(
    prompt=prompt,
    answer=answer,
    response=response,
    domain=MATHEMATICS,
    discipline=discipline,
    difficulty=difficulty,
  )


def _gsm8k(row, where):
  solution = _loose_text(row, 'answer', where)
  answer = solution.rpartition('####')[2].strip()
  response = solution if '####' in solution else ''
  return _row(row['question'], answer, response, 'word problems')


def _math(row, where):
  level = first_of(row, 'level', 'difficulty')
  discipline = str(first_of(row, 'type', 'subject')).casefold()
  answer, response = boxed_answer(row, where), row.get('solution')
  share = level_share(level, where)
  return _row(row['problem'], answer, response, discipline, share)


def _dapo(row, where):
  """The prompt stays with its instructions, and may be messages."""
  reward = row['reward_model']
  if not isinstance(reward, Mapping):
    raise ValueError(f"{where}: field 'reward_model' is no object")
  return _row(row['prompt'], reward.get('ground_truth'))


def _solved(row, where):
  """Of a problem, an answer or a box, and a solution."""
  answer = boxed_answer(row, where)
  answer = '' if answer.casefold() in _NO_ANSWERS else answer
  discipline = str(first_of(row, 'problem_type')).casefold()
  return _row(row['problem'], answer, row.get('solution'), discipline)


def _open_r1(row, where):
  """The response is the first generation that was found right."""
  right = zip(
    row['generations'] or (), row['correctness_math_verify'] or (), strict=False
  )
  response = next((text for text, is_right in right if is_right), '')
  return _solved(row, where) | dict(response=response)


def _aime(row, where):
  answer = _loose_text(row, 'Answer', where)
  return _row(row['Problem'], answer, row.get('Solution'))


def _livecodebench(row, where):
  try:
    return contests.livecodebench(row)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from None


_PROBLEM = "prompt 'problem', answer "
_SOLVED = _PROBLEM + "'answer' or the last box, response 'solution'"
# The first of several that a file may be, where their problems are in the same
# column.
SETS = {
  'LiveCodeBench': PublicSet(
    ('question_content', 'public_test_cases', 'private_test_cases'),
    'question_content', "prompt 'question_content', answer its tests",
    _livecodebench,
  ),
  'DAPO-Math-17k': PublicSet(
    ('data_source', 'prompt', 'ability', 'reward_model'), 'prompt',
    "prompt 'prompt', answer 'reward_model.ground_truth', each row once",
    _dapo, repeats=True, source='math_dapo',
  ),
  'OpenR1-Math': PublicSet(
    ('problem', 'answer', 'generations', 'correctness_math_verify'), 'problem',
    _PROBLEM + "'answer', response the first of 'generations' that is right",
    _open_r1,
  ),
  'MATH': PublicSet(
    ('problem', 'solution', 'level'), 'problem',
    _SOLVED + ", difficulty 'level'", _math,
  ),
  'NuminaMath': PublicSet(
    ('problem', 'solution', 'source'), 'problem', _SOLVED, _solved
  ),
  'AIME': PublicSet(('problem', 'answer', 'url'), 'problem', _SOLVED, _solved),
  'DeepScaleR': PublicSet(
    ('problem', 'answer', 'solution'), 'problem', _SOLVED, _solved
  ),
  'AIME in capitals': PublicSet(
    ('Problem', 'Answer'), 'Problem',
    "prompt 'Problem', answer 'Answer', response 'Solution'", _aime,
  ),
  'GSM8K': PublicSet(
    ('question', 'answer'), 'question',
    "prompt 'question', answer what follows '####' in 'answer', response"
    " 'answer'", _gsm8k,
  ),
}  # fmt: skip
