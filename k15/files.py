"""Files of JSON lines, of JSON, and files that are replaced as a whole.

What a run writes may be cut at any byte: a reader sees a file as it was or as
it is, and leaves out the one line that a crash tore.
"""

import enum
import functools
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


def append_jsonl(path: str | os.PathLike, records: Iterable[Any]) -> None:
  """Appends records to a file of JSON lines, always as valid JSON.

  Args:
    path: the file; made if missing.
    records: nested dicts and sequences of text, numbers, numpy values and
      enums.  Numbers that are not finite become null.
  """
  lines = [json.dumps(_plain(record), allow_nan=False) for record in records]
  with open(path, 'ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':  # A crash tore the last line: leave it alone.
        lines.insert(0, '')
    file.write(''.join(line + '\n' for line in lines).encode())


def replace_jsonl(path: str | os.PathLike, records: Iterable[Any]) -> None:
  """Replaces a file of JSON lines; records as in `append_jsonl`."""
  lines = [json.dumps(_plain(record), allow_nan=False) for record in records]
  replace_file(path, ''.join(line + '\n' for line in lines).encode())


def replace_json(path: str | os.PathLike, value: Any) -> None:
  """Replaces a JSON file, which ends with a line break."""
  replace_file(path, (json.dumps(value, indent=2) + '\n').encode())


def read_jsonl(path: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the records of a file of JSON lines.

  A missing file has none; torn lines are left out.
  """
  return [record for _, record in intact_lines(path)]


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """Returns what a JSON file holds; {} if it is missing, torn or no object."""
  try:
    content = json.loads(pathlib.Path(path).read_text())
  except (OSError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}


def replace_file(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file so that a reader sees the old content or the new."""
  temporary = f'{os.fspath(path)}.{os.getpid()}.tmp'
  with open(temporary, 'wb') as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def sync(directory: str | os.PathLike) -> None:
  """Brings all files below a directory to the disk, before it is renamed.

  A rename may reach the disk before what it names: after a power cut a model
  would stand in its place with files that are empty.
  """
  for path in sorted(pathlib.Path(directory).rglob('*')):
    if path.is_file():
      with open(path, 'rb') as file:
        os.fsync(file.fileno())


def matching(path: str | pathlib.Path) -> list[pathlib.Path]:
  """The file, or those that a star in its name stands for, by their names."""
  path = pathlib.Path(path)
  if path.is_file() or '*' not in path.name:
    return [path]
  return sorted(found for found in path.parent.glob(path.name))


def digest(path: str | pathlib.Path) -> dict[str, Any]:
  """Name, bytes and SHA-256 of a file: what says that it is the same one.

  Of several, by a star, their bytes and the SHA-256 of theirs.
  """
  path, several = pathlib.Path(path), matching(path)
  if several != [path]:
    found = list(map(digest, several))
    text = ' '.join(one['sha256'] for one in found)
    whole = hashlib.sha256(text.encode()).hexdigest()
    total = sum(one['bytes'] for one in found)
    return dict(name=path.name, bytes=total, sha256=whole)
  facts = path.stat()
  found = _sha256(path.absolute(), facts.st_size, facts.st_mtime_ns)
  return dict(name=path.name, bytes=facts.st_size, sha256=found)


@functools.lru_cache(256)
def _sha256(path, size, mtime_ns):
  """Of a file as it was then: large ones are asked for more than once."""
  del size, mtime_ns
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def intact_lines(
  path: str | os.PathLike,
) -> Iterator[tuple[bytes, dict[str, Any]]]:
  """Yields the intact lines of a file of JSON lines, each with its record."""
  if not os.path.exists(path):
    return
  with open(path, 'rb') as file:
    for line in file:
      try:
        record = json.loads(line)
      except ValueError:  # Covers torn UTF-8 as well.
        continue
      if isinstance(record, dict):
        yield line.rstrip(b'\n') + b'\n', record


def _plain(value):
  """The same value in types and numbers that JSON has."""
  if isinstance(value, Mapping):
    return {str(key): _plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(item) for item in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return _plain(value.tolist())
  if isinstance(value, enum.Enum):
    return value.value
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
