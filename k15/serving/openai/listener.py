"""HTTP on the event loop that a worker's other calls run on.

A connection on which nothing is asked is closed after a while, whether it is
silent or sends the first lines of a request for ever.
"""

import asyncio
import socket
import time
from typing import Any

from k15.config import extras

try:
  import uvicorn
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain('the endpoint for OpenAI', error, 'http') from None

_MOST_CONNECTIONS, _BACKLOG = 4096, 1024
_IDLE_SECONDS = 30.0  # between two requests, and for the lines of one
_SWEEP_SECONDS = 2.0
_STOP_SECONDS = 2  # for answers that are being written


class Listener:
  """An ASGI application behind a port.

  Attributes:
    port: that it listens on.
  """

  def __init__(
    self,
    app: Any,
    host: str,
    port: int,
    idle_seconds: float = _IDLE_SECONDS,
  ):
    """Takes the port; nobody is answered before `run`.

    Raises:
      OSError: it cannot listen there.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    self._socket = socket.socket(family)
    try:
      # A restart finds the port free, though connections of the last process
      # are still being closed by the system.
      self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      self._socket.bind((host, port))
    except OSError as error:
      self._socket.close()
      raise OSError(f'cannot listen on {host}:{port}: {error}') from None
    self.port = self._socket.getsockname()[1]
    self._idle = idle_seconds
    config = uvicorn.Config(
      app, http='h11', ws='none', lifespan='off', access_log=False,
      log_config=None, log_level='critical', backlog=_BACKLOG,
      limit_concurrency=_MOST_CONNECTIONS,
      timeout_keep_alive=int(idle_seconds) or 1,
      timeout_graceful_shutdown=_STOP_SECONDS, server_header=False,
    )  # fmt: skip
    self._server = uvicorn.Server(config)

  def open(self) -> None:
    """Connections are taken from now on, and wait for `run`."""
    self._socket.listen(_BACKLOG)

  async def run(self) -> None:
    """Answers until `stop`."""
    sweep = asyncio.ensure_future(self._sweep())
    try:
      await self._server.serve(sockets=[self._socket])
    finally:
      sweep.cancel()

  def stop(self) -> None:
    """Takes no more; `run` returns once what is being written is."""
    self._server.should_exit = True

  async def _sweep(self):
    """Closes connections that have asked nothing for too long.

    uvicorn waits for ever for the rest of a request's first lines.
    """
    seen = {}  # connection -> (its last request, since when)
    while True:
      await asyncio.sleep(min(_SWEEP_SECONDS, self._idle / 2))
      now, connections = time.monotonic(), self._server.server_state.connections
      idle = {}
      for connection in connections:
        last = connection.cycle
        if last is not None and not last.response_complete:
          continue
        before, since = seen.get(connection, (last, now))
        idle[connection] = (last, since if before is last else now)
        if now - idle[connection][1] > self._idle:
          connection.transport.close()
      seen = idle
