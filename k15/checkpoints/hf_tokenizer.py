"""The tokenizer and chat template that come with a checkpoint.

Text becomes tokens once, here; from then on tokens are passed, and text is made
of them only to be read or judged.

The chat template of a checkpoint is rendered as in transformers: by sandboxed
Jinja, with what the templates of the hub call.
"""

import datetime
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import numpy as np
import tokenizers

from k15.checkpoints import hf_config
from k15.checkpoints.hf_fields import Fields
from k15.vision import references

FILE = 'chat_template.jinja'
_OLDER = 'chat_template.json'  # of a processor of pictures
# What templates take for today.  The true day would change the prompts of a run
# that is resumed on the next one, and whatever is kept under their tokens; this
# is the day that Llama 3's own template falls back to.
TODAY = datetime.date(2024, 7, 26)


def read(directory: pathlib.Path, settings: Fields) -> jinja2.Template | None:
  """The template of a directory, None if it has none.

  Args:
    directory: of the checkpoint; its files go before the settings.
    settings: of tokenizer_config.json.

  Raises:
    ValueError: a malformed template, or several of which none is the default.
  """
  path = directory / FILE
  try:
    where, source = str(path), path.read_text(encoding='utf-8')
  except FileNotFoundError:
    if (directory / _OLDER).is_file():
      settings = hf_config.read_fields(directory / _OLDER)
    where, source = settings.where, _source(settings)
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from None
  if source is None:
    return None
  try:
    # In a sandbox: a template is a program that comes with a download.
    return _environment().from_string(source)
  except (jinja2.TemplateError, RecursionError) as error:
    raise ValueError(f'{where}: the chat template: {error}') from None


def render(template: jinja2.Template, **variables: Any) -> str:
  """The text of a template.

  Raises:
    ValueError: it refuses what it is given, in one line.
  """
  # Templates ask whether these are none, which what is undefined is not.
  variables = dict(tools=None, documents=None) | variables
  try:
    return template.render(variables)
  except Exception as error:  # A program of its own, wrong in its own ways.
    text = ' '.join(str(error).split()) or type(error).__name__
    raise ValueError(f'the chat template refuses: {text}') from None


def _source(settings):
  """One text, or that named 'default' of several."""
  given = settings.values.get('chat_template')
  if isinstance(given, list):
    try:
      given = {entry['name']: entry['template'] for entry in given}
    except (TypeError, KeyError):
      raise settings.refuse(
        'chat_template', "a text, or objects with 'name' and 'template'"
      ) from None
  if isinstance(given, dict):
    if 'default' not in given:
      raise ValueError(
        f'{settings.where}: chat_template has {sorted(map(str, given))} and no'
        f" 'default'; the one that is meant can be written to {FILE}"
      )
    given = given['default']
  if not isinstance(given, str | None):
    raise settings.refuse('chat_template', 'a text')
  return given


class _Generation(jinja2.ext.Extension):
  """`{% generation %}` is around what the assistant writes, and adds nothing.

  Which tokens are learnt from, `conversations` finds from any template.
  """

  tags = frozenset({'generation'})

  def parse(self, parser):
    line = next(parser.stream).lineno
    body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
    call = self.call_method('_body')
    return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

  def _body(self, caller):
    return caller()


def _environment():
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters['tojson'] = _to_json
  # What templates of the hub call beside Jinja's own, by transformers' names.
  environment.globals |= dict(
    raise_exception=_raise_exception, strftime_now=_strftime_now
  )
  return environment


def _to_json(
  value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
):
  """Jinja's own would write HTML."""
  return json.dumps(
    value,
    ensure_ascii=ensure_ascii,
    indent=indent,
    separators=separators,
    sort_keys=sort_keys,
  )


def _raise_exception(message):
  raise jinja2.TemplateError(message)


def _strftime_now(form):
  return TODAY.strftime(form)


_SPECIAL = ('bos', 'eos', 'pad', 'unk', 'sep', 'cls', 'mask')
# The answer is a word that no template writes by itself, so that what follows
# it is the end of the turn.
_QUESTION = dict(role='user', content='Which word is it?')
_ANSWER = dict(role='assistant', content='perihelion')


class HfTokenizer:
  """tokenizer.json with the attributes and methods of `ByteTokenizer`.

  Attributes:
    vocab_size: of the model, at least that of tokenizer.json.
    eos_ids: any of them ends a response: all that generation_config.json,
      config.json and tokenizer_config.json name, and `turn_end_id`.
    eos_id: the one that ends a text without a chat.
    turn_end_id: the one by which the chat template ends a turn of the
      assistant; `eos_id` if it has none, or there is no template.
    pad_id: fills what is not text; `eos_id` where the checkpoint names none.
    has_chat_template: whether `render` can be used.
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
    settings = _fields(directory / 'tokenizer_config.json')
    self._special = _special_tokens(
      settings, _fields(directory / 'special_tokens_map.json')
    )
    self._template = read(directory, settings)
    self.has_chat_template = self._template is not None
    self._in_parts = self.has_chat_template and self._asks_for_parts()
    self.vocab_size = hf_config.read_config(directory).vocab_size
    self._read_ids(directory)
    self._start = _start(self._plain)
    self._closed = _closed_tokens(self._plain).difference(self.eos_ids)

  def _read_ids(self, directory):
    generation = hf_config.read_generation(directory)
    named, turn_end = self._id_of('eos'), self._find_turn_end()
    ends = [*generation.eos_ids, named, turn_end]
    self.eos_ids = tuple(dict.fromkeys(i for i in ends if i is not None))
    if not self.eos_ids:
      raise ValueError(
        f'{directory} names no end-of-sequence id: neither eos_token_id in'
        ' generation_config.json or config.json, nor eos_token in'
        ' tokenizer_config.json'
      )
    self.eos_id = self.eos_ids[0] if named is None else named
    self.turn_end_id = self.eos_id if turn_end is None else turn_end
    pads = self._id_of('pad'), generation.pad_id, self.eos_id
    self.pad_id = next(pad for pad in pads if pad is not None)
    for name, ids in (
      ('of tokenizer.json', self._plain.get_vocab().values()),
      ('that ends a response', self.eos_ids),
      ('that is padding', [self.pad_id]),
    ):
      if max(ids, default=0) >= self.vocab_size:
        raise ValueError(
          f'{directory}: token id {max(ids)} {name} is not below vocab_size'
          f' {self.vocab_size}'
        )

  def _id_of(self, name):
    text = self._special.get(f'{name}_token')
    return None if text is None else self._plain.token_to_id(text)

  def _asks_for_parts(self):
    """Whether the template writes no text but that of parts, as SmolVLM's."""
    text = _QUESTION['content']

    def is_written(content):
      messages = [_QUESTION | dict(content=content)]
      try:
        return text in render(self._template, messages=messages)
      except ValueError:
        return False

    return not is_written(text) and is_written(_parts(text))

  def _find_turn_end(self):
    """The first special token that the template writes after an answer."""
    if self._template is None:
      return None
    try:
      text = self.render([_QUESTION, _ANSWER], add_generation_prompt=False)
    except ValueError:
      return None
    _, answered, tail = text.rpartition(_ANSWER['content'])
    added = self._plain.get_added_tokens_decoder()
    ids = self._chat.encode(tail, add_special_tokens=False).ids
    ids = [i for i in ids if i in added] if answered else []
    # Some tokenizers do not mark theirs as special.
    ids.sort(key=lambda i: not added[i].special)
    return ids[0] if ids else None

  def encode(self, text: str) -> np.ndarray:
    """Plain text: the name of a special token is text like any other.

    Args:
      text: any text.

    Returns:
      int32 [T], without special tokens.
    """
    return _encode(self._plain, text)

  def begin(self, text: str) -> np.ndarray:
    """Plain text from its beginning: after the tokens that go before any.

    Those are the ones that tokenizer.json puts there, such as the token of the
    beginning of text in Llama 3; in a chat, the template writes them.

    Returns:
      int32 [T].
    """
    return np.concatenate([self._start, self.encode(text)])

  def encode_rendered(self, text: str) -> np.ndarray:
    """int32 [T], of what `render` wrote or a piece of it.

    Special tokens are read as such: the template is trusted, and so has the
    content to be.
    """
    return _encode(self._chat, text)

  def render(
    self,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    **variables: Any,
  ) -> str:
    """Text of the chat template, by default up to where a response begins.

    Args:
      messages: each with 'role' and 'content', in which '<image>' stands for a
        picture.
      add_generation_prompt: whether the assistant's turn is begun.
      **variables: others the template reads, such as enable_thinking.

    Raises:
      ValueError: there is no template, or it refuses the messages.
    """
    if self._template is None:
      raise ValueError('the checkpoint has no chat template')
    if self._in_parts:
      messages = [{**m, 'content': _parts(m.get('content'))} for m in messages]
    return render(
      self._template,
      messages=list(messages),
      add_generation_prompt=add_generation_prompt,
      **self._special,
      **variables,
    )

  def decode(self, ids: Iterable[int]) -> str:
    """Text of the ids; special tokens, ends and what has no text are skipped.

    Args:
      ids: integers [T] of any value: a policy may sample any id.

    Returns:
      The text, with U+FFFD where bytes are not UTF-8.
    """
    ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
    known = [
      i for i in ids if 0 <= i < self.vocab_size and i not in self.eos_ids
    ]
    return self._plain.decode(known, skip_special_tokens=True)

  def is_open(self, token: int) -> bool:
    """Whether the text up to here waits for more than a character's bytes.

    A run of byte-fallback tokens is text only if all its bytes are, and goes on
    behind tokens that are skipped.
    """
    return bool(self._closed) and token not in self._closed


def _parts(content):
  """Texts and pictures of a message, in order; what is no text stays."""
  if not isinstance(content, str):
    return content
  first, *others = content.split(references.MARK)
  parts = [first] if first or not others else []
  for text in others:
    parts += [None, text] if text else [None]
  return [
    dict(type='image') if x is None else dict(type='text', text=x)
    for x in parts
  ]


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


def _start(tokenizer):
  """What the post-processor puts before a text, int32 [T]."""
  plain = tokenizer.encode('a', add_special_tokens=False).ids
  whole = tokenizer.encode('a', add_special_tokens=True).ids
  starts = range(len(whole))
  found = (i for i in starts if whole[i : i + len(plain)] == plain)
  return np.array(whole[: next(found, 0)], np.int32)


def _fields(path):
  return hf_config.read_fields(path) if path.exists() else Fields(str(path), {})


def _special_tokens(settings, legacy):
  """Names such as 'eos_token' -> text, of those that there are.

  A special token is a text, or an object that holds one.  Older files have
  them in special_tokens_map.json.
  """
  found = {}
  for key in (f'{name}_token' for name in _SPECIAL):
    for fields in (settings, legacy):
      if isinstance(fields.values.get(key), dict):
        fields, name = fields.group(key), 'content'
      else:
        name = key
      text = fields.text(name)
      if text and key not in found:
        found[key] = text
  return found
