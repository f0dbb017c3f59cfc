"""An OpenAI-compatible server as a plain function, prompts to texts."""

import http.client
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

from k15 import streams

_ATTEMPTS = 4
_WAIT_SECONDS = 1.0  # before the second attempt; then twice as long each time


class ServerError(Exception):
  """The server refused, or did not answer."""


def make_generate(
  url: str,
  model: str,
  key: str,
  messages_of: Callable[[str], list[dict[str, str]]],
  max_tokens: int,
  temperature: float,
  threads: int,
  seconds: float,
  seed: int,
  first_call: int = 0,
) -> Callable[[Sequence[str]], list[str]]:
  """Returns prompts -> texts, one a prompt, in order, '' if not finished.

  Args:
    url: 'http://host:port/v1'; POST /chat/completions is asked.
    model: its name there.
    key: sent as a bearer token, if any.
    messages_of: the chat that asks a prompt.
    max_tokens: of a text.
    temperature: of the sampling.
    threads: requests under way at once.
    seconds: until a request is given up.
    seed: of the numbers that are sent, one with each request.
    first_call: number of the first call, on which those depend too.

  Returns:
    A function that raises ServerError where a request is refused, or has been
    given up again and again.
  """
  calls = itertools.count(first_call)

  def ask(prompt, number):
    body = dict(
      model=model,
      messages=messages_of(prompt),
      max_tokens=max_tokens,
      temperature=temperature,
      seed=number,
    )
    return _text(
      _post(f'{url.rstrip("/")}/chat/completions', body, key, seconds)
    )

  def generate(prompts):
    rng = streams.rng(seed, 'server requests', next(calls))
    numbers = rng.integers(1 << 31, size=len(prompts)).tolist()
    with futures.ThreadPoolExecutor(threads, 'server') as pool:
      return list(pool.map(ask, prompts, numbers))

  return generate


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
      if error.code != 429 and error.code < 500:
        break
    except (OSError, http.client.HTTPException, ValueError) as error:
      reason = str(error)
  raise ServerError(f'{url}: {reason}')
