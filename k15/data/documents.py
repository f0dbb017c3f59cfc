"""Documents to pretrain on, from files, and as tokens in a mapped file.

Kimi k1.5, section 2.5.1.  A row of JSONL, JSON or Parquet is {text, domain}:
the paper has five domains of language (English, Chinese, code, mathematics and
reasoning, knowledge), here any name will do.  A document's tokens are those of
its text and the one that ends a sequence.

Which documents are held out is decided by their text alone: one that is held
out of one stage is held out of all.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from k15.data import rows
from k15.data.conversations import DataError

FORMAT = 1  # of the store


@dataclasses.dataclass(frozen=True)
class Document:
  """A text to pretrain on.

  Attributes:
    text: not blank.
    domain: its name, not blank; what is weighed and measured.
    where: its place, 'FILE, line 3', for whoever refuses it.
    is_long: it is of the long ones, whose rows attend to all of themselves.
  """

  text: str
  domain: str
  where: str = ''
  is_long: bool = False


def read(path: str | pathlib.Path, is_long: bool = False) -> Iterator[Document]:
  """Yields the documents of a file, row by row.

  Raises:
    DataError: no such file, one that cannot be read, or a row that is no
      document; says which row and what it has.
  """
  try:
    for _, where, row in rows.read_rows(path):
      yield document_of(row, where, is_long)
  except DataError:
    raise
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from None


def document_of(
  row: dict[str, Any], where: str, is_long: bool = False
) -> Document:
  """The document of a row.

  Raises:
    DataError: begins with `where`.
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
  return Document(row['text'], row['domain'], where, is_long)


def is_held_out(text: str, share: float) -> bool:
  """Whether a text is among the share of all texts that is held out."""
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

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, i: int) -> np.ndarray:
    """int32 [lengths[i]]."""
    return self.part(i, 0, self.lengths[i])

  def part(self, i: int, begin: int, end: int) -> np.ndarray:
    """The tokens [begin, end) of a document; no others are read."""
    first = self._offsets[i]
    return np.array(self._tokens[first + begin : first + end])


def make(
  directory: pathlib.Path,
  key: str,
  documents: Iterable[Document],
  encode: Callable[[str], np.ndarray],
  held_out_share: float,
  is_evaluated: Callable[[str], Any] = lambda text: False,
) -> None:
  """Writes a store in place of an earlier one, whole or not at all.

  Args:
    directory: of the store.
    key: its fingerprint, see `token_store.is_made`.
    documents: read once, one after the other.
    encode: a text -> int32 [T], with the token that ends it.
    held_out_share: of the texts, [0, 1].
    is_evaluated: whether a text holds a problem that is evaluated; such
      documents are left out and counted.

  Raises:
    DataError: no document is left to learn from.
  """
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  domains, lengths, held_out, long = [], [], [], []
  dropped = dict(evaluated=0)
  with (new / 'tokens.bin').open('wb') as out:
    for document in documents:
      if is_evaluated(document.text):
        dropped['evaluated'] += 1
        continue
      tokens = np.asarray(encode(document.text), np.int32)
      out.write(tokens.tobytes())
      domains.append(document.domain)
      lengths.append(len(tokens))
      held_out.append(is_held_out(document.text, held_out_share))
      long.append(document.is_long)
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
  index = dict(key=key, names=names, dropped=dropped)
  (new / 'index.json').write_text(json.dumps(index) + '\n')
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)
