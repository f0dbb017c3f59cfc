"""Prompts of a body as tokens: texts, lists of tokens, and chats with pictures.

All of it is bounded before it costs anything.  What a picture's address names
is never fetched: it comes with the request, as data.
"""

import base64
import binascii
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from k15.data_types import ImageRef
from k15.serving.openai import body as body_lib
from k15.serving.openai.body import Bad
from k15.vision import images as images_lib
from k15.vision import references
from k15.vision.sight import Sight

MOST_PROMPTS = 512  # of one request
MOST_MESSAGES, MOST_PARTS = 1024, 256  # of a chat, of a message
MOST_PICTURES = 16  # of a chat
MOST_PIXELS = 1 << 24  # of one of them: 4,096 x 4,096, 48 MB
# A token, in the mean of a prompt: to count tokens takes time, and with more to
# a token only white space would fit.
MOST_CHARACTERS = 32
_ROLES = ('system', 'developer', 'user', 'assistant')


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
  """What is put to the policy.

  Attributes:
    tokens: int32 [T].
    text: what they were made of; None: they came as tokens.
    images, pixels: its pictures, uint8 [h, w, 3] each.
  """

  tokens: np.ndarray
  text: str | None
  images: tuple[ImageRef, ...] = ()
  pixels: tuple[np.ndarray, ...] = ()


def of_completion(
  body: Mapping[str, Any], tokenizer: Any, columns: int
) -> list[Prompt]:
  """A text, tokens, or a list of either.

  A text is plain: the name of a special token is text like any other, and what
  the tokenizer puts before any text comes before it.

  Args:
    body: of a request.
    tokenizer: of the model.
    columns: longest prompt and response together, in tokens.

  Raises:
    Bad: there is no prompt, or it is of another kind, or too long.
  """
  value = body.get('prompt')
  several = value
  if isinstance(value, str) or (
    isinstance(value, list) and value and type(value[0]) is int
  ):
    several = [value]
  if not isinstance(several, list) or not 0 < len(several) <= MOST_PROMPTS:
    raise Bad(
      f'prompt is {body_lib.shown(value)}, and has to be a text, a list of'
      f' tokens, or 1 to {MOST_PROMPTS} of them',
      'prompt',
    )
  return [_plain(one, tokenizer, columns) for one in several]


def _plain(value, tokenizer, columns):
  if isinstance(value, str):
    _check_characters(len(value), columns, 'prompt')
    return Prompt(tokenizer.begin(value), value)
  if not isinstance(value, list) or not value:
    raise Bad(
      f'a prompt is {body_lib.shown(value)}, no text and no tokens', 'prompt'
    )
  if len(value) > columns:
    raise Bad(
      f'a prompt of {len(value)} tokens for {columns} columns', 'prompt'
    )
  # Not by numpy, which would take 1.5 and True.
  wrong = [x for x in value if type(x) is not int or not 0 <= x < 1 << 31]
  if wrong:
    raise Bad(f'a prompt has the token {body_lib.shown(wrong[0])}', 'prompt')
  return Prompt(np.array(value, np.int32), None)


def of_chat(
  body: Mapping[str, Any], tokenizer: Any, sight: Sight | None, columns: int
) -> Prompt:
  """The chat of a body, in the model's own template.

  Raises:
    Bad: a message is malformed, the template refuses it, or there is none; a
      picture cannot be read, or the model sees none.
  """
  if not tokenizer.has_chat_template:
    raise Bad('this model has no chat template: ask /v1/completions')
  messages, pixels = _messages(body.get('messages'))
  _check_characters(
    sum(len(m['content']) for m in messages), columns, 'messages'
  )
  if pixels and sight is None:
    raise Bad(f'{len(pixels)} pictures, and this model sees none', 'messages')
  images = tuple(references.of_pixels(p, 'sent') for p in pixels)
  encode = tokenizer.encode_rendered
  try:
    text = tokenizer.render(messages)
    if sight is None:
      tokens = encode(text)
    else:
      tokens = sight.encode(text, images, encode, encode)
  except ValueError as error:  # A `BadImage` is one.
    raise Bad(str(error), 'messages') from None
  return Prompt(np.asarray(tokens, np.int32), text, images, tuple(pixels))


def _messages(value):
  """Messages whose content is text with marks, and the pictures in order."""
  messages, pixels = [], []
  for message in body_lib.objects(value, 'messages', MOST_MESSAGES):
    role, content = message.get('role'), message.get('content')
    if role not in _ROLES:
      raise Bad(
        f'a message has the role {body_lib.shown(role)}, none of'
        f' {", ".join(_ROLES)}',
        'messages',
      )
    for name, other in message.items():
      if name not in ('role', 'content') and other not in (None, [], {}, ''):
        raise Bad(
          f'a message has {body_lib.shown(name)}, not known here', 'messages'
        )
    if not isinstance(content, str):
      content = _joined(content, pixels)
    # OpenAI's own later name of the same; templates do not know it.
    role = 'system' if role == 'developer' else role
    messages.append(dict(role=role, content=content))
  marks = sum(m['content'].count(references.MARK) for m in messages)
  if pixels and marks != len(pixels):
    raise Bad(
      f'texts have {marks - len(pixels)} {references.MARK} beside'
      f' {len(pixels)} pictures, for which it stands',
      'messages',
    )
  return messages, pixels


def _joined(content, pixels):
  """The text of parts; their pictures are added to `pixels`."""
  texts = []
  for part in body_lib.objects(content, 'content', MOST_PARTS):
    kind = part.get('type')
    if kind == 'text' and isinstance(part.get('text'), str):
      texts.append(part['text'])
    elif kind == 'image_url':
      if len(pixels) == MOST_PICTURES:
        raise Bad(f'more than {MOST_PICTURES} pictures', 'messages')
      pixels.append(_pixels(part.get('image_url')))
      texts.append(references.MARK)
    else:
      raise Bad(
        f'a part of type {body_lib.shown(kind)} is {body_lib.shown(part)}:'
        ' neither text nor image_url',
        'messages',
      )
  return ''.join(texts)


def _pixels(value):
  """uint8 [h, w, 3] of {'url': 'data:image/...;base64,...'}."""
  value = {'url': value} if isinstance(value, str) else value
  url = value.get('url') if isinstance(value, dict) else None
  if not isinstance(url, str):
    raise Bad(
      f'image_url is {body_lib.shown(value)}, without a url', 'messages'
    )
  if value.get('detail') not in (None, 'auto'):
    raise Bad(
      f'detail is {body_lib.shown(value["detail"])}: the model alone decides'
      ' how much of a picture it sees',
      'messages',
    )
  head, comma, data = url.partition(',')
  if not (
    head.startswith('data:image/') and head.endswith(';base64') and comma
  ):
    raise Bad(
      f'a picture at {body_lib.shown(url)}: nothing is fetched, it has to come'
      ' as data:image/...;base64,...',
      'messages',
    )
  try:
    return images_lib.decode(base64.b64decode(data, validate=True), MOST_PIXELS)
  except (binascii.Error, ValueError) as error:  # A `BadImage` is one.
    raise Bad(str(error)[:300], 'messages') from None


def _check_characters(count, columns, param):
  most = MOST_CHARACTERS * columns
  if count > most:
    raise Bad(
      f'{param} of {count} characters; this model takes {columns} tokens, and'
      f' {most} characters at most',
      param,
    )
