"""Text of tokens as they come: joined, the tokenizer's own text of them all.

A token alone has no text: one may hold half a character, a first one loses its
space, and bytes of a byte-fallback are text only once their run has ended.  So
tokens are decoded behind some that came before, and what a later token may
still change is held back.
"""

from collections.abc import Callable, Sequence

_BROKEN = '\ufffd'
# A character has at most 4 bytes in UTF-8: so many of it may be there, and each
# of them may be written as U+FFFD until the last one comes.
_MOST_BROKEN = 3
# Tokens that are kept to decode others behind, and how many make it worth while
# to let earlier ones go.
_CONTEXT, _WINDOW = 16, 64
# At the start of what is decoded a character may be cut, or a space be missing.
_UNSURE = 4


class TextStream:
  """The text of one response.

  `decode(a + b)` has to begin with what `decode(a)` is, but for characters at
  its end that b completes; so do those of byte-level tokens, of Metaspace, of
  WordPiece and of SentencePiece.
  """

  def __init__(
    self,
    decode: Callable[[Sequence[int]], str],
    is_open: Callable[[int], bool] = lambda token: False,
  ):
    """Begins with no tokens.

    Args:
      decode: text of tokens.
      is_open: whether the text up to this token may depend on the next one in
        another way: bytes of a byte-fallback, a run of which is text only if
        all of it is, and what is skipped within such a run.
    """
    self._decode, self._is_open = decode, is_open
    self._tokens = []  # the last ones
    self._closed = 0  # so many of them are not open, nor is one before
    self._written = 0  # characters of their text that were handed over
    self._window = _WINDOW

  def add(self, tokens: Sequence[int]) -> str:
    """Takes more tokens; what they and those before have made certain."""
    known = len(self._tokens)
    # A new list: a copy of this stream, made before, still has the old one.
    self._tokens = [*self._tokens, *tokens]
    closed = len(self._tokens)
    while closed > known and self._is_open(self._tokens[closed - 1]):
      closed -= 1
    if closed == known:
      return ''
    self._closed = closed
    text = self._decode(self._tokens[:closed])
    end = len(text)
    while end > max(len(text) - _MOST_BROKEN, 0) and text[end - 1] == _BROKEN:
      end -= 1
    piece = text[self._written : end]
    self._written = max(self._written, end)
    if closed > self._window:
      self._forget(text)
    return piece

  def close(self) -> str:
    """The rest: nothing more will come."""
    return self._decode(self._tokens)[self._written :]

  def _forget(self, text):
    """Lets tokens go whose text no longer matters for what follows."""
    held = len(text) - self._written
    count = _CONTEXT
    while count < self._closed:
      rest = self._decode(self._tokens[self._closed - count : self._closed])
      is_long = len(rest) > held + _UNSURE
      if is_long and text.endswith(rest[_UNSURE:]):
        self._tokens = self._tokens[self._closed - count :]
        self._closed, self._written = count, len(rest) - held
        break
      # A cut may fall where the rest decodes to another text; farther back
      # there is another place to try.
      count *= 2
    self._window = max(_WINDOW, 2 * len(self._tokens))
