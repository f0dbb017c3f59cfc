"""Who may reach a worker: loopback, a bearer token, or mutual TLS.

A worker that listens to other hosts answers only those who show the token or a
certificate that its authority has signed.  A token travels in clear over a
connection without TLS: within a trusted network, or through a tunnel.
"""

import dataclasses
import hmac
import ipaddress
import os
import pathlib
from collections.abc import Mapping

from k15.config import extras

try:
  import grpc
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain('what reaches rollout workers', error) from None

TOKEN_VARIABLE = 'K15_ROLLOUT_TOKEN'
# Local connections are not shared, so that a new channel is a new connection.
_CHANNEL_OPTIONS = (
  ('grpc.use_local_subchannel_pool', 1),
  ('grpc.max_receive_message_length', 64 << 20),
  ('grpc.max_send_message_length', 64 << 20),
)


@dataclasses.dataclass(frozen=True)
class Access:
  """What both sides know; `token` '' and `tls` () if there is none.

  `tls` holds the PEM texts of the authority, of the own certificate and of its
  private key.
  """

  token: str = ''
  tls: tuple[bytes, ...] = ()

  @property
  def metadata(self) -> tuple[tuple[str, str], ...]:
    """What a client sends with every call."""
    return (('authorization', f'Bearer {self.token}'),) if self.token else ()


def make(
  token_file: str = '',
  tls_authority: str = '',
  tls_certificate: str = '',
  tls_key: str = '',
  environment: Mapping[str, str] = os.environ,
) -> Access:
  """Reads the files; without a token file, the variable K15_ROLLOUT_TOKEN.

  Raises:
    ValueError: a token that is empty or no header can hold, or one or two TLS
      files of the three.
    OSError: a file cannot be read.
  """
  token = environment.get(TOKEN_VARIABLE, '').strip()
  if token_file:
    token = pathlib.Path(token_file).read_text().strip()
    if not token:
      raise ValueError(f'the token file {token_file!r} is empty')
  if not (token.isascii() and token.isprintable()):
    raise ValueError('the rollout token holds more than printable ASCII')
  files = (tls_authority, tls_certificate, tls_key)
  if any(files) and not all(files):
    raise ValueError(
      f'TLS needs authority, certificate and key, and the files are {files}'
    )
  tls = tuple(pathlib.Path(file).read_bytes() for file in files if file)
  return Access(token, tls)


def check_host(host: str, access: Access) -> None:
  """Refuses to listen to other hosts without a token or mutual TLS.

  Raises:
    ValueError: says what is missing.
  """
  # TLS alone is enough, for the server asks every client for a certificate of
  # the same authority.
  if not (_is_loopback(host) or access.token or access.tls):
    raise ValueError(
      f'to listen on {host!r}, which other hosts reach, the worker needs a'
      f' token ({TOKEN_VARIABLE} or rollout.token_file) or the three TLS files'
    )


def add_port(server: grpc.aio.Server, address: str, access: Access) -> int:
  """Makes a server listen; returns its port.

  Raises:
    OSError: the address is in use, or not of this host.
  """
  try:
    if not access.tls:
      port = server.add_insecure_port(address)
    else:
      authority, certificate, key = access.tls
      credentials = grpc.ssl_server_credentials(
        [(key, certificate)], authority, require_client_auth=True
      )
      port = server.add_secure_port(address, credentials)
  except RuntimeError as error:
    raise OSError(f'cannot listen on {address}: {error}') from None
  # Older versions of gRPC raise nothing and return port 0.
  if not port:
    raise OSError(f'cannot listen on {address}')
  return port


def open_channel(address: str, access: Access) -> grpc.Channel:
  """A connection of its own to a worker, made when it is first used."""
  if not access.tls:
    return grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
  authority, certificate, key = access.tls
  credentials = grpc.ssl_channel_credentials(authority, key, certificate)
  return grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)


class TokenCheck(grpc.aio.ServerInterceptor):
  """Refuses calls of all services that do not carry the token."""

  def __init__(self, token: str):
    self._expected = f'Bearer {token}'.encode()

  async def intercept_service(self, continuation, details):
    handler = await continuation(details)
    metadata = dict(details.invocation_metadata or ())
    given = metadata.get('authorization', '')
    given = given if isinstance(given, bytes) else given.encode()
    # A method that nobody handles is left to gRPC, which says UNIMPLEMENTED.
    # The comparison takes as long wherever the two differ: time tells nothing.
    if handler is None or hmac.compare_digest(given, self._expected):
      return handler
    return _refusing(handler)


def _refusing(handler):
  """A handler of the same kind that answers UNAUTHENTICATED."""

  async def refuse(request, context):
    del request
    await context.abort(
      grpc.StatusCode.UNAUTHENTICATED,
      "this worker asks for its token, as 'authorization: Bearer TOKEN'",
    )

  # gRPC calls a handler by its kind, so a refusal has to be of the kind of what
  # it refuses.
  kinds = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
  }
  return kinds[handler.request_streaming, handler.response_streaming](refuse)


def _is_loopback(host):
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host.strip('[]')).is_loopback
  except ValueError:
    return False
