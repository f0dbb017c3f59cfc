"""What passes between the trusted side and a run: files, a judge's channel."""

import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable

Answer = Callable[[str, str], tuple[str, str]]


def make(content: bytes = b'') -> int:
  """An anonymous file."""
  if hasattr(os, 'memfd_create'):
    file = os.memfd_create('k15')
  else:
    with tempfile.TemporaryFile() as named:
      file = os.dup(named.fileno())
  view = memoryview(content)
  while view:
    view = view[os.write(file, view) :]
  if content:
    os.lseek(file, 0, os.SEEK_SET)
  return file


def still_open(channel: socket.socket) -> bool:
  """Whether some process of a finished job still holds the channel."""
  channel.settimeout(0.5)
  try:
    while channel.recv(1 << 16):
      pass
  except TimeoutError:
    return True
  except OSError:
    pass
  return False


def answer_question(channel: socket.socket, answer: Answer) -> bool:
  """Answers one question of a judge; False when it asks no more."""
  head = channel.recv(4, socket.MSG_WAITALL)
  if len(head) < 4:
    return False
  size = struct.unpack('=I', head)[0]
  name, arguments = json.loads(channel.recv(size, socket.MSG_WAITALL))
  reply = json.dumps(answer(name, arguments)).encode()
  channel.sendall(struct.pack('=I', len(reply)) + reply)
  return True
