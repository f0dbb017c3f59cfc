"""Verdicts from reward services on other machines; none is lost.

  client = client.Client(['http://10.0.0.5:9300'], token)
  verdict = client.verify(response, reference)

A service that dies, hangs, or says that it is full is left alone for a while,
longer each time; its requests go to another, or wait.  A request is the same
however often it is sent: a verdict depends on nothing but it.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import random
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from k15.rewards.sandbox import pool
from k15.rewards.verdict import Verdict

TOKEN_VARIABLE = 'K15_REWARD_TOKEN'

_SILENCE_SECONDS = 15.0  # a service that is alive says so every second
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds a service is left alone
_SANDBOX_TRIALS = 3  # of a verdict that says our side failed
_LIMITS = pool.Limits()


def read_token(path: str) -> str:
  """The token of a file, or of $K15_REWARD_TOKEN where none is named."""
  if path:
    return pathlib.Path(path).read_text().strip()
  return os.environ.get(TOKEN_VARIABLE, '')


class _Unavailable(Exception):
  """Another service, or the same later, may do it."""


@dataclasses.dataclass
class _Service:
  """Attributes:
  url: parsed.
  live: requests that it has.
  pause: seconds it is left alone after the next failure.
  back: time from which it may be asked again.
  """

  url: urllib.parse.SplitResult
  live: int = 0
  pause: float = _FIRST_PAUSE
  back: float = 0.0


class Client:
  """Asks several services; may be used from any thread."""

  def __init__(
    self,
    urls: Sequence[str],
    token: str,
    patience_seconds: float = 600.0,
    silence_seconds: float = _SILENCE_SECONDS,
  ):
    """Args:
    urls: http://host:port of each service, at least one.
    token: theirs.
    patience_seconds: for one verdict, until it becomes an error.
    silence_seconds: until a service that says nothing counts as dead.
    """
    if not urls:
      raise ValueError('no reward service is named')
    self._services = [_Service(urllib.parse.urlsplit(url)) for url in urls]
    self._headers = {'content-type': 'application/json'}
    if token:
      self._headers['authorization'] = f'Bearer {token}'
    self._patience, self._silence = patience_seconds, silence_seconds
    self._changed = threading.Condition()

  def verify(
    self, response: str, reference: str, limits: pool.Limits = _LIMITS
  ) -> Verdict:
    """The verdict on one response.

    Raises:
      PermissionError: the token is not the services'.
      ValueError: the reference is none.
    """
    limits = dataclasses.asdict(limits)
    return self.judge(
      dict(response=response, reference=reference, limits=limits)
    )

  def judge(self, request: dict[str, Any]) -> Verdict:
    """The verdict on a request, in fields that the services know.

    Raises: see `verify`.
    """
    body = json.dumps(request).encode()
    end, trials, last = time.monotonic() + self._patience, 0, ''
    while True:
      try:
        with self._some_service(end) as service:
          verdict = self._ask(service, body)
      except TimeoutError:
        return Verdict('error', f'service: no verdict; {last}'.rstrip('; '))
      except _Unavailable as error:
        last = str(error)
        continue
      trials += 1
      ours = verdict.kind == 'error' and verdict.reason.startswith('sandbox')
      if not ours or trials == _SANDBOX_TRIALS:
        return verdict

  @contextlib.contextmanager
  def _some_service(self, end) -> Iterator[_Service]:
    """The one with the least to do of those that are not left alone.

    Raises:
      TimeoutError: none until `end`.
    """
    with self._changed:
      while True:
        now = time.monotonic()
        ready = [s for s in self._services if s.back <= now]
        if ready:
          break
        if now >= end:
          raise TimeoutError
        self._changed.wait(min(s.back for s in self._services) - now)
      # Ties by lot, or all clients would begin with the first.
      service = min(ready, key=lambda s: (s.live, random.random()))
      service.live += 1
    try:
      yield service
    except _Unavailable:
      with self._changed:
        # Many requests fail at once when it dies: that is one failure.
        if service.back <= time.monotonic():
          # Of random length, or all come back at the same moment to a service
          # that has just recovered.
          pause = service.pause * random.uniform(0.5, 1.0)
          service.back = time.monotonic() + pause
          service.pause = min(2 * service.pause, _LONGEST_PAUSE)
      if time.monotonic() >= end:
        raise TimeoutError from None
      raise
    else:
      with self._changed:
        service.pause, service.back = _FIRST_PAUSE, 0.0
        self._changed.notify_all()
    finally:
      with self._changed:
        service.live -= 1

  def _ask(self, service, body):
    """One request; _Unavailable where it is worth another."""
    is_tls = service.url.scheme == 'https'
    kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    # Of each read, not of the verdict: a live service sends white space every
    # second.  And a new connection each, for a kept one may be closed by now.
    connection = kind(service.url.netloc, timeout=self._silence)
    try:
      connection.request('POST', '/verify', body, self._headers)
      reply = connection.getresponse()
      text = reply.read()
    except (OSError, http.client.HTTPException) as error:
      raise _Unavailable(f'{service.url.netloc}: {error!r}') from error
    finally:
      connection.close()
    if reply.status in (401, 403):
      raise PermissionError(f'{service.url.netloc} does not know the token')
    if reply.status == 400:
      raise ValueError(f'{service.url.netloc}: {text[:300].decode()}')
    if reply.status == 413:
      return Verdict('error', 'unparsable: more than a service takes')
    if reply.status != 200:
      raise _Unavailable(f'{service.url.netloc}: status {reply.status}')
    try:
      return Verdict(**json.loads(text))
    except (ValueError, TypeError) as error:
      raise _Unavailable(f'{service.url.netloc}: half a verdict') from error
