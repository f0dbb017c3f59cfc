"""Segments: files that only grow, of entries that a kill cannot spoil.

An entry is its length, the CRC-32 of its bytes, and the bytes.  Whatever ends
a process, a reader finds whole entries up to some point; what comes behind it
is cut off.  Segments belong to numbered parts, so that a part is deleted by
its files' names:

    00000004-0000.log   the first segment of part 4
    00000004-0001.log   begun when that was full, or by the next process

What is written is with the operating system at once, so that it outlives the
process.  A thread brings it to the disk, beside whatever the caller does next:
a power cut loses what came while the disk was busy.
"""

import os
import pathlib
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

_HEAD = struct.Struct('<II')  # bytes of the entry, and their CRC-32
SEGMENT_BYTES = 64 << 20


def _open(path):
  return open(path, 'ab', buffering=0)


class Segments:
  """The segments of a folder; any thread may append."""

  def __init__(
    self,
    directory: str | os.PathLike,
    segment_bytes: int = SEGMENT_BYTES,
    open_file: Callable[[pathlib.Path], Any] = _open,
  ):
    """Makes the folder if it is missing.

    Args:
      directory: of these segments alone.
      segment_bytes: one that has so many is followed by another.
      open_file: gives a file to append to, without a buffer.

    Raises:
      OSError: there can be no such folder.
    """
    self._directory = pathlib.Path(directory)
    self._directory.mkdir(parents=True, exist_ok=True)
    self._most, self._open_file = segment_bytes, open_file
    self._file, self._part, self._size = None, -1, 0
    self._lock = threading.Lock()
    self._thread = futures.ThreadPoolExecutor(1, 'journal')
    self._is_asked, self._error = False, None

  def read(self, part: int) -> list[bytes]:
    """All entries of a part, in order.

    What follows the first entry that is not whole goes away, for good: what is
    appended from now on stands right behind the last that is.

    Raises:
      OSError: a file cannot be read, or not be cut.
    """
    entries, is_torn = [], False
    for path in self._paths(part):
      if is_torn:
        path.unlink()
        continue
      content = path.read_bytes()
      found, end = entries_of(content)
      entries += found
      if end < len(content):
        is_torn = True
        with open(path, 'rb+') as file:
          file.truncate(end)
          os.fsync(file.fileno())
    return entries

  def append(self, part: int, entry: bytes) -> None:
    """Writes an entry of at least one byte behind all others of a part.

    Raises:
      OSError: it cannot be written; the segment may end in a part of it.
    """
    if not entry:
      raise ValueError('an entry of 0 bytes cannot be told from a hole')
    head = _HEAD.pack(len(entry), zlib.crc32(entry))
    with self._lock:
      if part != self._part or self._size >= self._most:
        self._begin(part)
      for part_of_it in (head, entry):
        view = memoryview(part_of_it)
        while view:
          view = view[self._file.write(view) :]
      self._size += len(head) + len(entry)

  def sync(self) -> None:
    """Asks for what was appended so far to be brought to the disk.

    Raises:
      OSError: it could not be, the last time.
    """
    with self._lock:
      if self._error is not None:
        raise self._error
      if self._file is not None and not self._is_asked:
        self._is_asked = True
        self._later(self._flush, self._file)

  def drop(self, before: int = 0, since: int = sys.maxsize) -> None:
    """Deletes the parts below `before`, and those from `since` on.

    Raises:
      OSError: a file cannot be deleted.
    """
    with self._lock:
      gone = [
        path
        for path in self._directory.glob('*.log')
        if not before <= _part_of(path) < since
      ]
      if not before <= self._part < since:
        self._end(is_kept=False)
      for path in gone:
        path.unlink(missing_ok=True)

  def close(self) -> None:
    """Ends the segment; all of it is on disk then.

    Raises:
      OSError: it cannot be brought there.
    """
    with self._lock:
      self._end()
    self._thread.shutdown()
    if self._error is not None:
      raise self._error

  def _paths(self, part):
    return sorted(self._directory.glob(f'{part:08d}-*.log'))

  def _begin(self, part):
    """Opens the next segment of a part."""
    self._end()
    number = len(self._paths(part))
    path = self._directory / f'{part:08d}-{number:04d}.log'
    self._file, self._part = self._open_file(path), part
    self._size = 0
    # Or a power cut would leave the bytes, and no name for them.
    self._later(_sync_folder, self._directory)

  def _end(self, is_kept=True):
    file, self._file, self._part = self._file, None, -1
    if file is not None and is_kept:
      self._later(self._flush, file)
    if file is not None:
      self._later(file.close)

  def _flush(self, file):
    self._is_asked = False  # What is appended from now on needs another.
    os.fsync(file.fileno())

  def _later(self, act, *arguments):
    """Does it on the thread, after all that it has to do."""

    def guarded():
      try:
        act(*arguments)
      except OSError as error:
        self._error = error

    self._thread.submit(guarded)


def _sync_folder(path):
  folder = os.open(path, os.O_RDONLY)
  try:
    os.fsync(folder)
  finally:
    os.close(folder)


def entries_of(content: bytes) -> tuple[list[bytes], int]:
  """The whole entries that a segment begins with, and where they end."""
  entries, end = [], 0
  while len(content) - end >= _HEAD.size:
    size, checksum = _HEAD.unpack_from(content, end)
    start = end + _HEAD.size
    entry = content[start : start + size]
    # None is empty: a hole of zeros that a power cut left has its checksum.
    if not entry or len(entry) < size or zlib.crc32(entry) != checksum:
      break
    entries.append(entry)
    end = start + size
  return entries, end


def _part_of(path):
  return int(path.name.partition('-')[0])
