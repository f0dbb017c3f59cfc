"""Conversations of a stage as tokens, in one mapped file of the workdir.

Files are read once, row by row, whatever their size, and training then takes
any example from the map without holding the others in memory.  A token that
enters the loss is written as its complement, so that one file holds the mask
too.  Pictures are beside the tokens by name, their pixels in the run's store.
"""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15.data import conversations
from k15.data.conversations import Conversation
from k15.data.conversations import DataError
from k15.data.conversations import Encode
from k15.data.conversations import Encoded
from k15.data.conversations import Unusable
from k15.data_types import ImageRef
from k15.vision import references
from k15.vision.shown_rows import Shown

_FORMAT = 3  # 3: what is evaluated is known within other words
_REFERENCE = np.dtype(
  [('digest', 'S64'), ('height', np.int32), ('width', np.int32)]
)


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
    self._images = StoredImages(directory, 'a conversation')

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, i: int) -> Encoded:
    stored = np.array(self._tokens[self._offsets[i] : self._offsets[i + 1]])
    mask = stored < 0
    return np.where(mask, ~stored, stored), mask

  def images(self, i: int) -> tuple[ImageRef, ...]:
    """The pictures of an example, in the order of its tokens."""
    return self._images[i]

  def references(self) -> Iterator[ImageRef]:
    """Every picture once."""
    return self._images.references()


class StoredImages:
  """The pictures of the examples of a store, by number.

  Attributes:
    counts: int64 [N], pictures of each example; None: there are only texts.
  """

  def __init__(self, directory: pathlib.Path, source: str):
    """`source` is what references say they are from."""
    self._source, self.counts = source, None
    if (directory / 'images.npy').exists():  # There are none among texts.
      self._images = np.load(directory / 'images.npy', mmap_mode='r')
      self._offsets = np.load(directory / 'image_offsets.npy')
      self.counts = np.diff(self._offsets)

  def __getitem__(self, i: int) -> tuple[ImageRef, ...]:
    if self.counts is None:
      return ()
    start, end = self._offsets[i : i + 2]
    return tuple(map(self._reference, self._images[start:end]))

  def references(self) -> Iterator[ImageRef]:
    """Every picture once."""
    if self.counts is not None:
      yield from map(self._reference, np.unique(self._images))

  def _reference(self, stored):
    digest, height, width = stored.item()
    return ImageRef(digest.decode(), height, width, self._source)


def write_images(
  directory: pathlib.Path, found: Sequence[Sequence[ImageRef]]
) -> None:
  """Writes the pictures of all examples; of texts alone, nothing."""
  images = [(i.digest, i.height, i.width) for own in found for i in own]
  if images:
    np.save(directory / 'image_offsets.npy', _offsets(list(map(len, found))))
    np.save(directory / 'images.npy', np.array(images, _REFERENCE))


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


def has_to_be_made(
  directory: pathlib.Path, key: str, stage: str, is_new: bool
) -> bool:
  """Whether the directory lacks the store of a fingerprint.

  Args:
    stage: that learns from it.
    is_new: whether the stage has taken no step yet, and files may have changed.

  Raises:
    DataError: it lacks it, and the stage has begun.
  """
  if is_made(directory, key):
    return False
  if not is_new:
    raise DataError(
      f'{stage}.files, the tokenizer, or what is evaluated and therefore'
      ' left out, changed since the stage began: take it back or choose'
      ' another workdir'
    )
  return True


def make(
  directory: pathlib.Path,
  key: str,
  paths: Sequence[str],
  encode: Encode,
  max_length: int,
  drop_too_long: bool,
  is_held_out: Callable[[str, tuple[str, ...]], Any] = lambda *asked: False,
  drop_unusable: bool = False,
  shown: Shown | None = None,
) -> None:
  """Writes a store in place of an earlier one, whole or not at all.

  Args:
    directory: of the store.
    key: its fingerprint.
    paths: of conversations.
    encode: messages and their pictures -> tokens and mask.
    max_length: tokens of the longest example that a row can hold.
    drop_too_long: whether those that outgrow a row are left out and counted.
    is_held_out: whether a text asks, about the pictures of these digests, what
      is evaluated; conversations in which somebody does are left out and
      counted.
    drop_unusable: whether conversations that say nothing, or that the encoding
      refuses, are left out and counted too; the first is printed.
    shown: knows how many pictures a row can hold; None: the policy sees none.

  Raises:
    DataError: a row that is no conversation, one that outgrows a row, or a
      file of which nothing is left.
  """
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  lengths, sizes, images = [], [], []
  dropped = dict(too_long=0, held_out=0, unusable=0)

  def leave_out(error):
    if not dropped['unusable']:
      print(f'left out, and others like it: {error}', flush=True)
    dropped['unusable'] += 1

  on_unusable = leave_out if drop_unusable else None
  with (new / 'tokens.bin').open('wb') as out:
    for path in paths:
      first = len(lengths)
      for talk in conversations.read(path, on_unusable):
        if any(is_held_out(*asked) for asked in _asked(talk)):
          dropped['held_out'] += 1
          continue
        try:
          tokens, mask = encode(talk.messages, talk.images)
        except DataError as error:
          error = type(error)(f'{talk.where}: {error}')
          if not (drop_unusable and isinstance(error, Unusable)):
            raise error from None
          leave_out(error)
          continue
        excess = excess_of(tokens, talk.images, max_length, shown)
        if excess:
          if not drop_too_long:
            raise DataError(f'{talk.where}: {excess}')
          dropped['too_long'] += 1
          continue
        out.write(np.where(mask, ~tokens, tokens).astype(np.int32).tobytes())
        lengths.append(len(tokens))
        images.append(talk.images)
      sizes.append(len(lengths) - first)
      # Weights are of files: one without examples could not have its share.
      if not sizes[-1]:
        raise DataError(
          f'{path}: no conversations in it, {dropped} left out so far'
        )
  np.save(new / 'offsets.npy', _offsets(lengths))
  write_images(new, images)
  index = dict(key=key, sizes=sizes, dropped=dropped)
  (new / 'index.json').write_text(json.dumps(index) + '\n')
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)


def _offsets(counts):
  return np.cumsum([0, *counts], dtype=np.int64)


def excess_of(
  tokens: np.ndarray,
  images: Sequence[ImageRef],
  max_length: int,
  shown: Shown | None,
) -> str:
  """Why a row of `max_length` tokens cannot hold an example, or ''."""
  if len(tokens) > max_length:
    return f'{len(tokens)} tokens do not fit a row of {max_length}'
  try:
    if shown:
      shown.patches_of(images)
  except ValueError as error:
    return str(error)
  return ''


def _asked(talk: Conversation) -> Iterator[tuple[str, tuple[str, ...]]]:
  """What others than the assistant say, about the pictures of their turn.

  A turn may go on asking about those before it.
  """
  digests, seen = tuple(image.digest for image in talk.images), 0
  for message in talk.messages:
    if message['role'] == 'assistant':
      continue
    text = message['content']
    before, seen = seen, seen + (text.count(references.MARK) if digests else 0)
    for known in {digests[before:seen], digests[:seen]}:
      yield text, known
