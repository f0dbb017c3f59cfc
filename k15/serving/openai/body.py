"""What a body asks for, read field by field: nothing of it is trusted.

A field that is not known here may change what is meant, and is refused by
name; one that would change nothing is passed over.
"""

import dataclasses
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

CHAT, COMPLETION = 'chat', 'completion'  # the two calls that are answered
MOST_CHOICES = 128  # of one prompt
MOST_STOPS, LONGEST_STOP = 16, 128  # texts, and characters of one
MOST_ALTERNATIVES = 20  # of a token that are told
_DEFAULT_TOKENS = 16  # of a completion, as OpenAI has it

_READ = (
  'model', 'n', 'max_tokens', 'temperature', 'top_p', 'seed', 'stop', 'stream',
  'stream_options', 'logprobs',
)  # fmt: skip
_READ_OF = {
  COMPLETION: ('prompt', 'echo'),
  CHAT: ('messages', 'max_completion_tokens', 'top_logprobs'),
}
_HARMLESS = (
  'user', 'metadata', 'store', 'service_tier', 'safety_identifier',
  'prompt_cache_key',
)  # fmt: skip
# What may stand in a field that is not obeyed: nothing comes of it.
_NEUTRAL = {
  'best_of': (1,),
  'frequency_penalty': (0,),
  'functions': ([],),
  'logit_bias': ({},),
  'modalities': (['text'],),
  'parallel_tool_calls': (True, False),
  'presence_penalty': (0,),
  'response_format': ({'type': 'text'},),
  'suffix': ('',),
  'tool_choice': ('none', 'auto'),
  'tools': ([],),
}


class Bad(ValueError):
  """A body that is refused: a sentence, and the field that it is about."""

  def __init__(self, sentence: str, param: str | None = None):
    super().__init__(sentence)
    self.param = param


@dataclasses.dataclass(frozen=True)
class Asked:
  """What is asked for, beside the prompt.

  Attributes:
    model: its name; None: whichever is served.
    n: responses to each prompt.
    max_tokens: of a response; None: whatever fits; 0: the prompt alone is
      judged.
    temperature, top_p: as in `Request`.
    seed: uint64; None: any.
    stops: texts that end a response, and are no part of it.
    is_stream: answered in pieces.
    counts_at_end: a stream ends with its counts of tokens.
    alternatives: tokens told beside each token, likeliest first; None: no
      log-probabilities are wanted.
    echo: the prompt is a part of the text.
  """

  model: str | None
  n: int
  max_tokens: int | None
  temperature: float
  top_p: float
  seed: int | None
  stops: tuple[str, ...]
  is_stream: bool
  counts_at_end: bool
  alternatives: int | None
  echo: bool

  @property
  def is_scored(self) -> bool:
    """Whether more is wanted of tokens than sampling tells."""
    return self.alternatives is not None and (
      self.alternatives > 0 or self.echo
    )


def to_object(data: bytes) -> dict[str, Any]:
  """The JSON object of a body; raises `Bad` for anything else."""
  try:
    body = json.loads(data, parse_constant=_refuse_constant)
  except (ValueError, RecursionError) as error:
    why = ' '.join(str(error).split())[:100]
    raise Bad(f'{len(data)} bytes that are no JSON: {why}') from None
  if not isinstance(body, dict):
    raise Bad(f'the body is {shown(body)}, and has to be an object')
  return body


def asked(body: Mapping[str, Any], kind: str) -> Asked:
  """Reads all fields but prompt and messages.

  Args:
    body: of a request.
    kind: CHAT or COMPLETION.

  Raises:
    Bad: a field has a wrong value, or is not known.
  """
  _check_fields(body, kind)
  is_chat = kind == CHAT
  alternatives = _alternatives(body, is_chat)
  options = _value(body, 'stream_options', {}, dict, 'an object')
  _check_known(options, ('include_usage', 'include_obfuscation'), 'stream_')
  found = Asked(
    model=_value(body, 'model', None, str, 'a text'),
    n=_integer(body, 'n', 1, 1, MOST_CHOICES),
    max_tokens=_max_tokens(body, is_chat),
    temperature=_number(body, 'temperature', 1.0, 0.0, 2.0),
    top_p=_number(body, 'top_p', 1.0, 0.0, 1.0),
    seed=_seed(body),
    stops=_stops(body),
    is_stream=_boolean(body, 'stream'),
    counts_at_end=_boolean(options, 'include_usage'),
    alternatives=alternatives,
    echo=not is_chat and _boolean(body, 'echo'),
  )
  if found.max_tokens == 0 and not found.echo:
    raise Bad('max_tokens is 0, which only an echo can do with', 'max_tokens')
  if found.is_stream and found.is_scored:
    raise Bad(
      'alternatives, and log-probabilities of a prompt, come when all tokens'
      ' are there: ask without stream, or for logprobs of the tokens alone',
      'logprobs',
    )
  return found


def shown(value: Any) -> str:
  """A value in a sentence, cut to a few words whatever it is."""
  return reprlib.repr(value)[:60]


def _refuse_constant(name):
  raise ValueError(f'{name} is no JSON')


def _check_fields(body, kind):
  own = (*_READ, *_READ_OF[kind])
  for name, value in body.items():
    if value is None or name in own or name in _HARMLESS:
      continue
    if name not in _NEUTRAL:
      raise Bad(
        f'{shown(name)} is not known here; known are {", ".join(own)}', name
      )
    neutral = any(type(x) is type(value) and x == value for x in _neutral(name))
    if not neutral:
      raise Bad(f'{name} is {shown(value)}, and is not obeyed here', name)


def _neutral(name):
  values = _NEUTRAL[name]
  return (*values, *(float(x) for x in values if type(x) is int))


def _check_known(options, known, group):
  for name, value in options.items():
    if name not in known and value is not None:
      raise Bad(f'{group}options has {shown(name)}', f'{group}options')


def _alternatives(body, is_chat):
  if not is_chat:
    if body.get('logprobs') is False:
      return None
    return _integer(body, 'logprobs', None, 0, MOST_ALTERNATIVES)
  count = _integer(body, 'top_logprobs', None, 0, MOST_ALTERNATIVES)
  if _boolean(body, 'logprobs'):
    return count or 0
  if count:
    raise Bad(f'top_logprobs is {count}, and logprobs false', 'top_logprobs')
  return None


def _max_tokens(body, is_chat):
  least, most = (1 if is_chat else 0), 1 << 31
  default = None if is_chat else _DEFAULT_TOKENS
  given = _integer(body, 'max_tokens', default, least, most)
  return _integer(body, 'max_completion_tokens', given, 1, most)


def _seed(body):
  """OpenAI's are int64; the lowest 64 bits count."""
  value = _integer(body, 'seed', None, -(1 << 63), (1 << 64) - 1)
  return None if value is None else value % (1 << 64)


def _stops(body):
  value = body.get('stop')
  if value is None:
    return ()
  texts = [value] if isinstance(value, str) else value
  right = isinstance(texts, list) and len(texts) <= MOST_STOPS
  if not right or not all(
    isinstance(text, str) and 0 < len(text) <= LONGEST_STOP for text in texts
  ):
    raise Bad(
      f'stop is {shown(value)}, and has to be a text or up to {MOST_STOPS} of 1'
      f' to {LONGEST_STOP} characters',
      'stop',
    )
  return tuple(dict.fromkeys(texts))


def _value(
  body: Mapping[str, Any], name: str, default: Any, kind: type, what: str
) -> Any:
  value = body.get(name)
  if value is None:
    return default
  if type(value) is not kind:
    raise Bad(f'{name} is {shown(value)}, and has to be {what}', name)
  return value


def _boolean(body, name):
  return _value(body, name, False, bool, 'true or false')


def _integer(body, name, default, low, high):
  value = _value(body, name, None, int, f'a whole number from {low} to {high}')
  if value is None:
    return default
  if not low <= value <= high:
    raise Bad(f'{name} is {shown(value)}, outside [{low}, {high}]', name)
  return value


def _number(body, name, default, low, high):
  value = body.get(name)
  if value is None:
    return default
  if type(value) not in (int, float) or not low <= value <= high:
    raise Bad(f'{name} is {shown(value)}, outside [{low}, {high}]', name)
  if not math.isfinite(value):
    raise Bad(f'{name} is {shown(value)}', name)
  return float(value)


def objects(value: Any, name: str, most: int) -> Sequence[dict[str, Any]]:
  """A list of 1 to `most` objects; raises `Bad`."""
  right = isinstance(value, list) and 0 < len(value) <= most
  if not right or not all(isinstance(x, dict) for x in value):
    raise Bad(
      f'{name} is {shown(value)}, and has to be a list of 1 to {most} objects',
      name,
    )
  return value
