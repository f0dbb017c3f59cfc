"""`python -m MODULE ARGUMENTS` by a fork of a process that has imported k15.

Half of what a short command takes are imports and the pictures of its report.
A server makes the imports once for all commands of a worker, and asks for no
device, so that its forks may; pictures are drawn where a test asks for them.
"""

import atexit
import dataclasses
import gc
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONTEXT = multiprocessing.get_context('forkserver')
_HANG = 3600  # seconds; how long a command takes is no matter here


@dataclasses.dataclass(frozen=True)
class Command:
  """A command at work; what can be asked of it is what `Popen` is asked."""

  arguments: tuple[str, ...]
  process: multiprocessing.Process
  stdout: pathlib.Path
  stderr: pathlib.Path

  @property
  def pid(self) -> int:
    return self.process.pid

  @property
  def returncode(self) -> int | None:
    return self.process.exitcode

  def poll(self) -> int | None:
    return self.process.exitcode

  def wait(self, timeout: float = _HANG) -> int:
    self.process.join(timeout)
    if self.process.exitcode is None:
      raise subprocess.TimeoutExpired(self.arguments, timeout)
    return self.process.exitcode

  def kill(self) -> None:
    self.process.kill()

  def send_signal(self, number: int) -> None:
    if self.poll() is None:
      os.kill(self.pid, number)

  def finish(self) -> subprocess.CompletedProcess:
    """Waits for the end: what `subprocess.run` gives."""
    code = self.wait()
    return subprocess.CompletedProcess(
      self.arguments, code, self.stdout.read_text(), self.stderr.read_text()
    )


def start(
  arguments, folder, out, environment=None, hook='', draws=False
) -> Command:
  """Starts a command in `folder`.

  Args:
    arguments: behind `python -m`.
    out: a path for what it prints: OUT.stdout and OUT.stderr are added to.
    environment: of the command, beside this process's when the first began; a
      setting of JAX that says otherwise than there is made by its name.
    hook: what a `sitecustomize` would hold.
    draws: whether a report has its pictures, instead of a few bytes.
  """
  paths = [pathlib.Path(str(out) + end) for end in ('.stdout', '.stderr')]
  return _start(arguments, folder, paths, environment or {}, hook, draws)


def run(arguments, folder, out, environment=None, **how):
  """What `subprocess.run` gives of the command, run in `folder`."""
  return start(arguments, folder, out, environment, **how).finish()


def popen(command, cwd, env, stdout, stderr):
  """In place of `subprocess.Popen` of `[sys.executable, '-m', ...]`.

  What it prints goes to a file; a `sitecustomize` may lie in the first folder
  of its PYTHONPATH.
  """
  assert command[1] == '-m' and stdout is stderr
  first = pathlib.Path(env['PYTHONPATH'].split(os.pathsep)[0])
  hook = first / 'sitecustomize.py'
  changed = {k: v for k, v in env.items() if os.environ.get(k) != v}
  return _start(
    command[2:],
    cwd,
    [pathlib.Path(stdout.name)] * 2,
    changed,
    hook.read_text() if hook.exists() else '',
    False,
  )


def _start(arguments, folder, paths, *how):
  _CONTEXT.set_forkserver_preload(['k15.main'])
  # The server is a process of its own, which has to find this page and k15.
  path = os.pathsep.join([str(ROOT), str(pathlib.Path(__file__).parent)])
  with mock.patch.dict(os.environ, PYTHONPATH=path):
    process = _CONTEXT.Process(
      target=_command,
      args=(tuple(arguments), str(folder), list(map(str, paths)), *how),
    )
    process.start()
  return Command(tuple(arguments), process, *paths)


def _command(arguments, folder, paths, environment, hook, draws):
  for number, path in enumerate(paths, start=1):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, number)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  os.chdir(folder)
  os.environ.update(environment)
  _set_jax(environment)
  # As in conftest.py; what the server made stays as it is.
  gc.set_threshold(100_000, 50, 50)
  gc.freeze()
  exec(hook, {'__name__': 'sitecustomize'})
  if not draws:
    from k15.report import figures

    figures.to_png = lambda figure, dpi=180: b'\x89PNG'
  sys.argv = list(arguments)
  sys.path.insert(0, folder)
  sys.modules.pop(arguments[0], None)  # or runpy warns
  try:
    runpy.run_module(arguments[0], run_name='__main__', alter_sys=True)
  finally:
    atexit._run_exitfuncs()  # Which no fork does by itself.


def _set_jax(environment):
  """What JAX read from the environment when the server imported it."""
  import jax

  for name, value in environment.items():
    setting = getattr(jax.config, name.lower(), None)
    if name.startswith('JAX_') and setting is not None:
      value = int(value) if isinstance(setting, int) else value
      jax.config.update(name.lower(), type(setting)(value))
