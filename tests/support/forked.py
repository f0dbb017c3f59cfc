"""`python -m MODULE ARGUMENTS` by a fork of a process that has imported k15.

A quarter of what a short command takes are imports.  A server makes them once
for all commands of a worker, and asks for no device, so that its forks may.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONTEXT = multiprocessing.get_context('forkserver')


def run(arguments, folder, out, environment):
  """What `subprocess.run` gives of the command, run in `folder`.

  Args:
    arguments: behind `python -m`.
    out: a folder for what it prints.
    environment: of the command, beside this process's when the first began.
  """
  _CONTEXT.set_forkserver_preload(['k15.main'])
  # The server is a process of its own, which has to find this page and k15.
  path = os.pathsep.join([str(ROOT), str(pathlib.Path(__file__).parent)])
  with mock.patch.dict(os.environ, PYTHONPATH=path):
    paths = out / 'stdout', out / 'stderr'
    texts = [str(path) for path in paths]
    process = _CONTEXT.Process(
      target=_command, args=(arguments, str(folder), texts, environment)
    )
    process.start()
  process.join(3600)  # A hang; how long it takes is no matter here.
  assert process.exitcode is not None, arguments
  return subprocess.CompletedProcess(
    arguments, process.exitcode, *(path.read_text() for path in paths)
  )


def _command(arguments, folder, paths, environment):
  for number, path in enumerate(paths, start=1):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, number)
  os.chdir(folder)
  os.environ.update(environment)
  sys.argv = list(arguments)
  sys.path.insert(0, folder)
  try:
    runpy.run_module(arguments[0], run_name='__main__', alter_sys=True)
  finally:
    atexit._run_exitfuncs()  # Which no fork does by itself.
