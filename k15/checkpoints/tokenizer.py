"""Text to tokens and back: bytes, and below them whole words.

A byte vocabulary needs no training and no download and writes any text; the
configured words make frequent strings of a task one token each.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

VOCAB_MULTIPLE = 64  # Vocabularies of such sizes divide among devices.


class ByteTokenizer:
  """Ids 0 to 255 are bytes, then the words, `pad_id`, `eos_id`, `image_id`.

  `vocab_size` is rounded up to a multiple of 64, or what a model has above it;
  the ids this adds are never produced by `encode`.  No text encodes to
  `pad_id`, `eos_id` or `image_id`.

  Attributes:
    words: the strings of one token each, in order of their ids from 256 on.
    pad_id: fills what is not text.
    eos_id, turn_end_id: ends a response.
    eos_ids: the same as a tuple.
    image_id: stands for a picture, of a policy that sees; -1: it sees none.
    vocab_size: number of ids, those never produced included.
    has_chat_template: False.
  """

  has_chat_template = False

  def __init__(
    self,
    words: Sequence[str] = (),
    least_vocab_size: int = 0,
    sees: bool = False,
  ):
    """Raises ValueError for an empty or a repeated word."""
    words = tuple(words)
    for word in words:
      if not word:
        raise ValueError(f'word {words.index(word)} of {len(words)} is empty')
      if words.count(word) > 1:
        raise ValueError(f'word {word!r} comes {words.count(word)} times')
    self.words = words
    self.pad_id = 256 + len(words)
    self.eos_id = self.pad_id + 1
    self.turn_end_id = self.eos_id
    self.eos_ids = (self.eos_id,)
    self.image_id = self.eos_id + 1 if sees else -1
    used = max(self.eos_id, self.image_id) + 1
    known = -(-used // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
    self.vocab_size = max(known, least_vocab_size)
    self._pieces = [bytes([i]) for i in range(256)]
    self._pieces += [_utf8(word) for word in words]
    self._ids = {word: 256 + i for i, word in enumerate(words)}
    # Alternatives are tried in order: the longest word wins at each place.
    longest_first = sorted(words, key=len, reverse=True)
    pattern = '|'.join(re.escape(word) for word in longest_first)
    self._split = re.compile(f'({pattern})').split if words else None

  def encode(self, text: str) -> np.ndarray:
    """Greedy from the left: the longest word that fits, else one byte.

    Args:
      text: any text; a lone surrogate, which UTF-8 cannot write, becomes '?'.

    Returns:
      int32 [T].
    """
    if self._split is None:
      return np.frombuffer(_utf8(text), np.uint8).astype(np.int32)
    ids = []
    for i, part in enumerate(self._split(text)):
      if i % 2:  # Odd parts are the words that separate the others.
        ids.append(self._ids[part])
      else:
        ids.extend(_utf8(part))
    return np.array(ids, np.int32)

  def begin(self, text: str) -> np.ndarray:
    """A text from its beginning, before which there is no token."""
    return self.encode(text)

  def decode(self, ids: Iterable[int]) -> str:
    """Text of the ids; what is no byte and no word is skipped.

    Args:
      ids: integers [T] of any value: a policy may sample any id.

    Returns:
      The text, with U+FFFD where bytes are not UTF-8.
    """
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    known = len(self._pieces)
    pieces = [self._pieces[i] for i in ids if 0 <= i < known]
    return b''.join(pieces).decode('utf-8', errors='replace')

  def is_open(self, token: int) -> bool:
    """Whether the text up to here waits for more than a character's bytes."""
    del token
    return False


def _utf8(text):
  return text.encode('utf-8', errors='replace')
