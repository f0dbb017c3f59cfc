"""The application: who may ask, how much, and which call is meant.

  POST /v1/completions        text or tokens, continued; streamed or whole
  POST /v1/chat/completions   a chat in the model's own template
  GET  /v1/models             what is served
  GET  /health                200 once there are weights; needs no token

Nothing is read of who does not show the token.  What is wrong with a request is
said in OpenAI's error object, with the numbers, before anything is queued.
"""

import asyncio
import concurrent.futures
import contextlib
import hmac
import secrets
import time
from typing import Any

import grpc
import numpy as np

from k15.config import extras

try:
  from starlette import applications
  from starlette import requests
  from starlette import responses
  from starlette import routing
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain('the endpoint for OpenAI', error, 'http') from None

from k15.rollout import requests as requests_lib
from k15.rollout.requests import Request
from k15.serving.openai import answers
from k15.serving.openai import body as body_lib
from k15.serving.openai import calls
from k15.serving.openai import prompts as prompts_lib
from k15.serving.openai.body import CHAT
from k15.serving.openai.body import COMPLETION
from k15.serving.openai.body import Bad
from k15.serving.openai.flight import Scorer
from k15.serving.service import Served
from k15.serving.wire import Refused

_READ_SECONDS = 30.0  # for a body
_BODIES = 64  # of the largest size, that are read or parsed at once
_PARSERS = 2  # threads
_MOST_TOLD = 1 << 19  # log-probabilities of prompts and alternatives in a call
_FULL = 429


class App:
  """What answers, on one event loop.

  Attributes:
    app: for an ASGI server.
  """

  def __init__(
    self,
    served: Served,
    tokenizer: Any,
    model: str,
    token: str,
    seconds: float,
  ):
    """Args:
    served: what decodes.
    tokenizer: of the model.
    model: its name.
    token: '' lets everybody in.
    seconds: that a call may take.
    """
    self._served, self._tokenizer, self._model = served, tokenizer, model
    self._token, self._seconds = token, seconds
    self._created, self._bytes = int(time.time()), 0
    self._flights, self._scorer = set(), Scorer(served)
    self._threads = concurrent.futures.ThreadPoolExecutor(_PARSERS, 'bodies')
    self.app = applications.Starlette(
      routes=[
        routing.Route('/health', self._health),
        routing.Route('/v1/models', self._models),
        routing.Route('/v1/completions', self._completions, methods=['POST']),
        routing.Route('/v1/chat/completions', self._chats, methods=['POST']),
      ],
      exception_handlers={404: _no_such, 405: _no_such},
    )

  def close(self) -> None:
    """Ends all calls, each with a sentence; on the event loop."""
    for flight in self._flights:
      flight.refuse(
        Refused(grpc.StatusCode.UNAVAILABLE, 'the worker is shutting down')
      )
    self._threads.shutdown(wait=False, cancel_futures=True)

  async def _health(self, request):
    keeper = self._served.keeper
    lives = self._served.driver.is_alive and keeper.has_weights
    value = dict(
      status='ok' if lives else 'no weights', version=keeper.order[1]
    )
    return _response(value, 200 if lives else 503)

  async def _models(self, request):
    if not self._knows(request):
      return _refusal(401, _NO_TOKEN)
    name = self._model if self._served.keeper.has_weights else None
    columns = self._served.shape.columns
    return _response(answers.models(name, self._created, columns))

  async def _completions(self, request):
    return await self._post(request, COMPLETION)

  async def _chats(self, request):
    return await self._post(request, CHAT)

  async def _post(self, request, kind):
    """The answer to a call, or the refusal of it."""
    refusal = self._refusal_of(request)
    if refusal:
      return refusal
    try:
      async with asyncio.timeout(_READ_SECONDS):
        data = await self._read(request)
    except TimeoutError:
      return _refusal(408, f'no whole body in {_READ_SECONDS:.0f} seconds')
    except _TooMuch as error:
      return _refusal(error.status, str(error))
    except requests.ClientDisconnect:
      return _refusal(400, 'the client went away')
    loop = asyncio.get_running_loop()
    try:
      # Templates and tokenizers take their time.
      call = await loop.run_in_executor(self._threads, self._parse, data, kind)
    except _Unknown as error:
      return _refusal(404, str(error), 'model', 'model_not_found')
    except Bad as error:
      return _refusal(400, str(error), error.param)
    except Exception as error:  # Of a template, a tokenizer, or our own.
      return _refusal(500, f'the worker failed: {type(error).__name__}')
    finally:
      self._bytes -= len(data)
    return calls.Answer(
      call, self._served, self._tokenizer, self._scorer, self._seconds,
      self._flights,
    )  # fmt: skip

  def _knows(self, request):
    shown = request.headers.get('authorization', '').encode()
    wanted = f'Bearer {self._token}'.encode()
    return not self._token or hmac.compare_digest(shown, wanted)

  def _refusal_of(self, request):
    """What is refused before the body is read."""
    if not self._knows(request):
      return _refusal(401, _NO_TOKEN)
    # Browsers send this one only where they were allowed to, which no page is.
    kind = request.headers.get('content-type', '').split(';')[0].strip()
    if kind.lower() != 'application/json':
      return _refusal(
        415, f'content-type is {kind[:60]!r}, not application/json'
      )
    if not self._served.keeper.has_weights:
      return _refusal(503, 'this worker has no weights yet')
    if not self._served.driver.is_alive:
      return _refusal(503, 'this worker decodes no more')
    return None

  async def _read(self, request):
    """The body; it counts among `_bytes` until that is taken back."""
    most, parts, size = self._served.limits.message_bytes, [], 0
    try:
      async for part in request.stream():
        size += len(part)
        self._bytes += len(part)
        if size > most:
          raise _TooMuch(413, f'a body of more than {most} bytes')
        if self._bytes > _BODIES * most:
          raise _TooMuch(_FULL, f'bodies of {self._bytes} bytes at once')
        parts.append(part)
      return b''.join(parts)
    except BaseException:
      self._bytes -= size
      raise

  def _parse(self, data, kind):
    """The call that a body asks for, on a thread of its own.

    Raises:
      Bad: it is refused.
      _Unknown: it asks another model.
    """
    served, columns = self._served, self._served.shape.columns
    body = body_lib.to_object(data)
    asked = body_lib.asked(body, kind)
    if asked.model not in (None, self._model):
      raise _Unknown(
        f'the model {body_lib.shown(asked.model)} is not here; {self._model!r}'
        ' is'
      )
    if kind == CHAT:
      sight = served.shape.sight
      found = [prompts_lib.of_chat(body, self._tokenizer, sight, columns)]
    else:
      found = prompts_lib.of_completion(body, self._tokenizer, columns)
    if asked.is_scored and any(prompt.images for prompt in found):
      raise Bad('alternatives are of texts alone, not of pictures', 'logprobs')
    requests_found = self._requests(asked, found)
    head = answers.Head(
      kind, secrets.token_hex(12), int(time.time()), self._model,
      served.keeper.order[1],
    )  # fmt: skip
    return calls.Call(asked, head, found, requests_found)

  def _requests(self, asked, prompts):
    """`n` of each prompt; numbers in them are decided by seed and place."""
    shape, found = self._served.shape, []
    seed = secrets.randbits(64) if asked.seed is None else asked.seed
    if asked.n * len(prompts) > self._served.limits.requests:
      raise Bad(
        f'{len(prompts)} prompts of {asked.n} responses each; this worker takes'
        f' {self._served.limits.requests} responses at once',
        'n',
      )
    for group, prompt in enumerate(prompts):
      room = shape.columns - len(prompt.tokens)
      budget = asked.max_tokens
      budget = room if budget is None else max(budget, 1)
      if not 1 <= budget <= room:
        raise Bad(
          f'a prompt of {len(prompt.tokens)} tokens and {budget} to be made:'
          f' this model takes {shape.columns} together',
          'max_tokens',
        )
      found += [
        Request(
          group_id=group,
          sample_index=sample,
          prompt=prompt.tokens,
          response=np.zeros(0, np.int32),
          budget=budget,
          temperature=asked.temperature,
          top_p=asked.top_p,
          seed=seed,
          images=prompt.images,
        )
        for sample in range(asked.n)
      ]
    _check_told(asked, found)
    with _as_bad():
      for request in found[:: asked.n]:  # Those of one prompt are alike.
        requests_lib.check(
          request, shape.columns, shape.vocab_size, shape.sight
        )
    return found


class _TooMuch(Exception):
  """A body for which there is no room."""

  def __init__(self, status, sentence):
    super().__init__(sentence)
    self.status = status


class _Unknown(Exception):
  """A model that is not served."""


def _check_told(asked, found):
  if asked.is_scored:
    tokens = sum(len(r.prompt) + r.budget for r in found)
    told = tokens * (1 + asked.alternatives)
    if told > _MOST_TOLD:
      raise Bad(
        f'{told} log-probabilities, of {tokens} tokens and'
        f' {asked.alternatives} beside each; {_MOST_TOLD} are the most',
        'logprobs',
      )


_NO_TOKEN = "no valid token: send it as 'Authorization: Bearer TOKEN'"


@contextlib.contextmanager
def _as_bad():
  try:
    yield
  except ValueError as error:
    raise Bad(str(error)) from None


def _response(value, status=200, headers=None):
  return responses.Response(
    answers.to_json(value), status, headers, 'application/json'
  )


def _refusal(status, sentence, param=None, code=None):
  headers = {'retry-after': '1'} if status in (_FULL, 503) else {}
  # What of a body was not read would be taken for the next request.
  if status in (401, 408, 413, 415, _FULL, 503):
    headers['connection'] = 'close'
  return _response(
    answers.error(status, sentence, param, code), status, headers
  )


async def _no_such(request, error):
  return _refusal(
    error.status_code, f'{request.method} {request.url.path[:80]!r} is not here'
  )
