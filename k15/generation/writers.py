"""Who writes responses: a rollout, or an OpenAI-compatible server."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from k15 import streams
from k15.data_types import ImageRef, StopReason
from k15.generation.asks import Ask
from k15.generation.asks import Written
from k15.rollout.requests import Request, Rollout

# Gives every ask its response, in any order, as they finish: a generator, so
# that whoever has enough may close it.
Writer = Callable[[Sequence[Ask]], Iterator[tuple[Ask, Written]]]

_ATTEMPTS = 4  # at one request, until the server counts as lost
_WAIT_SECONDS = 1.0  # before the second attempt; then twice as long each time


class ServerError(Exception):
  """The server refused, or did not answer."""


def by_rollout(
  rollout: Rollout,
  encode_turn: Callable[[str, Sequence[ImageRef]], np.ndarray],
  tokenizer: Any,
) -> Writer:
  """Responses of a rollout with weights; the same for the same ids.

  What a response is does not hang on which others are drawn beside it.  The
  prefix is encoded by itself, as worked solutions are in training.

  Args:
    encode_turn: text put to the model and its pictures -> int32 tokens.
  """

  def write(asks):
    waiting = {}
    for ask in asks:
      ids = ask.group_id, ask.sample
      waiting.setdefault(ids, []).append(ask)
    # A rollout tells requests apart by their ids, and two may have the same.
    while waiting:
      now = {ids: found.pop() for ids, found in waiting.items()}
      waiting = {ids: found for ids, found in waiting.items() if found}
      requests = [_request(ask, encode_turn, tokenizer) for ask in now.values()]
      for completion in rollout.generate(requests):
        request, tokens = completion.request, completion.tokens
        stop = completion.stop.reason
        if stop is StopReason.BUDGET:  # All that it was allowed.
          stop = StopReason.MAX_LENGTH
        text = tokenizer.decode(tokens)
        yield (
          now[request.group_id, request.sample_index],
          Written(text, stop, len(tokens), tokens),
        )

  return write


def _request(ask, encode_turn, tokenizer):
  images = ask.problem.images
  prompt = [encode_turn(ask.question, images), tokenizer.encode(ask.prefix)]
  return Request(
    group_id=ask.group_id,
    sample_index=ask.sample,
    prompt=np.concatenate(prompt).astype(np.int32),
    response=np.zeros(0, np.int32),
    budget=ask.max_tokens,
    temperature=ask.temperature,
    top_p=ask.top_p,
    images=images,
  )


def by_server(
  url: str,
  model: str,
  key: str,
  messages_of: Callable[[str], list[dict[str, str]]],
  threads: int,
  seconds: float,
  seed: int,
) -> Writer:
  """Responses of an OpenAI-compatible server; '' where one is not finished.

  Args:
    url: 'http://host:port/v1'; POST /chat/completions is asked.
    model: its name there.
    key: sent as a bearer token, if any.
    messages_of: the chat that asks a question.
    threads: requests under way at once.
    seconds: until a request is given up.
    seed: of the numbers that are sent, one for the ids of each ask.

  Returns:
    A writer that raises ServerError where a request is refused, has pictures,
    which are not sent, or has been given up again and again.  Group ids of the
    asks are of 'texts', and their samples numbers of calls.
  """

  def request(ask):
    # Responses of a server cannot be drawn again bit for bit, whatever the
    # seed: other requests share its batches.  The journal is what keeps them.
    body = dict(
      model=model,
      messages=messages_of(ask.question),
      max_tokens=ask.max_tokens,
      temperature=ask.temperature,
      seed=_number(seed, ask),
    )
    answer = _post(f'{url.rstrip("/")}/chat/completions', body, key, seconds)
    text = _text(answer)
    return Written(text, StopReason.EOS if text else StopReason.MAX_LENGTH)

  def write(asks):
    seen = [ask.problem for ask in asks if ask.problem.images]
    if seen:
      raise ServerError(f'{url}: {seen[0].id!r} has pictures, and none is sent')
    with futures.ThreadPoolExecutor(threads, 'server') as pool:
      waiting = {pool.submit(request, ask): ask for ask in asks}
      try:
        for future in futures.as_completed(waiting):
          yield waiting[future], future.result()
      finally:
        # Whoever has enough closes the generator here: what has not been sent
        # is dropped, what is under way is waited for.
        pool.shutdown(cancel_futures=True)

  return write


def _number(seed, ask):
  """The number at the ask's place among those of its call."""
  place = streams.IDS['texts'].index(ask.group_id)
  rng = streams.rng(seed, 'server requests', ask.sample)
  return int(rng.integers(1 << 31, size=place + 1)[place])


def _text(answer: Any) -> str:
  """Reasoning that the server took apart is put back before the rest."""
  try:
    choice = answer['choices'][0]
    if choice['finish_reason'] != 'stop':
      return ''
    text = choice['message']['content'] or ''
    reasoning = choice['message'].get('reasoning_content')
  except (KeyError, IndexError, TypeError):
    raise ServerError(f'no chat completion: {str(answer)[:200]}') from None
  return f'<think>\n{reasoning}\n</think>\n\n{text}' if reasoning else text


def _post(url, body, key, seconds):
  headers = {'Content-Type': 'application/json'}
  if key:
    headers['Authorization'] = f'Bearer {key}'
  request = urllib.request.Request(url, json.dumps(body).encode(), headers)
  for attempt in range(_ATTEMPTS):
    if attempt:
      time.sleep(_WAIT_SECONDS * 2 ** (attempt - 1))
    try:
      with urllib.request.urlopen(request, timeout=seconds) as response:
        return json.load(response)
    except urllib.error.HTTPError as error:
      reason = f'{error.code} {error.read(200).decode(errors="replace")}'
      # What is refused for its content is refused again; too many requests, and
      # failures of the server's own, may pass.
      if error.code != 429 and error.code < 500:
        break
    except (OSError, http.client.HTTPException, ValueError) as error:
      reason = str(error)
  raise ServerError(f'{url}: {reason}')
