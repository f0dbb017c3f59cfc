"""The tokenizer and chat template that come with a checkpoint.

Text becomes tokens once, here; from then on tokens are passed, and text is made
of them only to be read or judged.
"""

import datetime
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import numpy as np
import tokenizers

from k15 import hf_config


class HfTokenizer:
  """tokenizer.json with the attributes and methods of `ByteTokenizer`.

  Attributes:
    vocab_size: of the model, at least that of tokenizer.json.
    eos_ids: any of them ends a response.
    eos_id: the one that ends a turn.
    pad_id: fills what is not text; `eos_id` where the checkpoint names none.
    has_chat_template: whether `encode_chat` can be used.
  """

  def __init__(self, directory: str | pathlib.Path):
    """Reads the files of a checkpoint.

    Raises:
      ValueError: no or a malformed tokenizer.json, no end-of-sequence id, an
        id outside the vocabulary, or a malformed chat template.
    """
    directory = pathlib.Path(directory)
    path = directory / 'tokenizer.json'
    if not path.is_file():
      raise ValueError(f'{directory} has no tokenizer.json')
    # Two, for the difference is a setting and threads share them.
    self._plain = _read_tokenizer(path, reads_special_tokens=False)
    self._chat = _read_tokenizer(path, reads_special_tokens=True)
    settings = directory / 'tokenizer_config.json'
    settings = hf_config.read_json(settings) if settings.exists() else {}
    self._special = {
      f'{name}_token': _text(settings.get(f'{name}_token'))
      for name in ('bos', 'eos', 'pad', 'unk')
    }
    self._closed = _closed_tokens(self._plain)
    self.vocab_size = hf_config.read_config(directory).vocab_size
    self._read_ids(directory)
    self._template = _read_template(directory, settings)
    self.has_chat_template = self._template is not None

  def _read_ids(self, directory):
    generation = hf_config.read_generation(directory)
    named = self._id_of('eos')
    eos_ids = generation.eos_ids or (() if named is None else (named,))
    if not eos_ids:
      raise ValueError(f'{directory} names no end-of-sequence id')
    self.eos_ids = eos_ids
    self.eos_id = named if named in eos_ids else eos_ids[0]
    pads = self._id_of('pad'), generation.pad_id, self.eos_id
    self.pad_id = next(pad for pad in pads if pad is not None)
    known = self._plain.get_vocab(with_added_tokens=True)
    for i in (*known.values(), *self.eos_ids, self.pad_id):
      if not 0 <= i < self.vocab_size:
        raise ValueError(
          f'{directory}: token id {i} is not below vocab_size {self.vocab_size}'
        )

  def _id_of(self, name):
    text = self._special[f'{name}_token']
    return None if text is None else self._plain.token_to_id(text)

  def encode(self, text: str) -> np.ndarray:
    """Plain text: the name of a special token is text like any other.

    Args:
      text: any text.

    Returns:
      int32 [T], without special tokens.
    """
    return _encode(self._plain, text)

  def encode_chat(
    self, messages: Sequence[Mapping[str, Any]], **variables: Any
  ) -> np.ndarray:
    """Messages through the chat template, up to where a response begins.

    Args:
      messages: each with 'role' and 'content', of which special tokens are
        read as such: the template is trusted, and so has the content to be.
      **variables: others the template reads, such as enable_thinking.

    Returns:
      int32 [T].

    Raises:
      ValueError: there is no template, or it refuses the messages.
    """
    return _encode(self._chat, self.render(messages, **variables))

  def encode_rendered(self, text: str) -> np.ndarray:
    """A piece of what `render` wrote, special tokens read as such."""
    return _encode(self._chat, text)

  def render(
    self,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    **variables: Any,
  ) -> str:
    """Text of the chat template; by default what `encode_chat` encodes."""
    if self._template is None:
      raise ValueError('the checkpoint has no chat template')
    special = {key: text for key, text in self._special.items() if text}
    try:
      return self._template.render(
        messages=messages,
        add_generation_prompt=add_generation_prompt,
        **special,
        **variables,
      )
    except jinja2.TemplateError as error:
      raise ValueError(f'the chat template refuses: {error}') from None

  def decode(self, ids: Iterable[int]) -> str:
    """Text of the ids; special tokens and what has no text are skipped.

    Args:
      ids: integers [T] of any value: a policy may sample any id.

    Returns:
      The text, with U+FFFD where bytes are not UTF-8.
    """
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    known = [i for i in ids if 0 <= i < self.vocab_size]
    return self._plain.decode(known, skip_special_tokens=True)

  def is_open(self, token: int) -> bool:
    """Whether the text up to here waits for more than a character's bytes.

    A run of byte-fallback tokens is text only if all its bytes are, and goes on
    behind tokens that are skipped.
    """
    return bool(self._closed) and token not in self._closed


def _read_tokenizer(path, reads_special_tokens):
  try:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
  except Exception as error:  # The library raises nothing narrower.
    raise ValueError(f'{path} is malformed: {error}') from None
  tokenizer.no_padding()
  tokenizer.no_truncation()
  tokenizer.encode_special_tokens = not reads_special_tokens
  return tokenizer


def _closed_tokens(tokenizer):
  """Ids that end a run of bytes; none if the vocabulary has no such bytes."""
  ids = set(tokenizer.get_vocab(with_added_tokens=True).values())
  pieces = [f'<0x{byte:02X}>' for byte in range(256)]
  in_runs = {tokenizer.token_to_id(piece) for piece in pieces} & ids
  if not in_runs:
    return frozenset()
  added = tokenizer.get_added_tokens_decoder()
  in_runs |= {token for token, entry in added.items() if entry.special}
  return frozenset(ids - in_runs)


def _encode(tokenizer, text):
  # A lone surrogate, which UTF-8 cannot write, becomes '?'.
  text = text.encode('utf-8', errors='replace').decode('utf-8')
  return np.array(
    tokenizer.encode(text, add_special_tokens=False).ids, np.int32
  )


def _text(token):
  """A special token is a text, or an object that holds one."""
  return token['content'] if isinstance(token, dict) else token


def _read_template(directory, settings):
  path = directory / 'chat_template.jinja'
  source = settings.get('chat_template')
  if path.exists():
    source = path.read_text(encoding='utf-8')
  if isinstance(source, list):  # Several, by name.
    source = {entry['name']: entry['template'] for entry in source}['default']
  if source is None:
    return None
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[jinja2.ext.loopcontrols],
  )
  environment.filters['tojson'] = _to_json
  environment.globals |= dict(
    raise_exception=_raise_exception, strftime_now=_strftime_now
  )
  try:
    return environment.from_string(source)
  except jinja2.TemplateError as error:
    raise ValueError(f'{directory}: the chat template: {error}') from None


def _to_json(value, ensure_ascii=False, indent=None, **others):
  """Jinja's own would write HTML."""
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **others)


def _raise_exception(message):
  raise jinja2.TemplateError(message)


def _strftime_now(form):
  return datetime.datetime.now().strftime(form)
