"""Conversations from files, and which of their tokens the assistant writes.

Kimi k1.5, section 2.5.2.  A row has `messages`, each with 'role' and 'content',
or a `prompt` and a `response`.  The loss is on what the assistant writes: its
words and the token that ends its turn, in every turn or in the last.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from k15 import data

# Tokens int32 [T], and bool [T]: those that the assistant writes.
Encoded = tuple[np.ndarray, np.ndarray]
Encode = Callable[[Sequence[dict[str, Any]]], Encoded]


class DataError(ValueError):
  """Something is wrong with the data of a stage; the message is a sentence."""


def read(path: str | pathlib.Path) -> Iterator[tuple[str, list[dict]]]:
  """Yields (where, messages) of a JSONL or Parquet file, row by row.

  Raises:
    DataError: a row that is no conversation; says which and why.
  """
  try:
    for _, where, row in data.read_rows(path):
      yield where, messages_of(row, where)
  except DataError:
    raise
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from None


def messages_of(row: dict[str, Any], where: str) -> list[dict[str, Any]]:
  """The messages of a row, up to the last one of the assistant.

  Fields other than 'role' and 'content' are kept for the chat template, unless
  they are null.

  Raises:
    DataError: begins with `where`.
  """
  if 'messages' in row:
    messages = row['messages']
  elif 'prompt' in row and 'response' in row:
    messages = [
      dict(role='user', content=row['prompt']),
      dict(role='assistant', content=row['response']),
    ]
  else:
    raise DataError(
      f"{where}: neither 'messages' nor 'prompt' and 'response'; it has"
      f' {sorted(row)}'
    )
  if not isinstance(messages, list):
    raise DataError(f"{where}: 'messages' is a {type(messages).__name__}")
  messages = [
    _message(message, f'{where}, message {i}')
    for i, message in enumerate(messages, 1)
  ]
  turns = [i for i, m in enumerate(messages) if m['role'] == 'assistant']
  if not turns:
    raise DataError(f'{where}: no message is of the assistant')
  return messages[: turns[-1] + 1]


def make_encode(
  tokenizer: Any, is_chat: bool, prompt_suffix: str, loss_turns: str
) -> Encode:
  """Returns messages -> (tokens, mask), up to the end of the last turn.

  Args:
    tokenizer: `HfTokenizer` or `ByteTokenizer`.
    is_chat: whether its chat template writes them.  Otherwise what others
      write is followed by the suffix, and what the assistant writes by the
      end-of-sequence token.
    prompt_suffix: see there.
    loss_turns: 'all' turns of the assistant are learnt from, or the 'last'.

  Returns:
    A function that raises DataError for messages the template refuses, and for
    one that does not write what it wrote before when a turn is added.
  """

  def encode(messages):
    turns = [i for i, m in enumerate(messages) if m['role'] == 'assistant']
    if loss_turns == 'last':
      turns = turns[-1:]
    if is_chat:
      parts = _chat_parts(tokenizer, messages, turns)
    else:
      parts = _plain_parts(tokenizer, messages, turns, prompt_suffix)
    tokens = np.concatenate([tokens for tokens, _ in parts])
    mask = np.concatenate([np.full(len(t), own) for t, own in parts])
    if mask[0]:
      raise DataError('the assistant speaks first, and nothing is before it')
    end = len(mask) - mask[::-1].argmax()
    return tokens[:end].astype(np.int32), mask[:end]

  return encode


def _plain_parts(tokenizer, messages, turns, prompt_suffix):
  parts = []
  for i, message in enumerate(messages):
    if message['role'] == 'assistant':
      tokens = np.append(tokenizer.encode(message['content']), tokenizer.eos_id)
      parts.append((tokens, i in turns))
    else:
      parts.append(
        (tokenizer.encode(message['content'] + prompt_suffix), False)
      )
  return parts


def _chat_parts(tokenizer, messages, turns):
  """Pieces of the rendered text, each made into tokens by itself.

  At inference the prompt becomes tokens without the answer: a token that
  spanned the border could not come up there.
  """
  whole, done, parts = _render(tokenizer, messages, False), 0, []
  for i in turns:
    before = _render(tokenizer, messages[:i], True)
    after = _render(tokenizer, messages[: i + 1], False)
    if not (whole.startswith(after) and after.startswith(before)):
      raise DataError(
        f'message {i + 1}: the chat template does not go on from what it wrote'
        " for the messages before; loss_turns 'last' asks it for the last turn"
        ' only'
      )
    parts.append((tokenizer.encode_rendered(whole[done : len(before)]), False))
    parts += _turn_parts(tokenizer, after[len(before) :], i + 1)
    done = len(after)
  return parts


def _turn_parts(tokenizer, text, number):
  """What the assistant writes, and what the template adds after its end."""
  tokens = tokenizer.encode_rendered(text)
  ends = np.flatnonzero(np.isin(tokens, tokenizer.eos_ids))
  if len(ends) != 1:
    raise DataError(
      f'message {number}: {len(ends)} tokens end the turn, and has to be 1:'
      f' {text[-40:]!r}'
    )
  return (tokens[: ends[0] + 1], True), (tokens[ends[0] + 1 :], False)


def _render(tokenizer, messages, add_generation_prompt):
  try:
    return tokenizer.render(messages, add_generation_prompt)
  except ValueError as error:
    raise DataError(str(error)) from None


def _message(message, where):
  if not isinstance(message, dict):
    raise DataError(f'{where}: a {type(message).__name__}, not an object')
  for field in ('role', 'content'):
    value = message.get(field)
    if not isinstance(value, str) or not value.strip():
      raise DataError(f'{where}: {field!r} is {value!r}, and has to be a text')
  return {key: value for key, value in message.items() if value is not None}
