"""The conversations of a stage as tokens, in one mapped file of the workdir.

Files are read once, row by row, whatever their size; training then takes any
example from the map without holding the others in memory.  A token that enters
the loss is written as its complement, so that one file holds the mask too.
"""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import conversations
from k15 import files

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

  def __getitem__(self, i: int) -> conversations.Encoded:
    stored = np.array(self._tokens[self._offsets[i] : self._offsets[i + 1]])
    mask = stored < 0
    return np.where(mask, ~stored, stored), mask


def fingerprint(paths: Sequence[str], settings: Mapping[str, Any]) -> str:
  """Digest of what is in the files and of how they are read."""
  contents = [files.digest(path)['sha256'] for path in paths]
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
  encode: conversations.Encode,
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
      for where, messages in conversations.read(path, on_unusable):
        asked = (m['content'] for m in messages if m['role'] != 'assistant')
        if any(isinstance(a, str) and is_held_out(a) for a in asked):
          dropped['held_out'] += 1
          continue
        try:
          tokens, mask = encode(messages)
        except conversations.DataError as error:
          error = type(error)(f'{where}: {error}')
          if not (drop_unusable and isinstance(error, conversations.Unusable)):
            raise error from None
          leave_out(error)
          continue
        if len(tokens) > max_length:
          if not drop_too_long:
            raise conversations.DataError(
              f'{where}: {len(tokens)} tokens do not fit a row of {max_length}'
            )
          dropped['too_long'] += 1
          continue
        out.write(np.where(mask, ~tokens, tokens).astype(np.int32).tobytes())
        lengths.append(len(tokens))
      sizes.append(len(lengths) - first)
      if not sizes[-1]:
        raise conversations.DataError(
          f'{path}: no conversations in it, {dropped} left out so far'
        )
  np.save(new / 'offsets.npy', np.cumsum([0, *lengths], dtype=np.int64))
  index = dict(key=key, sizes=sizes, dropped=dropped)
  (new / 'index.json').write_text(json.dumps(index) + '\n')
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)
