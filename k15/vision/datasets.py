"""Rows with pictures, as they are published, and users' own.

  geometry3k   hiyouga/geometry3k: `images`, `problem`, `answer`
  mathvista    AI4Math/MathVista: `decoded_image`, `choices`, `precision`
  mmmu         MMMU/MMMU: `image_1` to `image_7`, `options` as a Python list
  mathvision   MathLLMs/MathVision: `decoded_image`, `options`, `level`

Users' rows have `images` beside their prompt, and may be in the layouts of verl
and of TRL, whose prompts are messages.  A picture is a struct of `bytes` and
`path`, as Hugging Face's `Image` is in Parquet, or bytes, a data URL, or the
name of a file below the folder of its row's file.  Whatever a row holds, it is
data: nothing of it is evaluated, and no picture is opened unbounded.
"""

import ast
import base64
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import streams
from k15.data_types import ImageRef, Problem
from k15.rewards import choices
from k15.vision import images
from k15.vision import references
from k15.vision import store

MAX_PICTURES = 64  # of a row
_NUMBERED = re.compile(r'<image ?(\d{1,3})>')  # MMMU's, and MathVision's
_DATA_URL = re.compile(r'data:image/[a-z.+-]{1,20};base64,')
_LONGEST_LIST = 20000  # characters of options that are a text
_LETTERS = choices.LETTERS
# Fields that hold a picture: of Hugging Face's struct, verl's, and of parts.
_HOLDERS = ('bytes', 'path', 'image', 'image_url', 'url')


@dataclasses.dataclass(frozen=True, eq=False)
class _Row:
  """What a reader makes of a row, before its pictures are opened."""

  id: str
  prompt: str
  answer: str
  pictures: Sequence[Any]
  domain: str = ''
  discipline: str = ''
  difficulty: float | None = None


def read_row(
  kind: str,
  row: Mapping[str, Any],
  where: str,
  folder: pathlib.Path,
  seed: int,
  keep: references.Keep = references.forget,
) -> Problem:
  """The problem of a row of a public set.

  Args:
    kind: one of READERS.
    where: begins what is raised, and says where a picture came from.
    folder: that of the row's file, in which pictures may be files.
    seed: of the order of options.
    keep: gets every picture.

  Returns:
    The problem; its answer is '' where that is not published.

  Raises:
    ValueError: a field is missing or not what it should be; says which.
  """
  try:
    found = READERS[kind](row, seed)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from None
  if not found.pictures:
    raise ValueError(f'{where}: no picture')
  pictures = pictures_of(found.pictures, where, folder, keep)
  check_marks(found.prompt, len(pictures), where)
  return Problem(
    id=found.id or where,
    prompt=found.prompt,
    answer=found.answer,
    domain=found.domain,
    difficulty=found.difficulty,
    discipline=found.discipline,
    images=pictures,
  )


def pictures_of(
  values: Any,
  where: str,
  folder: pathlib.Path,
  keep: references.Keep = references.forget,
) -> tuple[ImageRef, ...]:
  """The pictures of a row, opened, named and handed over one by one.

  Args:
    values: a picture or a list of them; or references, which a run wrote.

  Raises:
    ValueError: which picture is broken, too large, or not to be found.
  """
  if values is None:
    return ()
  values = values if isinstance(values, list | tuple) else [values]
  if len(values) > MAX_PICTURES:
    raise ValueError(f'{where}: {len(values)} pictures, over {MAX_PICTURES}')
  found = []
  for number, value in enumerate(values, 1):
    name = f'{where}, picture {number}'
    try:
      if isinstance(value, Mapping) and 'digest' in value:
        # Its pixels, if the run that wrote it has kept them.
        image, pixels = _reference(value), None
        if keep is not references.forget:
          pixels = store.of_run(folder, image.digest)
      else:
        pixels = images.decode(_data(value, folder))
        image = references.of_pixels(pixels, name)
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from None
    if pixels is not None:
      keep(image, pixels)
    found.append(image)
  return tuple(found)


def check_marks(prompt: str, pictures: int, where: str) -> None:
  """Refuses marks that are not as many as the pictures; none is in front."""
  marks = prompt.count(references.MARK)
  if marks not in (0, pictures):
    raise ValueError(
      f'{where}: {marks} {references.MARK} and {pictures} pictures'
    )


def _reference(value):
  """A reference as `Problem.to_record` wrote it."""
  names = {field.name: field.type for field in dataclasses.fields(ImageRef)}
  if value.keys() != names.keys() or not all(
    isinstance(value[name], kind) for name, kind in names.items()
  ):
    raise ValueError(f'no reference to a picture: it has {sorted(value)}')
  if not re.fullmatch('[0-9a-f]{64}', value['digest']):
    raise ValueError(f'{value["digest"][:80]!r} is no digest of a picture')
  return ImageRef(**value)


def _data(value, folder):
  """The bytes of a picture's file."""
  while isinstance(value, Mapping):
    value = next(filter(None, map(value.get, _HOLDERS)), None)
  if isinstance(value, bytes):
    return value
  if not isinstance(value, str):
    raise ValueError(f'a {type(value).__name__}, not a picture')
  url = _DATA_URL.match(value)
  if url:
    if len(value) > 4 * images.MOST_BYTES // 3 + 100:
      raise ValueError(f'{len(value)} letters, more than a picture may have')
    return base64.b64decode(value[url.end() :], validate=True)
  return _file(value, folder)


def _file(name, folder):
  """The bytes of a file in the folder of its row, or in a folder of that."""
  if '\0' in name or '://' in name:
    raise ValueError(f'{name[:80]!r} is no name of a file')
  folder = folder.resolve()
  try:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
      raise ValueError(f'{name[:80]!r} is not in {folder}')
    if not path.is_file():
      raise ValueError(f'no file {name[:80]!r} in {folder}')
    if path.stat().st_size > images.MOST_BYTES:
      raise ValueError(f'{name[:80]!r} has more than {images.MOST_BYTES} bytes')
    return path.read_bytes()
  except (OSError, RuntimeError) as error:  # Its text repeats the name.
    reason = getattr(error, 'strerror', None) or type(error).__name__
    raise ValueError(f'{name[:80]!r}: {reason}') from None


def geometry3k(row: Mapping[str, Any], seed: int) -> _Row:
  """A row of `images`, `problem` with marks, `answer`, a text or a number."""
  del seed
  return _Row(
    id=str(row.get('id') or ''),
    prompt=_text(row, 'problem'),
    answer=_answer(row),
    pictures=_list(row, 'images'),
    domain='geometry',
  )


def mathvista(row: Mapping[str, Any], seed: int) -> _Row:
  """MathVista's: options become letters, and the unit stands in the prompt.

  `precision` is the decimals that the answer has already.
  """
  question, unit = _text(row, 'question'), row.get('unit') or ''
  if unit:
    question = f'{question} (Unit: {unit})'
  metadata = row.get('metadata') or {}
  options = [str(option) for option in row.get('choices') or ()]
  if row.get('question_type') == 'multi_choice' or options:
    answer = _answer(row)
    if answer and answer not in options:
      raise ValueError(f'the answer {answer!r} is not among {options}')
    right = options.index(answer) if answer else None
    question, answer = _with_options(question, options, right, seed)
  else:
    answer = _answer(row)
  return _Row(
    id=str(row.get('pid') or ''),
    prompt=question,
    answer=answer,
    pictures=[row.get('decoded_image') or row.get('image')],
    domain=str(metadata.get('task') or ''),
    discipline=str(metadata.get('context') or ''),
  )


def mmmu(row: Mapping[str, Any], seed: int) -> _Row:
  """MMMU's: its options and its several answers are texts of Python lists."""
  question, options = _text(row, 'question'), _strings(row.get('options'))
  answer = _answer(row)
  if row.get('question_type') == 'open' or not options:
    many = _strings(answer) if answer.startswith('[') else [answer]
    answer = choices.of_several(many) if answer else ''
  else:
    right = _place_of(answer, options)
    question, answer = _with_options(question, options, right, seed)
  given = ((i, row.get(f'image_{i}')) for i in range(1, 8))
  question, pictures = _in_order(question, {i: p for i, p in given if p})
  return _Row(
    id=str(row.get('id') or ''),
    prompt=question,
    answer=answer,
    pictures=pictures,
    domain=str(row.get('topic_difficulty') or ''),
    discipline=str(row.get('subfield') or ''),
  )


def mathvision(row: Mapping[str, Any], seed: int) -> _Row:
  """MATH-Vision's: one picture, whatever the marks; levels 1 to 5."""
  question = _NUMBERED.sub('', _text(row, 'question')).strip()
  options = [str(option) for option in _list(row, 'options')]
  answer = _answer(row)
  if options:
    right = _place_of(answer, options)
    options = [_NUMBERED.sub('', option).strip() for option in options]
    question, answer = _with_options(question, options, right, seed)
  level = str(row.get('level') or '')
  if level and level not in '12345':
    raise ValueError(f'level {level!r}, not 1 to 5')
  return _Row(
    id=str(row.get('id') or ''),
    prompt=question,
    answer=answer,
    pictures=[row.get('decoded_image') or row.get('image')],
    domain='mathematics',
    discipline=str(row.get('subject') or ''),
    difficulty=int(level) / 5 if level else None,
  )


READERS: dict[str, Callable[[Mapping[str, Any], int], _Row]] = {
  'geometry3k': geometry3k,
  'mathvista': mathvista,
  'mmmu': mmmu,
  'mathvision': mathvision,
}


def flattened(row: dict[str, Any], prompt: str, answer: str) -> dict[str, Any]:
  """A row of verl or TRL, whose prompt is messages, as one of plain texts.

  verl has messages with marks in their text, `images`, and the answer in
  `reward_model`; TRL's messages may be parts, of which some are pictures, and
  `image` may be one.  Any other row stays.

  Args:
    prompt, answer: the fields that these are in.

  Raises:
    ValueError: messages of several turns, parts that are neither text nor a
      picture, or what `beside` refuses.
  """
  flat, parts = dict(row), []
  messages = row.get(prompt)
  if isinstance(messages, list) and all(map(_is_message, messages)):
    turns = [m for m in messages if m['role'] != 'system']
    if len(turns) != 1:
      raise ValueError(f'{len(turns)} turns in {prompt!r}, and one is asked')
    content = turns[0].get('content')
    content = content if isinstance(content, list) else [content]
    flat[prompt], parts = said(content)
    reward = row.get('reward_model')
    if answer not in row and isinstance(reward, Mapping):
      flat[answer] = reward.get('ground_truth')
  pictures = beside(row, parts)
  return flat if pictures is None else flat | dict(images=pictures)


def said(content: Sequence[Any]) -> tuple[str, list[Mapping[str, Any]]]:
  """The text of a message's parts, and those of them that are pictures.

  A part is a text, {type: 'text', text: ...}, or {type: 'image'}, which may
  hold its picture too; OpenAI's is {type: 'image_url', image_url: {url: ...}}.

  Raises:
    ValueError: a part is neither a text nor a picture.
  """
  texts, pictures = [], []
  for part in content:
    kind = part.get('type') if isinstance(part, Mapping) else ''
    if isinstance(part, str):
      texts.append(part)
    elif kind in ('image', 'image_url'):
      texts.append(references.MARK)
      pictures.append(part)
    elif isinstance(part, Mapping) and isinstance(part.get('text'), str):
      texts.append(part['text'])
    else:
      raise ValueError(f'a part of a message is {str(part)[:80]}')
  return ''.join(texts), pictures


def beside(row: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> Any:
  """The pictures of a row, in its `images` or `image` or in its parts.

  Raises:
    ValueError: a part has no picture, and there are none beside the messages;
      or they are in both.
  """
  values = row.get('images')
  values = row.get('image') if values is None else values
  own = [part for part in parts if any(map(part.get, _HOLDERS))]
  if own and (values or len(own) < len(parts)) or parts and not (own or values):
    raise ValueError(
      f'{len(parts)} parts of messages are pictures, {len(own)} hold one, and'
      f' there are {"some" if values else "none"} beside the messages'
    )
  return own or values or None


def _is_message(value):
  return isinstance(value, Mapping) and isinstance(value.get('role'), str)


def _place_of(letter, options):
  """The number of the option that a letter names; None where none is told."""
  if not letter:
    return None
  place = _LETTERS.find(letter) if len(letter) == 1 else -1
  if not 0 <= place < len(options):
    raise ValueError(f'the answer {letter[:80]!r} is none of {len(options)}')
  return place


def _with_options(question, options, right, seed):
  """Question with lettered options in an order of the seed, and a reference.

  Options whose own texts are letters are in the picture, and stay in order.
  """
  if len(options) > len(_LETTERS):
    raise ValueError(f'{len(options)} options')
  name = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4])
  order = np.arange(len(options))
  if not set(options) <= set(_LETTERS):
    order = streams.rng(seed, 'options', name).permutation(order)
  texts = [options[k] for k in order]
  lines = [f'{a}. {b}' for a, b in zip(_LETTERS, texts, strict=False)]
  prompt = '\n'.join([question, '', *lines])
  if right is None:
    return prompt, ''
  letter = _LETTERS[list(order).index(right)]
  return prompt, choices.of_options(letter, texts)


def _in_order(text, pictures):
  """Numbered marks as plain ones, and the pictures as the text names them.

  A picture that is not named stands in front.
  """
  named = [int(number) for number in _NUMBERED.findall(text)]
  missing = [number for number in named if number not in pictures]
  if missing:
    raise ValueError(f'pictures {missing} are named and not there')
  rest = [number for number in pictures if number not in named]
  text = references.MARK * len(rest) + _NUMBERED.sub(references.MARK, text)
  return text, [pictures[number] for number in [*rest, *named]]


def _strings(value):
  """A list of texts; of a text, the Python list that it spells."""
  if isinstance(value, str):
    if len(value) > _LONGEST_LIST:
      raise ValueError(f'a list of {len(value)} letters')
    try:
      value = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
      raise ValueError(f'no list of texts: {value[:80]!r}') from None
  value = [] if value is None else value
  if not isinstance(value, list) or not all(
    isinstance(each, str | int | float) for each in value
  ):
    raise ValueError(f'no list of texts: {str(value)[:80]!r}')
  return list(map(str, value))


def _text(row, field):
  value = row.get(field)
  if isinstance(value, int | float) and not isinstance(value, bool):
    value = str(value)
  if not isinstance(value, str) or not value.strip():
    raise ValueError(f'{field!r} is {str(value)[:80]!r}, not a text')
  return value.strip()


def _answer(row):
  """The answer; '' where it is not published, or '?' as MMMU writes that."""
  value = row.get('answer')
  return '' if value in (None, '', '?') else _text(row, 'answer')


def _list(row, field):
  value = row.get(field)
  if value is None:
    return []
  if not isinstance(value, list):
    raise ValueError(f'{field!r} is a {type(value).__name__}, not a list')
  return value
