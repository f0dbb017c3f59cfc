"""The OpenAI-compatible endpoint of a worker, from a config."""

import pathlib
from typing import Any

from k15.runtime import context
from k15.serving import access
from k15.serving.server import RolloutServer


def add_http(
  server: RolloutServer,
  config: Any,
  host: str,
  port: int,
  model: str = '',
  is_open: bool = False,
  seconds: float = 600.0,
) -> Any:
  """Lets a worker answer as OpenAI's API does; before `prepare`.

  Args:
    server: of `worker.make`, with the same config.
    host, port: to listen on; port 0 is any that is free.
    model: its name; empty: that of the checkpoint.
    is_open: no token is asked for; on the loopback alone.
    seconds: that an answer may take, above 0.

  Returns:
    The `Front` of `k15.serving.openai.front`.

  Raises:
    ValueError: there is no token, an extra is missing, or a value is wrong.
    OSError: it cannot listen there.
  """
  try:
    # Inside the function: who serves a trainer alone needs no web server.
    from k15.serving.openai import front
  except ModuleNotFoundError as error:
    raise ValueError(str(error)) from None
  r = config.rollout
  token = access.make(r.token_file).token
  name = pathlib.Path(config.checkpoint or 'k15').resolve().name
  made = front.Front(
    server.served,
    context.make_tokenizer(config),
    model or name,
    host,
    port,
    token,
    is_open,
    seconds,
  )
  server.add_front(made)
  return made
