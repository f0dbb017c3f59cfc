"""Pixels on disk, once each, found by the digest of what they show.

All else of a run names pictures by `ImageRef`: problems, requests, replay and
checkpoints hold digests, never pixels.  What was drawn by a program is stored
too, for a new font or a new Pillow would change a run's data and say nothing.

A store is `pixels.bin`, the pictures behind each other, and `index.json`.  It
is written whole or not at all, and mapped: nothing is read but what is asked
for.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from k15 import files
from k15.data_types import ImageRef
from k15.vision import images

FOLDER = 'images'  # in the workdir of a run
_FORMAT = 1
_PIXELS, _INDEX = 'pixels.bin', 'index.json'


class ImageStore:
  """Pictures by digest; safe to share between threads.

  Attributes:
    refs: digest -> `ImageRef` of each picture.
  """

  def __init__(self, directory: str | pathlib.Path):
    """Opens it; reads the index only.

    Raises:
      images.BadImage: there is no store, or its files do not fit.
    """
    self._directory = pathlib.Path(directory)
    index = files.read_json(self._directory / _INDEX)
    if index.get('format') != _FORMAT:
      raise images.BadImage(
        f'{self._directory} holds no pictures of format {_FORMAT}'
      )
    self.refs = {row['digest']: ImageRef(**row) for row in index['images']}
    sizes = [3 * ref.height * ref.width for ref in self.refs.values()]
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    path = self._directory / _PIXELS
    if path.stat().st_size != (ends[-1] if ends else 0):
      raise images.BadImage(
        f'{path} has {path.stat().st_size} bytes, and its index'
        f' {ends[-1] if ends else 0}'
      )
    self._starts = dict(zip(self.refs, [0, *ends], strict=False))
    self._pixels = np.memmap(path, np.uint8, 'r') if ends else None

  def __len__(self) -> int:
    return len(self.refs)

  def __getitem__(self, digest: str) -> np.ndarray:
    """Pixels uint8 [h, w, 3], a view of the file.

    Raises:
      images.BadImage: there is no such picture.
    """
    self.check([digest])
    ref, start = self.refs[digest], self._starts[digest]
    end = start + 3 * ref.height * ref.width
    return self._pixels[start:end].reshape(ref.height, ref.width, 3)

  def check(self, digests: Iterable[str]) -> None:
    """Before any work on a device.

    Raises:
      images.BadImage: a picture is not here; names it.
    """
    for digest in digests:
      if digest not in self.refs:
        raise images.BadImage(f'{self._directory} has no picture {digest}')

  def check_sizes(self, refs: Iterable[ImageRef]) -> None:
    """The same of references that somebody wrote, and may have made up.

    Raises:
      images.BadImage: a picture is not here, or has another size; names it.
    """
    for ref in refs:
      self.check([ref.digest])
      found = self.refs[ref.digest]
      if (ref.height, ref.width) != (found.height, found.width):
        raise images.BadImage(
          f'picture {ref.digest} has {found.height} x {found.width} pixels, and'
          f' not {ref.height} x {ref.width}'
        )

  def verify(self) -> None:
    """Reads every picture and compares it with its digest.

    Raises:
      images.BadImage: one shows something else than when it was stored.
    """
    for digest in self.refs:
      found = images.digest(np.asarray(self[digest]))
      if found != digest:
        raise images.BadImage(
          f'{self._directory}: picture {digest} has become {found}'
        )


def write(
  directory: str | pathlib.Path,
  pictures: Iterable[tuple[np.ndarray, str]],
) -> list[ImageRef]:
  """Makes a store in place of an earlier one, whole or not at all.

  Args:
    directory: of the store.
    pictures: pixels uint8 [h, w, 3] and where each is from; drawn one by one,
      so that no more than one has to be in memory.

  Returns:
    The reference of each, in order.  Of equal pictures the first one's source
    is kept.
  """
  with writing(directory) as add:
    return [add(pixels, source) for pixels, source in pictures]


@contextlib.contextmanager
def writing(
  directory: str | pathlib.Path,
) -> Iterator[Callable[[np.ndarray, str], ImageRef]]:
  """A store of whatever is added until the end, as `write` makes it.

  Yields:
    What takes pixels and where they are from, and returns their reference.
  """
  directory = pathlib.Path(directory)
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  known = {}
  with (new / _PIXELS).open('wb') as out:

    def add(pixels, source):
      digest = images.digest(pixels)
      if digest not in known:
        out.write(np.ascontiguousarray(pixels).tobytes())
        known[digest] = ImageRef(digest, *pixels.shape[:2], source)
      return known[digest]

    yield add
  rows = [dataclasses.asdict(ref) for ref in known.values()]
  text = json.dumps(dict(format=_FORMAT, images=rows))
  (new / _INDEX).write_text(text + '\n')
  files.sync(new)
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)


def of_run(folder: pathlib.Path, digest: str) -> np.ndarray | None:
  """A picture of the run that wrote into this folder of its workdir, if any."""
  directory = folder.resolve().parent / FOLDER
  if not (directory / _INDEX).is_file():
    return None
  written = (directory / _INDEX).stat().st_mtime_ns
  found = _opened(directory, written)
  return found[digest] if digest in found.refs else None


@functools.lru_cache(1)
def _opened(directory, written):
  del written  # Another store may come to stand in its place.
  return ImageStore(directory)


def check_same(ref: ImageRef, pixels: np.ndarray) -> None:
  """Stops a run whose picture, drawn or read again, is another one.

  Raises:
    images.BadImage: names both digests.
  """
  found = images.digest(pixels)
  if found != ref.digest:
    raise images.BadImage(
      f'{ref.source} now shows {found}, and was stored as {ref.digest}'
    )
