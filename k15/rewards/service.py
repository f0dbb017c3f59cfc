"""A pool of sandboxes behind HTTP: `python -m k15.rewards.service`.

  POST /verify    {"response": ..., "reference": ..., "limits": {...}}
                  -> {"kind": ..., "reason": ..., "rung": ..., "seconds": ...}
  GET /health     the rung, and how much it has to do; needs no token
  GET /metrics    numbers for Prometheus

It listens to this machine alone unless told otherwise, and answers those who
show its bearer token.  No more requests wait than the queue holds: the next is
told 429 and when to come back.  While a verdict is made, white space is sent
every second, so that a caller knows a long run from a dead service.

A token travels in clear over HTTP: use it within a trusted network or through
a tunnel.  `client` is the other side.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import dataclasses
import hmac
import json
import os
import pathlib
import secrets
import socket
from collections.abc import Callable

from k15.config import extras

try:
  import prometheus_client
  import uvicorn
  from starlette import applications
  from starlette import requests
  from starlette import responses
  from starlette import routing
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain('the reward service', error) from None

from k15.rewards import client
from k15.rewards import service_numbers
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.verdict import Verdict

MAX_BODY_BYTES = 32 << 20  # the tests of a problem travel with each request
_ALIVE_SECONDS = 1.0  # between two signs of life
_RETRY_SECONDS = 1  # what a full queue tells
_STOP_SECONDS = 30  # for verdicts that are being made when it is told to end
_LOOPBACK = ('127.0.0.1', '::1', 'localhost')
Verify = Callable[..., Verdict]  # of what a request is parsed to


class Service:
  """The application.

  Attributes:
    app: for an ASGI server.
  """

  def __init__(
    self,
    verify: Verify,
    token: str,
    workers: int,
    queue: int,
    rung: str = '',
    parse_request: Callable[[bytes], tuple] | None = None,
  ):
    """Args:
    verify: makes a verdict; called by `workers` threads.
    token: '' lets everybody in.
    workers: verdicts at once, >= 1.
    queue: requests that may wait for a worker, >= 0.
    rung: what health tells.
    parse_request: body -> the arguments of `verify`; None: `parse`.
    """
    self._parse = parse_request or parse
    self._verify, self._token, self._rung = verify, token, rung
    self._room, self._pending = workers + queue, 0
    self._threads = concurrent.futures.ThreadPoolExecutor(workers)
    self._numbers = service_numbers.Numbers(lambda: self._pending)
    self.app = applications.Starlette(
      routes=[
        routing.Route('/verify', self._post, methods=['POST']),
        routing.Route('/health', self._health),
        routing.Route('/metrics', self._metrics),
      ]
    )

  def _knows(self, request):
    shown = request.headers.get('authorization', '').encode()
    wanted = f'Bearer {self._token}'.encode()
    return not self._token or hmac.compare_digest(shown, wanted)

  async def _health(self, request):
    return responses.JSONResponse(
      {'rung': self._rung, 'pending': self._pending, 'room': self._room}
    )

  async def _metrics(self, request):
    if not self._knows(request):
      return _refusal(401, 'no valid token')
    text = prometheus_client.generate_latest(self._numbers.registry)
    return responses.Response(text, media_type='text/plain; version=0.0.4')

  async def _post(self, request):
    # Before the body is read: who has no token cannot fill the memory.
    if not self._knows(request):
      return _refusal(401, 'no valid token')
    if self._pending >= self._room:
      self._numbers.rejected.inc()
      return _refusal(429, f'{self._pending} requests are in work')
    self._pending += 1
    try:
      body = await _read(request)
      if body is None:
        return self._done(_refusal(413, f'more than {MAX_BODY_BYTES} bytes'))
      arguments = self._parse(body)
    except (ValueError, requests.ClientDisconnect) as error:
      return self._done(_refusal(400, str(error)[:200]))
    except BaseException:
      self._done(None)
      raise
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(self._threads, self._judge, *arguments)
    # When the verdict is made and not when the caller leaves: until then a
    # worker is busy with it.
    future.add_done_callback(self._done)
    return responses.StreamingResponse(
      self._answer(future), media_type='application/json'
    )

  def _judge(self, *arguments):
    try:
      return self._verify(*arguments)
    except Exception as error:
      return Verdict('error', f'service: {error!r}'[:300], self._rung)

  def _done(self, result):
    self._pending -= 1
    return result

  async def _answer(self, future):
    """Signs of life, then the verdict."""
    while not (await asyncio.wait([future], timeout=_ALIVE_SECONDS))[0]:
      yield b' '
    verdict = future.result()
    self._numbers.add(verdict)
    yield json.dumps(dataclasses.asdict(verdict)).encode()


def parse(body: bytes) -> tuple[str, str, pool_lib.Limits]:
  """Response, reference and limits of a request.

  Raises:
    ValueError: says what is wrong with it.
  """
  try:
    record = json.loads(body)
    limits = pool_lib.Limits(**record.get('limits', {}))
    texts = record['response'], record['reference']
    programs.from_text(texts[1])
  except (
    ValueError, TypeError, KeyError, AttributeError, RecursionError
  ) as error:  # fmt: skip
    raise ValueError(f'not a request: {error!r}') from error
  numbers = dataclasses.asdict(limits).values()
  if not isinstance(texts[0], str) or not all(
    isinstance(number, int | float) and number > 0 for number in numbers
  ):
    raise ValueError(f'not a request: {limits}')
  return *texts, limits


async def _read(request):
  """The body; None where it is too long."""
  body = b''
  async for part in request.stream():
    body += part
    if len(body) > MAX_BODY_BYTES:
      return None
  return body


def _refusal(status, why):
  headers = {'retry-after': str(_RETRY_SECONDS)} if status == 429 else {}
  return responses.JSONResponse({'error': why}, status, headers)


def read_token(path: str, host: str, without: bool = False) -> str:
  """The token of a file, made where there is none, or of K15_REWARD_TOKEN.

  Raises:
    ValueError: there is none, and other machines could reach the service.
  """
  if path:
    if not os.path.exists(path):
      _make_token(path)
    token = pathlib.Path(path).read_text().strip()
  else:
    token = os.environ.get(client.TOKEN_VARIABLE, '').strip()
  if not token and not (without and host in _LOOPBACK):
    raise ValueError(
      f'no token: name a --token_file or set {client.TOKEN_VARIABLE};'
      f' --without_token is for the loopback alone'
    )
  return token


def _make_token(path):
  """Nobody else may read it, one that is there stays, and all see it whole."""
  new = f'{path}.{os.getpid()}'
  file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
  with open(file, 'w') as made:
    made.write(secrets.token_urlsafe(32))
  try:
    # Unlike a rename, a link never takes the place of a file.
    with contextlib.suppress(FileExistsError):
      os.link(new, path)
  finally:
    os.unlink(new)


def run(service: Service, host: str, port: int, what: str) -> None:
  """Serves until it is told to end; says where, and what."""
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  with socket.socket(family) as listener:
    # A restart finds the port free, though connections of the last process are
    # still being closed by the system.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    config = uvicorn.Config(
      service.app, loop='asyncio', http='h11', ws='none', lifespan='off',
      access_log=False, log_level='warning',
      timeout_graceful_shutdown=_STOP_SECONDS,
    )  # fmt: skip
    port = listener.getsockname()[1]
    print(f'listening on {host}:{port}, {what}', flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--host', default='127.0.0.1')
  parser.add_argument('--port', type=int, default=0, help='0: a free one')
  parser.add_argument('--token_file', default='', help='made if missing')
  parser.add_argument('--without_token', action='store_true')
  parser.add_argument('--workers', type=int, default=os.cpu_count())
  parser.add_argument('--queue', type=int, default=256)
  parser.add_argument('--lowest', default='seccomp', help='of the ladder')
  args = parser.parse_args()
  token = read_token(args.token_file, args.host, args.without_token)
  with pool_lib.Pool(args.workers, args.lowest) as pool:

    def verify(response, reference, limits):
      return programs.verify(pool, response, reference, limits)

    service = Service(verify, token, args.workers, args.queue, pool.rung)
    run(service, args.host, args.port, f'rung {pool.rung}')


if __name__ == '__main__':
  main()
