"""The untrusted side of the sandbox: a fork server, and what a fork does.

Runs as an ordinary user with an empty environment inside the rung's walls and
needs nothing but the standard library: the worker page sends it the source of
this page.  The server never reads a job: sources, inputs and outputs are files
whose descriptors it hands to the fork, so that no fork finds traces of another
job in the memory it inherits.  It forks, watches, kills and reports.

In the rung 'namespaces' each fork is process 1 of its own pid namespace, with
its own /tmp; the end of process 1 is the end of everything it started, and
its /tmp goes with it.  In 'bwrap' the fork starts bubblewrap, in which this
page runs once; in 'seccomp' and 'rlimits' it stays where it is.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import time

from k15.rewards.sandbox.inside import kernel
from k15.rewards.sandbox.inside import program
from k15.rewards.sandbox.inside import root

_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.1  # seconds between looks at a fork
# A job comes with files: job, stdin, stdout, stderr, result, perhaps a channel.


def send(control: socket.socket, message: dict):
  """Sends one framed message."""
  data = json.dumps(message).encode()
  control.sendall(struct.pack('=I', len(data)) + data)


def receive(control: socket.socket) -> tuple[dict, list[int]] | None:
  """One framed message and its descriptors; None when the peer is gone."""
  data, files = b'', []
  while len(data) < 4 or len(data) < 4 + struct.unpack('=I', data[:4])[0]:
    part, more, _, _ = socket.recv_fds(control, 1 << 16, 8)
    if not part:
      return None
    data, files = data + part, files + more
    for file in more:
      os.set_inheritable(file, False)
  return json.loads(data[4:]), files


def serve(control: socket.socket, config: dict):
  """Answers jobs until the trusted side hangs up."""
  own = None
  if config['rung'] == 'namespaces':
    root.enter(config)
    kernel.drop_bounding_set()
    own = os.pidfd_open(os.getpid())
  if config['rung'] in ('namespaces', 'seccomp'):
    kernel.forbid_new_privileges()
  if config['rung'] == 'bwrap':
    kernel.adopt_orphans()
  else:
    program.prepare(config)
    for name in config['imports']:
      importlib.import_module(name)
    gc.collect()
    # Or the first collection in a fork would touch all modules' objects, and so
    # copy their pages.
    gc.freeze()
  send(control, {'ready': True})
  while (received := receive(control)) is not None:
    limits, files = received
    send(control, _run(control, config, own, limits, files))
  os._exit(0)


def _run(control, config, own, limits, files):
  """One job: fork, watch, report."""
  start = time.monotonic()
  if own is not None:
    kernel.call('unshare', kernel.NEW_PID)
  elif config['rung'] != 'bwrap':
    limits['folder'] = tempfile.mkdtemp(prefix='k15_')
  pid = os.fork()
  if pid == 0:
    control.close()
    _become_program(config, limits, files)
  if own is not None:
    kernel.call('setns', own, kernel.NEW_PID)  # The next unshare needs it.
  reason, ended = _watch(control, pid, limits, files[2], start)
  _, status, usage = ended or os.wait4(pid, 0)
  if config['rung'] == 'bwrap':
    _reap()
  if 'folder' in limits:
    with contextlib.suppress(OSError):  # Whoever stayed in its session.
      os.killpg(pid, signal.SIGKILL)
  for file in files:
    os.close(file)
  if 'folder' in limits:
    shutil.rmtree(limits['folder'], ignore_errors=True)
  return {
    'exit_code': os.waitstatus_to_exitcode(status),
    'reason': reason,
    'seconds': time.monotonic() - start,
    'cpu_seconds': usage.ru_utime + usage.ru_stime,
  }


def _reap():
  """Waits for what bubblewrap left to us; it dies with its parent."""
  with contextlib.suppress(ChildProcessError):
    while True:
      os.waitpid(-1, 0)


def _watch(control, pid, limits, stdout, start):
  """Waits for the end of a fork or brings it about.

  Returns:
    Why, '' where it ended by itself; what wait4 said, if it was asked.
  """
  # Most programs end within the first wait; those that go on are looked at less
  # often, for each look takes time from them.
  look, deadline = _FIRST_LOOK, start + limits['seconds']
  handle = os.pidfd_open(pid) if hasattr(os, 'pidfd_open') else None
  try:
    while True:
      pause = max(min(look, deadline - time.monotonic()), 0)
      if ended := _ended(pid, handle, control, pause):
        return '', None if ended is True else ended
      look, reason = min(2 * look, _LONGEST_LOOK), ''
      if time.monotonic() >= deadline:
        reason = 'timeout'
      elif os.fstat(stdout).st_size >= limits['output_bytes']:
        reason = 'output_limit'
      elif _resident_bytes(pid) > limits['memory_bytes']:
        reason = 'memory'
      if reason:
        os.kill(pid, signal.SIGKILL)
        return reason, None
  finally:
    if handle is not None:
      os.close(handle)


def _ended(pid, handle, control, seconds):
  """Waits for a fork; a trusted side that is gone ends everything."""
  if handle is None:
    time.sleep(min(seconds, 0.002))
    ended = os.wait4(pid, os.WNOHANG)
    return ended if ended[0] == pid else None
  poll = select.poll()
  poll.register(handle, select.POLLIN)
  poll.register(control, select.POLLHUP)
  ready = dict(poll.poll(seconds * 1000))
  if control.fileno() in ready:
    os.kill(pid, signal.SIGKILL)
    os._exit(1)
  return handle in ready


def _resident_bytes(pid):
  """Memory of all processes beside this one, where /proc is its own; else of
  the fork."""
  is_own = os.getpid() == 1 and os.path.isdir('/proc/1')
  names = os.listdir('/proc') if is_own else [str(pid)]
  pages = 0
  for name in names:
    if name.isdecimal() and name != '1':
      with contextlib.suppress(OSError), open(f'/proc/{name}/statm') as file:
        pages += int(file.read().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE')


def _become_program(config, limits, files):
  """What a fork does; never returns."""
  code = 1
  try:
    # A group of its own: where no pid namespace ends with it, that is what can
    # be killed.
    os.setsid()
    for target, file in enumerate(files[1:4]):
      os.dup2(file, target)
    if config['rung'] == 'seccomp':
      kernel.die_with_parent()
    if config['rung'] == 'bwrap':
      _start_bubblewrap(config, limits, files)
    if config['rung'] == 'namespaces':
      root.renew_tmp(limits['tmp_bytes'])
    if 'folder' in limits:
      os.chdir(limits['folder'])
    code = program.main(config, limits, [files[0], files[4], *files[5:]])
  except BaseException as error:
    os.write(2, f'{error!r}\n'.encode())
  finally:
    os._exit(code)


def _start_bubblewrap(config, limits, files):
  """Runs this page once more, in walls that bubblewrap builds."""
  kept = [os.dup(file) for file in (files[0], files[4], *files[5:])]
  near, far = socket.socketpair()
  for file in (*kept, far.fileno()):
    os.set_inheritable(file, True)
  only = {**config, 'pages': {}, 'once': {'limits': limits, 'files': kept}}
  send(near, {'pages': config['pages'], 'config': only})
  command = [*config['bwrap'], *config['python'], str(far.fileno())]
  os.execve(command[0], command, {})


def once(config: dict):
  """The one job of a process in bubblewrap."""
  job = config['once']
  kernel.forbid_new_privileges()
  program.prepare(config)
  os.chdir('/tmp')
  os._exit(program.main(config, job['limits'], job['files']))
