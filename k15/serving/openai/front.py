"""The endpoint of a worker: application and port together.

By default it listens on the loopback and asks for the worker's token; without
one it is open to nobody, unless that is said, and then on the loopback alone.
"""

from typing import Any

from k15.serving import access
from k15.serving.openai.app import App
from k15.serving.openai.listener import Listener
from k15.serving.service import Served


class Front:
  """A `k15.serving.server.Front`.

  Attributes:
    model: the name under which it answers.
    port: that it listens on.
  """

  def __init__(
    self,
    served: Served,
    tokenizer: Any,
    model: str,
    host: str,
    port: int,
    token: str,
    is_open: bool = False,
    seconds: float = 600.0,
  ):
    """Takes the port; answers once it runs.

    Args:
      served: what decodes.
      tokenizer: of the model.
      model: its name.
      host, port: to listen on; port 0 is any that is free.
      token: that has to be shown.
      is_open: it need not, on the loopback.
      seconds: that an answer may take.

    Raises:
      ValueError: no token, where one is needed; seconds that are none.
      OSError: it cannot listen there.
    """
    if not seconds > 0:
      raise ValueError(f'an answer may take {seconds} seconds, not above 0')
    if is_open:
      # TLS is of gRPC alone, and lets nobody in here.
      access.check_host(host, access.Access())
      token = ''
    elif not token:
      raise ValueError(
        f'the HTTP endpoint needs a token: {access.TOKEN_VARIABLE} or'
        ' rollout.token_file; --http_without_token is for the loopback alone'
      )
    self._app = App(served, tokenizer, model, token, seconds)
    self._listener = Listener(self._app.app, host, port)
    self.model, self.port = model, self._listener.port

  def open(self) -> None:
    """Takes connections, which wait for `run`."""
    self._listener.open()

  async def run(self) -> None:
    """Answers until it is closed."""
    await self._listener.run()

  def close(self) -> None:
    """Ends all calls, each with a sentence."""
    self._app.close()
    self._listener.stop()
