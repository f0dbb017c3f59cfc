"""Documents to pretrain on, from files, and as tokens in a mapped file.

Kimi k1.5, section 2.5.1.  A row of JSONL, JSON or Parquet is {text, domain}:
the paper has five domains of language (English, Chinese, code, mathematics and
reasoning, knowledge), here any name will do.  A document's tokens are those of
its text and the one that ends a sequence.  It may have `images`, in the forms
of `k15.vision.datasets`, each where an '<image>' of its text stands.

Which documents are held out is decided by their text alone, or by what their
pictures show: one that is held out of one stage is held out of all.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from k15.data import rows
from k15.data import token_store
from k15.data.conversations import DataError
from k15.data_types import ImageRef
from k15.vision import datasets
from k15.vision import images as images_lib
from k15.vision import references
from k15.vision.shown_rows import Shown
from k15.vision.sight import Sight

FORMAT = 1  # of the store


@dataclasses.dataclass(frozen=True)
class Document:
  """A text to pretrain on.

  Attributes:
    text: not blank.
    domain: its name, not blank; what is weighed and measured.
    where: its place, 'FILE, line 3', for whoever refuses it.
    is_long: it is of the long ones, whose rows attend to all of themselves.
    images: its pictures, in order; where no '<image>' says where they stand, in
      front.
  """

  text: str
  domain: str
  where: str = ''
  is_long: bool = False
  images: tuple[ImageRef, ...] = ()


def read(
  path: str | pathlib.Path,
  is_long: bool = False,
  keep: references.Keep = references.forget,
) -> Iterator[Document]:
  """Yields the documents of a file, row by row; `keep` gets their pictures.

  Raises:
    DataError: no such file, one that cannot be read, or a row that is no
      document; says which row and what it has.
  """
  folder = pathlib.Path(path).parent
  try:
    for _, where, row in rows.read_rows(path):
      yield document_of(row, where, is_long, folder, keep)
  except (DataError, images_lib.BadImage):
    raise
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from None


def document_of(
  row: dict[str, Any],
  where: str,
  is_long: bool = False,
  folder: pathlib.Path = pathlib.Path(),
  keep: references.Keep = references.forget,
) -> Document:
  """The document of a row.

  Args:
    where: begins what is raised.
    folder: that of the row's file, in which pictures may be files.
    keep: gets the pictures.

  Raises:
    DataError: it is none, or a picture is broken.
    ValueError: the same of a picture.
  """
  for field in ('text', 'domain'):
    if field not in row:
      raise DataError(f'{where}: no {field!r}; it has {sorted(row)}')
    value = row[field]
    if not isinstance(value, str):
      raise DataError(
        f'{where}: {field!r} is a {type(value).__name__}, and has to be a text'
      )
    if not value.strip():
      raise DataError(
        f'{where}: {field!r} is blank, of {len(value)} characters'
      )
  pictures = datasets.beside(row, ())
  images = datasets.pictures_of(pictures, where, folder, keep)
  return Document(row['text'], row['domain'], where, is_long, images)


def make_encode(
  tokenizer: Any, sight: Sight | None
) -> Callable[[Document], np.ndarray]:
  """Returns a document -> int32 [T], with the token that ends a sequence.

  Args:
    tokenizer: `HfTokenizer` or `ByteTokenizer`.
    sight: how the policy is shown pictures; None: it sees none.

  Returns:
    A function that raises DataError for pictures that do not fit the marks of
    their text, and for a placeholder that somebody wrote as text.
  """

  def encode(document):
    text, images = document.text, document.images
    if not sight:
      return np.append(tokenizer.begin(text), tokenizer.eos_id)
    if references.MARK not in text:
      text = references.MARK * len(images) + text
    try:
      tokens = sight.expanded(text, images, tokenizer.begin, tokenizer.encode)
      sight.check_placeholders(tokens, images)
    except images_lib.BadImage as error:
      raise DataError(f'{document.where}: {error}') from None
    return np.append(tokens, tokenizer.eos_id)

  return encode


def is_held_out(
  text: str, share: float, digests: Sequence[str] = ()
) -> bool:
  """Whether a text is among the share of all texts that is held out.

  Of pictures what they show decides it, whatever is said of them.
  """
  text = '\n'.join(digests) or text
  digest = hashlib.sha256(text.encode('utf-8', errors='replace')).digest()
  return int.from_bytes(digest[:8]) < share * 2**64


class DocumentStore:
  """Documents by number, in the order in which they were read.

  Attributes:
    names: of the domains, sorted.
    domains: int32 [N], which of them.
    lengths: int64 [N], tokens.
    is_held_out: bool [N].
    is_long: bool [N].
    num_images: int64 [N], pictures.
    dropped: why -> how many were left out.
  """

  def __init__(self, directory: pathlib.Path):
    index = json.loads((directory / 'index.json').read_text())
    self.names, self.dropped = tuple(index['names']), index['dropped']
    columns = np.load(directory / 'columns.npz')
    self.domains = columns['domains']
    self.is_held_out, self.is_long = columns['is_held_out'], columns['is_long']
    self._offsets = columns['offsets']
    self.lengths = np.diff(self._offsets)
    self._tokens = np.memmap(directory / 'tokens.bin', np.int32, 'r')
    self._images = token_store.StoredImages(directory, 'a document')
    self.num_images = self._images.counts
    if self.num_images is None:
      self.num_images = np.zeros(len(self), np.int64)

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, i: int) -> np.ndarray:
    """int32 [lengths[i]]."""
    return self.part(i, 0, self.lengths[i])

  def images(self, i: int) -> tuple[ImageRef, ...]:
    """The pictures of a document, in the order of its tokens."""
    return self._images[i]

  def part(self, i: int, begin: int, end: int) -> np.ndarray:
    """The tokens [begin, end) of a document; no others are read."""
    first = self._offsets[i]
    return np.array(self._tokens[first + begin : first + end])


def make(
  directory: pathlib.Path,
  key: str,
  documents: Iterable[Document],
  encode: Callable[[Document], np.ndarray],
  held_out_share: float,
  is_evaluated: Callable[[Document], Any] = lambda document: False,
  longest: int = 0,
  shown: Shown | None = None,
) -> None:
  """Writes a store in place of an earlier one, whole or not at all.

  Args:
    directory: of the store.
    key: its fingerprint, see `token_store.is_made`.
    documents: read once, one after the other.
    encode: a document -> int32 [T], with the token that ends it.
    held_out_share: of the texts, [0, 1].
    is_evaluated: whether one holds a problem that is evaluated; such documents
      are left out and counted.
    longest: tokens of the longest row.  No row cuts a picture: documents with
      some that outgrow it, or what it has room for, are left out and counted.
    shown: lays out pictures; None: there are none.

  Raises:
    DataError: no document is left to learn from.
  """
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  domains, lengths, held_out, long, images = [], [], [], [], []
  dropped = dict(evaluated=0)
  with (new / 'tokens.bin').open('wb') as out:
    for document in documents:
      if is_evaluated(document):
        dropped['evaluated'] += 1
        continue
      tokens = np.asarray(encode(document), np.int32)
      if document.images and token_store.excess_of(
        tokens, document.images, longest, shown
      ):
        dropped['too_long'] = dropped.get('too_long', 0) + 1
        continue
      out.write(tokens.tobytes())
      domains.append(document.domain)
      lengths.append(len(tokens))
      digests = [image.digest for image in document.images]
      held_out.append(is_held_out(document.text, held_out_share, digests))
      long.append(document.is_long)
      images.append(document.images)
  if all(held_out):
    raise DataError(
      f'{len(domains)} documents, of which {sum(held_out)} are held out and'
      f' none is left to learn from; {dropped} left out'
    )
  names = sorted(set(domains))
  number = {name: i for i, name in enumerate(names)}
  np.savez(
    new / 'columns.npz',
    domains=np.array([number[name] for name in domains], np.int32),
    offsets=np.cumsum([0, *lengths], dtype=np.int64),
    is_held_out=np.array(held_out, bool),
    is_long=np.array(long, bool),
  )
  token_store.write_images(new, images)
  index = dict(key=key, names=names, dropped=dropped)
  (new / 'index.json').write_text(json.dumps(index) + '\n')
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)
