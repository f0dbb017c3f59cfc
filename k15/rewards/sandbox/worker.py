"""One worker of the sandbox, seen from the trusted side.

Starts the fork server in the walls of a rung, hands it jobs and reads what
they leave.  A worker that does not answer in time is killed whole and started
again; a job never waits longer than its limit and the grace.
"""

import contextlib
import json
import os
import pathlib
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

from k15.rewards.sandbox import cgroups
from k15.rewards.sandbox.inside import kernel
from k15.rewards.sandbox.inside import program
from k15.rewards.sandbox.inside import python
from k15.rewards.sandbox.inside import root
from k15.rewards.sandbox.inside import seccomp
from k15.rewards.sandbox.inside import server
from k15.rewards.sandbox.inside import values

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


NOBODY = 65534  # the user of that name, on Linux
GRACE_SECONDS = 5.0  # past a limit, until the server itself counts as lost
START_SECONDS = 60.0  # the canary included, on a machine that is busy
PAGES = (
  values,
  kernel,
  seccomp,
  python,
  program,
  root,
  server,
)  # in order of import
ISOLATED = ('-I', '-S', '-B')
_OUTPUTS = ('stdout', 'stderr', 'result')
# Reads the pages from a socket, so that no file of ours need be readable.
_BOOT = """
import json, socket, struct, sys, types
control = socket.socket(fileno=int(sys.argv[1]))
def take(size):
  data = b''
  while len(data) < size:
    part = control.recv(size - len(data))
    if not part: raise SystemExit('the trusted side is gone')
    data += part
  return data
message = json.loads(take(struct.unpack('=I', take(4))[0]))
room = 'k15.rewards.sandbox.inside'
for name in ('k15', 'k15.rewards', 'k15.rewards.sandbox', room):
  sys.modules[name] = types.ModuleType(name)
  sys.modules[name].__path__ = []
for name, source in message['pages'].items():
  page = sys.modules[room + '.' + name] = types.ModuleType(name)
  setattr(sys.modules[room], name, page)
  exec(compile(source, name + '.py', 'exec'), page.__dict__)
config = {**message['config'], 'pages': message['pages']}
if 'once' in config: page.once(config)
page.serve(control, config)
"""


class WorkerLost(Exception):
  """The fork server is gone or does not answer."""


def boot_command(interpreter: str) -> list[str]:
  """Runs the pages; the descriptor of the control socket comes behind."""
  return [interpreter, *ISOLATED, '-c', _BOOT]


class Worker:
  """A fork server and the socket to it."""

  def __init__(self, launcher: tuple[str, ...], config: dict[str, Any]):
    """Starts the server; nothing runs until `wait_ready`.

    Args:
      launcher: command that builds walls around the server, () for none.
      config: what the server reads.
    """
    near, far = socket.socketpair()
    self._control = near
    command = [*launcher, *config['python'], str(far.fileno())]
    # Never as the host's root: its processes would be root to the kernel in
    # every namespace, whatever they are called there.
    drop = os.name == 'posix' and os.geteuid() == 0
    as_nobody = dict(user=NOBODY, group=NOBODY, extra_groups=[])
    # A file and no pipe: nobody reads while jobs run, and a full pipe would
    # stop the server.
    self._messages = open(make(), 'r+b')  # noqa: SIM115
    self._cgroup, self._memory_kills = None, 0
    self._wants_cgroup = config['cgroup']
    self._process = subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,
      stdout=self._messages,
      stderr=self._messages,
      # Nothing of our environment, which often holds tokens.
      env={},
      cwd='/',
      pass_fds=[far.fileno()],
      start_new_session=True,
      **(as_nobody if drop else {}),
    )
    far.close()
    pages = {
      page.__name__.rpartition('.')[2]: pathlib.Path(page.__file__).read_text()
      for page in PAGES
    }
    with contextlib.suppress(OSError):  # If dead already, wait_ready says why.
      server.send(near, {'pages': pages, 'config': config})

  @property
  def pid(self) -> int:
    """Of the launcher."""
    return self._process.pid

  def wait_ready(self):
    """Waits for the server.

    Raises:
      WorkerLost: with what it wrote before it died.
    """
    try:
      self._answer(time.monotonic() + START_SECONDS)
    except WorkerLost as error:
      self.close()
      self._messages.seek(0)
      lines = self._messages.read().decode(errors='replace').split('\n')
      said = [line for line in lines if line.strip()]
      raise WorkerLost(said[-1].strip() if said else str(error)) from error
    if self._wants_cgroup:
      self._join_cgroup()

  def _join_cgroup(self):
    self._cgroup = cgroups.make()
    try:
      if self._cgroup is None:
        raise OSError('no control group may be made')
      # The server's own memory stays counted where it was.
      self._cgroup.add(cgroups.descendants(self.pid))
      self._cgroup.limit(0, 0)
    except OSError as error:
      self.close()
      raise WorkerLost(f'control group: {error}') from error

  def run(
    self,
    job: dict[str, Any],
    blobs: dict[str, bytes],
    stdin: bytes,
    limits: dict[str, Any],
    answer: Answer | None = None,
  ) -> dict[str, Any]:
    """Runs one job.

    Args:
      job: what `program` reads, without 'files'.
      blobs: files by name, put in the working folder.
      limits: seconds, memory_bytes, output_bytes, processes, tmp_bytes; perhaps
        group_bytes, of all together where there is a control group.
      answer: (name, arguments) -> (failure, value), for a judge's questions.

    Returns:
      exit_code, reason, seconds, cpu_seconds; stdout, stderr, result as bytes;
      started, whether its walls stood and the program began; leftover, whether
      a process outlived a job with `answer`.

    Raises:
      WorkerLost: close it.
    """
    listing = [[name, len(data)] for name, data in blobs.items()]
    head = json.dumps({**job, 'files': listing}).encode() + b'\n'
    contents = (b''.join([head, *blobs.values()]), stdin, b'', b'', b'')
    files = [make(content) for content in contents]
    near, far = socket.socketpair() if answer else (None, None)
    try:
      self._send([*files, far.fileno()] if far else files, limits)
      if far:
        far.close()
      deadline = time.monotonic() + limits['seconds'] + GRACE_SECONDS
      report = self._answer(deadline, near, answer)
      self._collect(report, files, limits['output_bytes'])
      report['leftover'] = bool(near) and still_open(near)
      return report
    except OSError as error:
      raise WorkerLost(str(error)) from error
    finally:
      for file in files:
        os.close(file)
      for end in (near, far):
        if end:
          end.close()

  def _send(self, files, limits):
    if self._cgroup:
      both = limits['memory_bytes'] + limits['tmp_bytes']
      together = limits.get('group_bytes', both)
      self._cgroup.limit(together, limits['processes'])
    data = json.dumps(limits).encode()
    framed = struct.pack('=I', len(data)) + data
    socket.send_fds(self._control, [framed], files)

  def _collect(self, report, files, output_bytes):
    """Adds what the files of a job hold."""
    if self._was_short_of_memory():
      report['reason'] = report['reason'] or 'memory'
    for name, file in zip(_OUTPUTS, files[2:], strict=True):
      # Not to its end: how long it is was the program's choice.
      report[name] = os.pread(file, output_bytes, 0)
    if max(len(report[n]) for n in _OUTPUTS) >= output_bytes:
      report['reason'] = report['reason'] or 'output_limit'
    report['started'] = os.pread(files[0], 1, 0) == program.STARTED

  def _was_short_of_memory(self):
    before = self._memory_kills
    self._memory_kills = self._cgroup.memory_kills() if self._cgroup else 0
    return self._memory_kills > before

  def _answer(self, deadline, channel=None, answer=None):
    """The server's next message; a judge's questions meanwhile."""
    poll = select.poll()
    poll.register(self._control, select.POLLIN)
    if channel:
      poll.register(channel, select.POLLIN)
    while True:
      left = deadline - time.monotonic()
      ready = [file for file, _ in poll.poll(max(left, 0) * 1000)]
      if channel and channel.fileno() in ready:
        if not answer_question(channel, answer):
          poll.unregister(channel)
          channel = None
      elif ready:
        received = server.receive(self._control)
        if received is None:
          raise WorkerLost('the fork server has died')
        return received[0]
      elif left <= 0:
        raise WorkerLost('the fork server does not answer')

  def close(self):
    """Ends the server and everything in it."""
    self._control.close()
    self._process.kill()
    self._process.wait()
    if self._cgroup:
      self._cgroup.close()
