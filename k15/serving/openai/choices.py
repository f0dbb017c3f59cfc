"""One response as its tokens come: its text, where it ends, and why.

A text that ends a response may begin in one chunk and end in another: what may
still become one is held back.  Where it ends is decided token by token, so that
no number of tokens per call changes text or counts.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from k15.rollout.requests import Chunk, NotFinite, Stop
from k15.serving.text_stream import TextStream

# What a reason of ours is called there.  Whoever was caught in a loop did not
# come to an end.
_FINISHES = {
  Stop.ENDED: 'stop', Stop.EXHAUSTED: 'length', Stop.REPEATED: 'length'
}  # fmt: skip


NOT_FINITE = 'the policy computes log-probabilities that are not finite'


class Lost(Exception):
  """A response that will not be completed; a sentence."""


@dataclasses.dataclass(frozen=True)
class Delta:
  """What a chunk adds to a response.

  Attributes:
    text: certain by now.
    offset: where it begins in the text of the response, in characters.
    tokens, logprobs: of the chunk, of those that count.
    finish: 'stop', 'length', or '' while there is more to come.
  """

  text: str
  offset: int
  tokens: Sequence[int]
  logprobs: Sequence[float]
  finish: str


class UntilStop:
  """A text stream that ends before the first of some texts.

  Attributes:
    is_over: one of them has come.
  """

  def __init__(self, stream: TextStream, stops: Sequence[str]):
    self.is_over = False
    self._stream, self._stops, self._held = stream, stops, ''

  def copy(self) -> 'UntilStop':
    """As it is now, whatever comes to this one."""
    other = copy.copy(self)
    other._stream = copy.copy(self._stream)
    return other

  def add(self, tokens: Sequence[int]) -> str:
    """Takes more tokens; what is certain to be before any stop."""
    return self._cut(self._stream.add(tokens))

  def close(self) -> str:
    """The rest: nothing more will come."""
    text = self._cut(self._stream.close())
    rest, self._held = self._held, ''
    return text if self.is_over else text + rest

  def _cut(self, piece):
    if not self._stops:
      return piece
    text = self._held + piece
    # Of several the one that is complete first, as if letters came one by one.
    found = [(i + len(s), i) for s in self._stops if (i := text.find(s)) >= 0]
    if found:
      self.is_over, self._held = True, ''
      return text[: min(found)[1]]
    longest = max(map(len, self._stops)) - 1
    starts = range(max(len(text) - longest, 0), len(text))
    cut = next((i for i in starts if self._may_begin(text[i:])), len(text))
    self._held = text[cut:]
    return text[:cut]

  def _may_begin(self, text):
    return any(stop.startswith(text) for stop in self._stops)


class Choice:
  """A response.

  Attributes:
    index: among those of its request.
    text: that was handed over.
    tokens: all that count, the one that ended it among them.
    logprobs: of these, in nats.
    finish: as in `Delta`.
  """

  def __init__(self, index: int, tokenizer: Any, stops: Sequence[str]):
    self.index, self.text, self.finish = index, '', ''
    self.tokens: list[int] = []
    self.logprobs: list[float] = []
    stream = TextStream(tokenizer.decode, tokenizer.is_open)
    self._until = UntilStop(stream, stops)

  def add(self, chunk: Chunk) -> Delta:
    """Takes a chunk in, of a response that is not finished.

    Raises:
      Lost: the response was cancelled, interrupted, or failed.
      NotFinite: the policy computes what is no number.
    """
    if chunk.stop not in (Stop.RUNNING, *_FINISHES):
      raise Lost(chunk.error or f'the response was {chunk.stop.name.lower()}')
    if not np.isfinite(chunk.logprobs).all():
      raise NotFinite(NOT_FINITE)
    offset, tokens = len(self.text), chunk.tokens.tolist()
    before = self._until.copy()
    text = self._until.add(tokens)
    if not self._until.is_over and chunk.stop is not Stop.RUNNING:
      self.finish = _FINISHES[chunk.stop]
      text += self._until.close()
    if self._until.is_over:
      self._until, self.finish = before, 'stop'
      text, tokens = self._up_to_the_stop(tokens)
    self.text += text
    self.tokens += tokens
    logprobs = chunk.logprobs[: len(tokens)].tolist()
    self.logprobs += logprobs
    return Delta(text, offset, tokens, logprobs, self.finish)

  def _up_to_the_stop(self, tokens):
    """The text before it, and the tokens with it."""
    text = ''
    for count, token in enumerate(tokens, 1):
      text += self._until.add([token])
      if self._until.is_over:
        return text, tokens[:count]
    # It came with the last letters, which only the end made certain.
    return text + self._until.close(), tokens


class Pieces:
  """Texts of tokens, one each: joined, they are the text of them all.

  A token that ends within a character has '', and the one that completes it
  has the whole of it.
  """

  def __init__(self, tokenizer: Any):
    self._stream = TextStream(tokenizer.decode, tokenizer.is_open)

  def add(self, tokens: Sequence[int], is_last: bool) -> list[str]:
    """Takes more tokens; a piece for each."""
    pieces = [self._stream.add([token]) for token in tokens]
    if pieces and is_last:
      pieces[-1] += self._stream.close()
    return pieces
