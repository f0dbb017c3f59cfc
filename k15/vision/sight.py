"""How a policy is shown pictures: their tokens, and what may stand in a prompt.

Whoever makes a prompt, checks a request or computes one asks here, so that all
count the same tokens.  A prompt has one placeholder a picture until it is
expanded, once (`k15.vision.positions`); from then on its tokens are what
rollout and training see.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from k15.data_types import ImageRef
from k15.vision import images as images_lib
from k15.vision import positions
from k15.vision import references


@dataclasses.dataclass(frozen=True)
class Sight:
  """What decides how the pictures of one policy are shown to it.

  Attributes:
    processor: how pixels become patches.
    image_id: the token for which features stand.
    start_ids, end_ids: tokens in front of a picture and behind it.
    banned_ids: placeholders, which no response has.
    patch_buckets: patches that are computed for a context, ascending; one with
      more than the last is refused.
    cache_bytes: of features that are kept, see `k15.rollout.features`.
  """

  processor: images_lib.Processor
  image_id: int
  patch_buckets: tuple[int, ...]
  start_ids: tuple[int, ...] = ()
  end_ids: tuple[int, ...] = ()
  banned_ids: tuple[int, ...] = ()
  cache_bytes: int = 64 << 20

  def grid(self, image: ImageRef) -> positions.Grid:
    """Rows and columns of its tokens."""
    rows, columns = images_lib.grid(self.processor, image.height, image.width)
    m = self.processor.merge_size
    return rows // m, columns // m

  def num_tokens(self, image: ImageRef) -> int:
    """How often its placeholder stands in an expanded prompt."""
    return images_lib.num_tokens(self.processor, image.height, image.width)

  def bucket_of(self, images: Sequence[ImageRef]) -> int:
    """Patches computed for pictures of one context; 0: there are none.

    Raises:
      images.BadImage: they have more than the largest bucket.
    """
    if not images:
      return 0
    used = sum(map(self.num_tokens, images)) * self.processor.merge_size**2
    for bucket in self.patch_buckets:
      if used <= bucket:
        return bucket
    raise images_lib.BadImage(
      f'{len(images)} pictures have {used} patches, more than the'
      f' {self.patch_buckets[-1]} of vision.patch_buckets'
    )

  def encode(
    self,
    text: str,
    images: Sequence[ImageRef],
    begin: Callable[[str], np.ndarray],
    go_on: Callable[[str], np.ndarray],
  ) -> np.ndarray:
    """Tokens of a whole prompt, expanded.

    Args:
      text: holds '<image>' where each picture stands; without pictures this is
        text like any other.
      images: its pictures, in order.
      begin, go_on: make tokens of a text, and of one behind others.

    Returns:
      int32 [T].

    Raises:
      images.BadImage: another number of marks than of pictures, or what
        `check` refuses: a placeholder that somebody wrote as text, too.
    """
    tokens = self.expanded(text, images, begin, go_on)
    self.check(tokens, images)
    return tokens

  def expanded(
    self,
    text: str,
    images: Sequence[ImageRef],
    begin: Callable[[str], np.ndarray],
    go_on: Callable[[str], np.ndarray],
  ) -> np.ndarray:
    """`encode` of a text that may be a piece of a whole, which is checked."""
    first, *others = text.split(references.MARK) if images else [text]
    if len(others) != len(images):
      raise images_lib.BadImage(
        f'{len(others)} {references.MARK} in a prompt, and {len(images)}'
        ' pictures'
      )
    marks = [*self.start_ids, self.image_id, *self.end_ids]
    parts = [begin(first)]
    for other in others:
      parts += [marks, go_on(other)]
    tokens = np.concatenate(parts).astype(np.int32)
    counts = list(map(self.num_tokens, images))
    return positions.expand(tokens, self.image_id, counts)

  def check(self, prompt: np.ndarray, images: Sequence[ImageRef]) -> None:
    """Whether an expanded prompt fits its pictures.

    Raises:
      images.BadImage: other placeholders than the pictures have tokens, those
        of what is never fed, none behind which a text follows, or too many
        patches; names the numbers.
    """
    self.check_placeholders(prompt, images)
    # The last token is fed again to sample the first of the response.
    if len(prompt) and prompt[-1] == self.image_id:
      raise images_lib.BadImage('a prompt ends in a picture, and not in a text')
    self.bucket_of(images)

  def check_placeholders(
    self, tokens: np.ndarray, images: Sequence[ImageRef]
  ) -> None:
    """Whether any expanded tokens have their pictures' placeholders alone.

    Raises:
      images.BadImage: see `check`.
    """
    positions.check(tokens, self.image_id, list(map(self.num_tokens, images)))
    others = [i for i in self.banned_ids if i != self.image_id]
    found = tokens[np.isin(tokens, others)]
    if len(found):
      raise images_lib.BadImage(
        f'the placeholder {found[0]} stands in a prompt, and nothing is fed'
        ' for it'
      )
