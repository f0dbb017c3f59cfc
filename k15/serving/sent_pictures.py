"""Pictures that trainers have sent to a worker: checked, bounded, by digest."""

import collections
from collections.abc import AsyncIterator, Callable, Iterable

import grpc
import numpy as np

from k15.data_types import ImageRef
from k15.serving import rollout_pb2 as pb
from k15.serving.wire import Refused
from k15.vision import images as images_lib


class SentPictures:
  """Pixels by digest; those that were put last stay, and all that are in use.

  Put on the event loop, and read on the driver's thread.

  Attributes:
    refs: digest -> `ImageRef` of each.
  """

  def __init__(self, most_bytes: int = 1 << 30):
    """Holds so many bytes of pixels; one picture has 200 million at most."""
    self.refs: dict[str, ImageRef] = {}
    self._most = most_bytes
    self._pixels = collections.OrderedDict()  # as they were put
    self._bytes = 0

  def __getitem__(self, digest: str) -> np.ndarray:
    """Pixels uint8 [h, w, 3]."""
    return self._pixels[digest]

  def check(self, digests: Iterable[str]) -> None:
    """Raises `images.BadImage`, which names a picture that is not here."""
    for digest in digests:
      if digest not in self.refs:
        raise images_lib.BadImage(f'the picture {digest} is not here')

  async def receive(
    self,
    messages: AsyncIterator[pb.Image],
    in_use: Callable[[], Iterable[str]],
  ) -> None:
    """Takes pictures in, each once it is whole.

    Args:
      messages: pictures, or pieces of them behind each other.
      in_use: digests of what has to stay.

    Raises:
      Refused: a picture is not what its digest says, or incomplete
        (INVALID_ARGUMENT), or there is no room (RESOURCE_EXHAUSTED).
    """
    data = bytearray()
    message = None
    async for message in messages:
      if isinstance(message, Refused):
        raise message
      size = 3 * message.height * message.width
      _refuse(
        min(message.height, message.width) < 1
        or size > 3 * images_lib.MOST_PIXELS,
        f'a picture of {message.height} x {message.width} pixels',
      )
      data += message.data
      _refuse(
        len(data) > size,
        f'{len(data)} bytes for {message.height} x {message.width} pixels',
      )
      if len(data) == size:
        self._put(message, bytes(data), in_use)
        data.clear()
    _refuse(data, f'the last picture ended after {len(data)} bytes')

  def put(
    self,
    image: ImageRef,
    pixels: np.ndarray,
    in_use: Callable[[], Iterable[str]],
  ) -> None:
    """Takes one picture in.

    Args:
      image: its digest is of these pixels.
      pixels: uint8 [h, w, 3].
      in_use: as in `receive`.

    Raises:
      Refused: there is no room (RESOURCE_EXHAUSTED).
    """
    if image.digest in self.refs:
      self._pixels.move_to_end(image.digest)
      return
    self._make_room(pixels.nbytes, set(in_use()))
    self._pixels[image.digest] = pixels
    self._bytes += pixels.nbytes
    # Last: whoever finds a reference finds the pixels.
    self.refs[image.digest] = image

  def _put(self, message, data, in_use):
    pixels = np.frombuffer(data, np.uint8)
    pixels = pixels.reshape(message.height, message.width, 3)
    digest = message.digest.hex()
    found = images_lib.digest(pixels)
    _refuse(found != digest, f'picture {digest} shows {found}')
    self.put(
      ImageRef(digest, message.height, message.width, 'sent'), pixels, in_use
    )

  def _make_room(self, size, in_use):
    for digest in [d for d in self._pixels if d not in in_use]:
      if self._bytes + size <= self._most:
        return
      del self.refs[digest]
      self._bytes -= self._pixels.pop(digest).nbytes
    if self._bytes + size > self._most:
      raise Refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f'{size} bytes of a picture beside {self._bytes} of pictures in use;'
        f' this worker holds {self._most}',
      )


def _refuse(condition, sentence):
  if condition:
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, sentence)
