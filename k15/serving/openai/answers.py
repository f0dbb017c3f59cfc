"""The JSON of answers, as OpenAI's API describes it: functions of values."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15.serving.openai.body import CHAT

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Head:
  """What is the same in all pieces of an answer.

  Attributes:
    kind: CHAT or COMPLETION.
    number: names the answer.
    created: seconds since 1970.
    model: its name.
    version: of the weights when the call came.
  """

  kind: str
  number: str
  created: int
  model: str
  version: int

  def to_object(self, choices: list[Object], is_piece: bool) -> Object:
    """An answer, or a piece of one, but for its counts."""
    prefix, name = 'cmpl', 'text_completion'
    if self.kind == CHAT:
      prefix = 'chatcmpl'
      name = 'chat.completion' + '.chunk' * is_piece
    return dict(
      id=f'{prefix}-{self.number}',
      object=name,
      created=self.created,
      model=self.model,
      system_fingerprint=f'version-{self.version}',
      choices=choices,
    )


@dataclasses.dataclass(frozen=True)
class Told:
  """What is told of T tokens, behind each other in a text.

  Attributes:
    pieces: their texts.
    logprobs: in nats; None of the first token of a prompt.
    tops: of each the likeliest, [(text, log-probability)]; None: not asked.
    offset: where the first begins in the text, in characters.
  """

  pieces: Sequence[str]
  logprobs: Sequence[float | None]
  tops: Sequence[Sequence[tuple[str, float]]] | None
  offset: int = 0


def choice(
  kind: str, index: int, text: str, told: Told | None, finish: str
) -> Object:
  """A whole response."""
  content = dict(text=text)
  if kind == CHAT:
    content = dict(message=dict(role='assistant', content=text, refusal=None))
  return dict(
    index=index,
    **content,
    logprobs=told and _logprobs(kind, told),
    finish_reason=finish,
  )


def piece(
  kind: str,
  index: int,
  text: str,
  told: Told | None,
  finish: str,
  is_first: bool,
) -> Object:
  """A piece of a response that is streamed."""
  content = dict(text=text)
  if kind == CHAT:
    role = dict(role='assistant') if is_first else {}
    content = dict(delta=role | dict(content=text))
  return dict(
    index=index,
    **content,
    logprobs=told and _logprobs(kind, told),
    finish_reason=finish or None,
  )


def _logprobs(kind, told):
  if kind == CHAT:
    tops = told.tops or [[]] * len(told.pieces)
    rows = zip(told.pieces, told.logprobs, tops, strict=True)
    return dict(
      content=[
        _token(text, logprob) | dict(top_logprobs=[_token(*t) for t in others])
        for text, logprob, others in rows
      ],
      refusal=None,
    )
  lengths = [len(text) for text in told.pieces]
  offsets = told.offset + np.cumsum([0, *lengths])[:-1]
  return dict(
    tokens=list(told.pieces),
    token_logprobs=list(told.logprobs),
    top_logprobs=told.tops and [_by_text(row) for row in told.tops],
    text_offset=offsets.tolist(),
  )


def _by_text(row):
  """Two tokens may have one text: the likelier counts.  None: of the first."""
  return dict(reversed(row)) or None


def _token(text, logprob):
  data = text.encode('utf-8', errors='replace')
  return dict(token=text, logprob=logprob, bytes=list(data))


def usage(prompt_tokens: int, completion_tokens: int) -> Object:
  """Counts of tokens; each prompt counts once."""
  return dict(
    prompt_tokens=prompt_tokens,
    completion_tokens=completion_tokens,
    total_tokens=prompt_tokens + completion_tokens,
  )


def models(name: str | None, created: int, columns: int) -> Object:
  """What is served, if anything."""
  entry = dict(
    id=name,
    object='model',
    created=created,
    owned_by='k15',
    max_model_len=columns,
  )
  return dict(object='list', data=[entry] if name else [])


def error(
  status: int, sentence: str, param: str | None = None, code: str | None = None
) -> Object:
  """An error of an HTTP status."""
  kinds = {401: 'authentication_error', 429: 'rate_limit_error'}
  kind = 'invalid_request_error' if status < 500 else 'server_error'
  return dict(
    error=dict(
      message=sentence, type=kinds.get(status, kind), param=param, code=code
    )
  )


def to_json(value: Mapping[str, Any]) -> bytes:
  """In ASCII, for texts may have halves of characters that no UTF-8 has."""
  return json.dumps(value, allow_nan=False, separators=(',', ':')).encode()


def to_event(value: Mapping[str, Any]) -> bytes:
  """A server-sent event."""
  return b'data: ' + to_json(value) + b'\n\n'


END = b'data: [DONE]\n\n'
