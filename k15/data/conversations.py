"""Conversations from files, and which of their tokens the assistant writes.

Kimi k1.5, section 2.5.2.  A row has `messages`, each with 'role' and 'content',
or a `prompt` and a `response`, or LLaVA's `conversations`.  The loss is on what
the assistant writes: its words and the token that ends its turn, in every turn
or in the last.

Pictures are in `images` or `image` of the row, or in the parts that a content
may be a list of.  '<image>' in what others than the assistant say, or a part
that is a picture, tells where each stands; otherwise they stand in front of the
first turn of the user.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from k15.data import rows
from k15.data_types import ImageRef
from k15.rewards import thinking as thinking_lib
from k15.rewards.thinking import CLOSES
from k15.rewards.thinking import OPENS
from k15.vision import datasets
from k15.vision import images as images_lib
from k15.vision import references
from k15.vision.sight import Sight

# Tokens int32 [T], and bool [T]: those that the assistant writes.
Encoded = tuple[np.ndarray, np.ndarray]
# Of messages and the pictures of their '<image>'.
Encode = Callable[[Sequence[dict[str, Any]], Sequence[ImageRef]], Encoded]
_ROLES = {'human': 'user', 'gpt': 'assistant'}  # LLaVA's names


class Conversation(NamedTuple):
  """Messages up to the last one of the assistant.

  Where there are pictures, '<image>' in the contents stands for each in turn;
  without any it is text.
  """

  where: str
  messages: list[dict[str, Any]]
  images: tuple[ImageRef, ...] = ()


class DataError(ValueError):
  """Something is wrong with the data of a stage; the message is a sentence."""


class Unusable(DataError):
  """A conversation that could be left out, and the others be learnt from."""


def read(
  path: str | pathlib.Path,
  on_unusable: Callable[[Unusable], None] | None = None,
  keep: references.Keep = references.forget,
) -> Iterator[Conversation]:
  """Yields the conversations of a JSONL or Parquet file, row by row.

  Args:
    path: of the file.
    on_unusable: is told of rows that are left out; None: they are errors.
    keep: gets the pictures.

  Raises:
    DataError: a row that is no conversation; says which and why.
  """
  folder = pathlib.Path(path).parent
  try:
    for _, where, row in rows.read_rows(path):
      try:
        talk = of_row(row, where, folder, keep)
      except Unusable as error:
        if on_unusable is None:
          raise
        on_unusable(error)
        continue
      yield talk
  except DataError:
    raise
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from None


def of_row(
  row: dict[str, Any],
  where: str,
  folder: pathlib.Path = pathlib.Path(),
  keep: references.Keep = references.forget,
) -> Conversation:
  """The conversation of a row.

  Fields of messages other than 'role' and 'content' are kept for the chat
  template, unless they are null.

  Args:
    where: begins what is raised.
    folder: that of the row's file, in which pictures may be files.
    keep: gets the pictures.

  Raises:
    DataError: Unusable if it is about what is said or shown.
  """
  parts = []  # those of contents that are pictures
  messages = [
    _message(message, f'{where}, message {i}', parts)
    for i, message in enumerate(_messages(row, where), 1)
  ]
  turns = [i for i, m in enumerate(messages) if m['role'] == 'assistant']
  if not turns:
    raise Unusable(f'{where}: no message is of the assistant')
  try:
    pictures = datasets.beside(row, parts)
    images = datasets.pictures_of(pictures, where, folder, keep)
  except images_lib.BadImage:  # What keeps them refused one.
    raise
  except ValueError as error:
    place = '' if str(error).startswith(where) else f'{where}: '
    raise Unusable(f'{place}{error}') from None
  if images:
    messages = _marked(messages, len(images), where)
  messages = messages[: turns[-1] + 1]
  return Conversation(where, messages, images[: _num_marks(messages)])


def _messages(row, where):
  if 'messages' in row:
    messages = row['messages']
  elif 'prompt' in row and 'response' in row:
    prompt = row['prompt']
    if not isinstance(prompt, list):
      prompt = [dict(role='user', content=prompt)]
    messages = [*prompt, dict(role='assistant', content=row['response'])]
  elif 'conversations' in row:
    messages = row['conversations']
    if isinstance(messages, list):
      messages = list(map(_of_llava, messages))
  else:
    raise DataError(
      f"{where}: neither 'messages' nor 'prompt' and 'response'; it has"
      f' {sorted(row)}'
    )
  if not isinstance(messages, list):
    raise DataError(f"{where}: 'messages' is a {type(messages).__name__}")
  return messages


def _of_llava(message):
  if not isinstance(message, dict) or not {'from', 'value'} <= message.keys():
    return message
  role = message['from']
  role = _ROLES.get(role, role) if isinstance(role, str) else role
  return dict(role=role, content=message['value'])


def _num_marks(messages):
  """Of pictures, which nobody shows but those who ask."""
  return sum(
    m['content'].count(references.MARK)
    for m in messages
    if m['role'] != 'assistant'
  )


def _marked(messages, count, where):
  """The messages with a mark where each of their pictures stands."""
  users = [i for i, m in enumerate(messages) if m['role'] == 'user']
  for i, message in enumerate(messages, 1):
    if message['role'] == 'assistant' and references.MARK in message['content']:
      raise Unusable(f'{where}, message {i}: the assistant shows a picture')
  marks = _num_marks(messages)
  if marks == count:
    return messages
  if marks or not users:
    raise Unusable(
      f'{where}: {marks} {references.MARK} and {count} pictures, of'
      f' {len(users)} messages of the user'
    )
  first = messages[users[0]]
  content = references.MARK * count + first['content']
  return [m | dict(content=content) if m is first else m for m in messages]


def make_encode(
  tokenizer: Any,
  is_chat: bool,
  prompt_suffix: str,
  loss_turns: str,
  sight: Sight | None = None,
) -> Encode:
  """Returns (messages, pictures) -> (tokens, mask), to the last turn's end.

  Args:
    tokenizer: `HfTokenizer` or `ByteTokenizer`.
    is_chat: whether its chat template writes them.  Otherwise what others
      write is followed by the suffix, and what the assistant writes by the
      end-of-sequence token.
    prompt_suffix: see there.
    loss_turns: 'all' turns of the assistant are learnt from, or the 'last'.
    sight: how the policy is shown pictures; None: it sees none.

  Returns:
    A function that raises Unusable for messages the template refuses, for one
    that does not write what it wrote before when a turn is added, and for
    placeholders that do not fit the pictures; DataError for a template that
    ends no turn, and for pictures that nobody sees.
  """

  def encode(messages, images=()):
    if images and not sight:
      raise DataError(
        f'it has {len(images)} pictures, and the policy sees none'
      )
    waiting = list(images)

    def put(text, go_on):
      """Tokens of what others say, each mark as those of its picture."""
      if not images:
        return go_on(text)
      own = waiting[: text.count(references.MARK)]
      del waiting[: len(own)]
      return sight.expanded(text, own, go_on, go_on)

    turns = [i for i, m in enumerate(messages) if m['role'] == 'assistant']
    if loss_turns == 'last':
      turns = turns[-1:]
    try:
      if is_chat:
        parts = _chat_parts(tokenizer, messages, turns, put)
      else:
        parts = _plain_parts(tokenizer, messages, turns, prompt_suffix, put)
      tokens = np.concatenate([tokens for tokens, _ in parts])
      if sight:
        sight.check_placeholders(tokens, images)
    except images_lib.BadImage as error:
      raise Unusable(str(error)) from None
    mask = np.concatenate([np.full(len(t), own) for t, own in parts])
    # The first token has nothing before it that could predict it.
    if mask[0]:
      raise Unusable('the assistant speaks first, and nothing is before it')
    # What a template writes behind the last answer predicts nothing that is
    # learnt, and would only fill rows.
    end = len(mask) - mask[::-1].argmax()
    return tokens[:end].astype(np.int32), mask[:end]

  return encode


def _plain_parts(tokenizer, messages, turns, prompt_suffix, put):
  # What begins a text comes once: in front of every message it would part the
  # conversation into texts.
  parts = [(tokenizer.begin(''), False)]
  for i, message in enumerate(messages):
    content = message['content']
    if message['role'] == 'assistant':
      if not content:
        raise Unusable(
          f'message {i + 1}: no content, and only a chat template writes calls'
          ' of tools'
        )
      tokens = np.append(tokenizer.encode(content), tokenizer.eos_id)
      parts.append((tokens, i in turns))
    elif content:
      parts.append((put(content + prompt_suffix, tokenizer.encode), False))
  return parts


def _chat_parts(tokenizer, messages, turns, put):
  """Pieces of the rendered text, each made into tokens by itself.

  At inference the prompt becomes tokens without the answer: a token that
  spanned the border could not come up there.
  """
  whole, done, parts = _render(tokenizer, messages, False), 0, []
  for i in turns:
    is_last = i + 1 == len(messages)
    before = _render(tokenizer, messages[:i], True)
    after = whole if is_last else _render(tokenizer, messages[: i + 1], False)
    words = after.removeprefix(before)
    goes_on = after.startswith(before) and not _is_lost(messages[i], words)
    if before[:done] != whole[:done] or not (
      is_last or goes_on and whole.startswith(after)
    ):
      raise Unusable(
        f'message {i + 1}: the chat template does not go on from what it wrote'
        " for the messages before; loss_turns 'last' asks it for the last turn"
        ' only'
      )
    parts.append((put(before[done:], tokenizer.encode_rendered), False))
    if goes_on:
      tokens = tokenizer.encode_rendered(words)
    else:
      words = _as_sampled(before, messages[i], i + 1)
      tokens = tokenizer.encode_rendered(words)
      tokens = np.append(tokens, tokenizer.turn_end_id)
    parts += _turn_parts(tokenizer, tokens, words, i + 1)
    done = len(after)
  return parts


def _is_lost(message, words):
  """Whether the template left out the thinking of a message."""
  return CLOSES in message['content'] and CLOSES not in words


def _as_sampled(before, message, number):
  """What the policy would have written after the prompt to say a message.

  Templates of models that think leave the thinking out, or begin it in the
  prompt: what they make of a message is not how it came about.
  """
  text, thinking = message['content'], message.get('reasoning_content')
  if thinking and CLOSES not in text:
    text = f'{OPENS}\n{thinking}\n{CLOSES}\n\n{text}'
  if not before.rstrip().endswith(OPENS):
    return text
  if CLOSES not in text:
    raise Unusable(
      f'message {number}: the chat template begins it by {OPENS!r}, and it has'
      f" no {CLOSES!r}: its thinking is to be in 'content' before"
      f" {CLOSES!r}, or in 'reasoning_content'"
    )
  return thinking_lib.continued(before, text)


def _turn_parts(tokenizer, tokens, text, number):
  """What the assistant writes, and what the template adds after its end."""
  ends = np.flatnonzero(np.isin(tokens, tokenizer.eos_ids))
  count = f'message {number}: {len(ends)} tokens end the turn, and has to be 1'
  if not len(ends):
    raise DataError(
      f'{count}: the chat template writes {text[-40:]!r}, and none of the end'
      f' tokens {list(tokenizer.eos_ids)}; give the checkpoint a'
      ' chat_template.jinja that ends the turns of the assistant by one, or set'
      ' task.use_chat_template=False'
    )
  own, rest = tokens[: ends[0] + 1], tokens[ends[0] + 1 :]
  if tokenizer.decode(rest).strip():
    raise Unusable(
      f'{count}: a token that ends a turn is among the words: {text[-40:]!r}'
    )
  if not tokenizer.decode(own).strip():
    raise Unusable(
      f'message {number}: the chat template writes nothing of what it holds'
    )
  return (own, True), (rest, False)


def _render(tokenizer, messages, add_generation_prompt):
  try:
    return tokenizer.render(messages, add_generation_prompt)
  except ValueError as error:
    raise Unusable(str(error)) from None


def _message(message, where, pictures):
  """One of a row; without content only where something else is said.

  What of a content is a picture is added to `pictures`.
  """
  if not isinstance(message, dict):
    raise Unusable(f'{where}: a {type(message).__name__}, not an object')
  message = {key: value for key, value in message.items() if value is not None}
  if isinstance(message.get('content'), list):
    try:
      message['content'], found = datasets.said(message['content'])
    except ValueError as error:
      raise Unusable(f'{where}: {error}') from None
    pictures += found
  may_be_empty = message.get('tool_calls') or (
    message.get('role') in ('system', 'tool')
  )
  if may_be_empty:
    message.setdefault('content', '')
  for field in ('role', 'content'):
    value = message.get(field)
    may_be_blank = may_be_empty and field == 'content'
    if not isinstance(value, str) or not (value.strip() or may_be_blank):
      raise Unusable(f'{where}: {field!r} is {value!r}, and has to be a text')
  return message
