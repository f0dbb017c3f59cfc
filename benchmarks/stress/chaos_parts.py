"""What `benchmarks.stress.chaos` does its things with.

Processes that are started again, a network that can be cut, and requests that
no worker should take, with what it has to answer.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from k15.serving import rollout_pb2 as pb
from k15.serving import wire

_RESET_ON_CLOSE = struct.pack('ii', 1, 0)  # SO_LINGER: a reset, not a farewell
_REFUSALS = (
  grpc.StatusCode.INVALID_ARGUMENT,
  grpc.StatusCode.RESOURCE_EXHAUSTED,
  grpc.StatusCode.FAILED_PRECONDITION,  # It has no weights just now.
)
_NOT_THERE = (
  grpc.StatusCode.UNAVAILABLE,  # Killed.
  grpc.StatusCode.DEADLINE_EXCEEDED,  # Stopped.
)


class Proxy:
  """Passes TCP connections on to a port of this host, and can cut them.

  `passed` counts the bytes that came from behind it.
  """

  def __init__(self, target: int):
    """Listens on a free port of the loopback, `port`."""
    self.passed = 0
    self._target, self._writers = target, set()
    self._loop = asyncio.new_event_loop()
    started = threading.Event()
    self._thread = threading.Thread(
      target=self._serve, args=(started,), daemon=True
    )
    self._thread.start()
    started.wait()

  def cut(self) -> int:
    """Resets all connections; how many ends of connections there were."""
    cut = asyncio.run_coroutine_threadsafe(self._cut(), self._loop)
    return cut.result()

  def close(self) -> None:
    self.cut()
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._thread.join()

  def _serve(self, started):
    asyncio.set_event_loop(self._loop)
    listen = asyncio.start_server(self._connect, '127.0.0.1', 0)
    server = self._loop.run_until_complete(listen)
    self.port = server.sockets[0].getsockname()[1]
    started.set()
    self._loop.run_forever()
    server.close()
    for task in asyncio.all_tasks(self._loop):
      task.cancel()
    self._loop.run_until_complete(asyncio.sleep(0))
    self._loop.close()

  async def _connect(self, reader, writer):
    try:
      behind = await asyncio.open_connection('127.0.0.1', self._target)
    except OSError:  # Nobody is there: the caller has to see that.
      _reset(writer)
      return
    self._writers |= {writer, behind[1]}
    forth = self._pass_on(reader, behind[1], counted=False)
    back = self._pass_on(behind[0], writer, counted=True)
    await asyncio.gather(forth, back)
    self._writers -= {writer, behind[1]}

  async def _pass_on(self, reader, writer, counted):
    with contextlib.suppress(OSError):
      while data := await reader.read(1 << 16):
        self.passed += counted * len(data)
        writer.write(data)
        await writer.drain()
    writer.close()

  async def _cut(self):
    writers = list(self._writers)
    for writer in writers:
      _reset(writer)
    return len(writers)


def _reset(writer):
  with contextlib.suppress(OSError):
    writer.get_extra_info('socket').setsockopt(
      socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
    )
  writer.transport.abort()


@dataclasses.dataclass(eq=False)
class Service:
  """A command that is started again whenever its process has ended.

  Attributes:
    name: of its log.
    command: and its arguments.
    folder: where it runs.
    log: file that its output goes to.
    environment: beside that of this process.
    starts: how often it was started.
  """

  name: str
  command: Sequence[str]
  folder: pathlib.Path
  log: pathlib.Path
  environment: Mapping[str, str]
  starts: int = 0
  process: subprocess.Popen | None = None

  def start(self, **options: Any) -> None:
    """Options are those of `subprocess.Popen`."""
    with open(self.log, 'a') as log:
      self.process = subprocess.Popen(
        self.command,
        cwd=self.folder,
        env=os.environ | dict(self.environment),
        stdout=log,
        stderr=log,
        **options,
      )
    self.starts += 1

  @property
  def is_going(self) -> bool:
    return self.process is not None and self.process.poll() is None

  def kill(self) -> None:
    """kill -9, and waits for the end."""
    if self.is_going:
      self.process.kill()
    self.process.wait()

  def hang(self, seconds: float) -> None:
    """Stops it for a while; a kill in between goes through."""
    self.process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + seconds
    while self.is_going and time.monotonic() < end:
      time.sleep(0.01)
    if self.is_going:
      self.process.send_signal(signal.SIGCONT)

  def fill_disk(self, room: int) -> None:
    """From now on no write goes past `room` bytes of a file: EFBIG."""
    if self.is_going:
      _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
      limits = (room, hard)
      resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

  def tail(self) -> str:
    return self.log.read_text(errors='replace')[-3000:]


def free_port() -> int:
  """A port of the loopback that nobody listens on now."""
  with socket.socket() as found:
    found.bind(('127.0.0.1', 0))
    return found.getsockname()[1]


def _group(prompt=(1, 2, 3), samples=(0,), budget=4, **fields):
  return pb.Group(
    group_id=1 << 20,
    sample_indices=samples,
    prompt=np.asarray(prompt, '<i4').tobytes(),
    token_budget=budget,
    **fields,
  )


def groups() -> dict[str, pb.Group]:
  """By what is wrong with each."""
  return {
    'a prompt of 100,000 tokens': _group(np.ones(100_000)),
    'an id beyond the vocabulary': _group([1, 1_000_000]),
    'a negative id': _group([-1, 1]),
    'an empty prompt': _group([]),
    'a negative budget': _group(budget=-5),
    'a budget of 2^62': _group(budget=1 << 62),
    'NaN temperature': _group(temperature=float('nan')),
    'a negative temperature': _group(temperature=-1.0),
    'five stop ids': _group(stop_ids=range(5)),
    'a message of 10 MB': _group(np.ones(2_500_000)),
    '10,000 samples at once': _group(samples=range(10_000)),
    'no sample': _group(samples=()),
    'three bytes of an int32': pb.Group(
      group_id=1, sample_indices=[0], prompt=b'abc', token_budget=4
    ),
  }


def poison(port: int, rng) -> bool:
  """Sends one to a worker; False if the worker did not answer at all.

  Raises:
    RuntimeError: it was taken, or refused without a proper status.
  """
  name, group = rng.choice(list(groups().items()))
  with grpc.insecure_channel(f'127.0.0.1:{port}') as channel:
    submit = wire.Stub(channel).Submit
    try:
      replies = submit(iter([pb.SubmitRequest(groups=[group])]), timeout=5.0)
      taken = sum(len(reply.chunks) for reply in replies)
    except grpc.RpcError as error:
      if error.code() in _NOT_THERE:
        return False
      if error.code() in _REFUSALS and error.details():
        return True
      raise RuntimeError(f'{name}: {error.code()}, {error.details()}') from None
  raise RuntimeError(f'{name}: taken, {taken} chunks')
