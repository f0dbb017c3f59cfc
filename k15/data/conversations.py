"""Conversations from files, and which of their tokens the assistant writes.

Kimi k1.5, section 2.5.2.  A row has `messages`, each with 'role' and 'content',
or a `prompt` and a `response`.  The loss is on what the assistant writes: its
words and the token that ends its turn, in every turn or in the last.

A stage has its conversations as tokens, in one mapped file of the workdir:
files are read once, row by row, whatever their size, and training then takes
any example from the map without holding the others in memory.  A token that
enters the loss is written as its complement, so that one file holds the mask
too.
"""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15.data import rows
from k15.rewards.thinking import CLOSES
from k15.rewards.thinking import OPENS

# Tokens int32 [T], and bool [T]: those that the assistant writes.
Encoded = tuple[np.ndarray, np.ndarray]
Encode = Callable[[Sequence[dict[str, Any]]], Encoded]


class DataError(ValueError):
  """Something is wrong with the data of a stage; the message is a sentence."""


class Unusable(DataError):
  """A conversation that could be left out, and the others be learnt from."""


def read(
  path: str | pathlib.Path,
  on_unusable: Callable[[Unusable], None] | None = None,
) -> Iterator[tuple[str, list[dict]]]:
  """Yields (where, messages) of a JSONL or Parquet file, row by row.

  Args:
    path: of the file.
    on_unusable: is told of rows that are left out; None: they are errors.

  Raises:
    DataError: a row that is no conversation; says which and why.
  """
  try:
    for _, where, row in rows.read_rows(path):
      try:
        messages = messages_of(row, where)
      except Unusable as error:
        if on_unusable is None:
          raise
        on_unusable(error)
        continue
      yield where, messages
  except DataError:
    raise
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from None


def messages_of(row: dict[str, Any], where: str) -> list[dict[str, Any]]:
  """The messages of a row, up to the last one of the assistant.

  Fields other than 'role' and 'content' are kept for the chat template, unless
  they are null.

  Raises:
    DataError: begins with `where`; Unusable if it is about what is said.
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
    raise Unusable(f'{where}: no message is of the assistant')
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
    A function that raises Unusable for messages the template refuses, and for
    one that does not write what it wrote before when a turn is added; DataError
    for a template that ends no turn.
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
    # The first token has nothing before it that could predict it.
    if mask[0]:
      raise Unusable('the assistant speaks first, and nothing is before it')
    # What a template writes behind the last answer predicts nothing that is
    # learnt, and would only fill rows.
    end = len(mask) - mask[::-1].argmax()
    return tokens[:end].astype(np.int32), mask[:end]

  return encode


def _plain_parts(tokenizer, messages, turns, prompt_suffix):
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
      parts.append((tokenizer.encode(content + prompt_suffix), False))
  return parts


def _chat_parts(tokenizer, messages, turns):
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
    parts.append((tokenizer.encode_rendered(before[done:]), False))
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
  return continued(before, text)


def continued(prompt: str, text: str) -> str:
  """A text that is learnt after a prompt, without thinking begun twice."""
  has_both = prompt.rstrip().endswith(OPENS) and text.lstrip().startswith(OPENS)
  if not has_both:
    return text
  text = text.lstrip().removeprefix(OPENS)
  return text.lstrip('\n') if prompt.endswith('\n') else text


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


def _message(message, where):
  """One of a row; without content only where something else is said."""
  if not isinstance(message, dict):
    raise Unusable(f'{where}: a {type(message).__name__}, not an object')
  message = {key: value for key, value in message.items() if value is not None}
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


_FORMAT = 3  # 3: what is evaluated is known within other words


class TokenStore:
  """Examples by number, file after file.

  Attributes:
    lengths: int64 [N], tokens of each example.
    sizes: examples of each file.
    dropped: reason -> how many were left out.
  """

  def __init__(self, directory: pathlib.Path):
    index = json.loads((directory / 'index.json').read_text())
    self.sizes, self.dropped = index['sizes'], index['dropped']
    self._offsets = np.load(directory / 'offsets.npy')
    self.lengths = np.diff(self._offsets)
    self._tokens = np.memmap(directory / 'tokens.bin', np.int32, 'r')

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, i: int) -> Encoded:
    stored = np.array(self._tokens[self._offsets[i] : self._offsets[i + 1]])
    mask = stored < 0
    return np.where(mask, ~stored, stored), mask

  def images(self, i: int) -> tuple[()]:
    """The pictures of an example; files of conversations have none."""
    del i
    return ()


def fingerprint(paths: Sequence[str], settings: Mapping[str, Any]) -> str:
  """Digest of what is in the files and of how they are read."""
  contents = [files.digest(path)['sha256'] for path in paths]
  # By content, not by name or time: a file that was moved or copied is the
  # same.
  whole = dict(format=_FORMAT, files=contents, **settings)
  text = json.dumps(whole, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def is_made(directory: pathlib.Path, key: str) -> bool:
  """Whether the directory holds the store of a fingerprint."""
  path = directory / 'index.json'
  return path.exists() and json.loads(path.read_text())['key'] == key


def make(
  directory: pathlib.Path,
  key: str,
  paths: Sequence[str],
  encode: Encode,
  max_length: int,
  drop_too_long: bool,
  is_held_out: Callable[[str], Any] = lambda text: False,
  drop_unusable: bool = False,
) -> None:
  """Writes a store in place of an earlier one, whole or not at all.

  Args:
    directory: of the store.
    key: its fingerprint.
    paths: of conversations.
    encode: messages -> tokens and mask.
    max_length: tokens of the longest example that a row can hold.
    drop_too_long: whether longer ones are left out and counted.
    is_held_out: whether a text asks what is evaluated; conversations in which
      somebody does are left out and counted.
    drop_unusable: whether conversations that say nothing, or that the encoding
      refuses, are left out and counted too; the first is printed.

  Raises:
    DataError: a row that is no conversation, one that is too long, or a file
      of which nothing is left.
  """
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  lengths, sizes = [], []
  dropped = dict(too_long=0, held_out=0, unusable=0)

  def leave_out(error):
    if not dropped['unusable']:
      print(f'left out, and others like it: {error}', flush=True)
    dropped['unusable'] += 1

  on_unusable = leave_out if drop_unusable else None
  with (new / 'tokens.bin').open('wb') as out:
    for path in paths:
      first = len(lengths)
      for where, messages in read(path, on_unusable):
        asked = (m['content'] for m in messages if m['role'] != 'assistant')
        if any(isinstance(a, str) and is_held_out(a) for a in asked):
          dropped['held_out'] += 1
          continue
        try:
          tokens, mask = encode(messages)
        except DataError as error:
          error = type(error)(f'{where}: {error}')
          if not (drop_unusable and isinstance(error, Unusable)):
            raise error from None
          leave_out(error)
          continue
        if len(tokens) > max_length:
          if not drop_too_long:
            raise DataError(
              f'{where}: {len(tokens)} tokens do not fit a row of {max_length}'
            )
          dropped['too_long'] += 1
          continue
        out.write(np.where(mask, ~tokens, tokens).astype(np.int32).tobytes())
        lengths.append(len(tokens))
      sizes.append(len(lengths) - first)
      # Weights are of files: one without examples could not have its share.
      if not sizes[-1]:
        raise DataError(
          f'{path}: no conversations in it, {dropped} left out so far'
        )
  np.save(new / 'offsets.npy', np.cumsum([0, *lengths], dtype=np.int64))
  index = dict(key=key, sizes=sizes, dropped=dropped)
  (new / 'index.json').write_text(json.dumps(index) + '\n')
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)
