"""A worker process: reads questions, answers by math-verify, dies at a limit.

  python -m k15.rewards.answers.fallback_process FD SECONDS MEGABYTES

FD is a socket.  A guardian imports math-verify once and forks the child that
reads the questions: the child's alarm is the kernel's, which no computation
can hold off, and counts the child's own processor time, so that verdicts do
not hang on what else the machine does.  The guardian answers for a child that
died and forks the next.  Both end when the socket does.
"""

import contextlib
import functools
import importlib
import json
import logging
import os
import re
import resource
import signal
import socket
import sys

import math_verify
import sympy
from latex2sympy2_extended import latex2sympy2
from math_verify import parser
from sympy import parsing
from sympy.parsing import sympy_parser

REASONS = {signal.SIGPROF: 'timeout', signal.SIGKILL: 'memory'}
_FORBIDDEN = (
  'os.system', 'os.exec', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.spawn',
  'os.remove', 'os.rename', 'os.rmdir', 'os.mkdir', 'os.chmod', 'os.kill',
  'subprocess.Popen', 'socket.connect', 'socket.bind', 'ctypes.dlopen',
  'shutil.rmtree', 'pty.spawn',
)  # fmt: skip
# Code that sympy writes for polynomials, from the number of letters alone.
_MONOMIALS = re.compile(r'def monomial_[a-z]+\([A-Zk, ]*\):\n')
_NUMERAL = re.compile(r'[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)')


# Parts of sympy that make classes when they are imported, on first use.
LOADED_LATE = (
  'sympy.integrals.manualintegrate', 'sympy.integrals.meijerint',
  'sympy.integrals.heurisch', 'sympy.integrals.risch', 'sympy.physics.units',
  'sympy.tensor.tensor', 'sympy.combinatorics', 'sympy.concrete.gosper',
  'sympy.series.gruntz', 'sympy.sets.setexpr', 'sympy.solvers.inequalities',
  'sympy.solvers.diophantine', 'sympy.calculus.util', 'sympy.stats',
)  # fmt: skip
WARM_UP = (
  r'\frac{14}{2}+3\sqrt{2}\pi', r'x^2+2x=1', r'(1,2]\cup\{3\}', r'x\le 3',
  r'\begin{pmatrix}1&2\\3&4\end{pmatrix}', r'\int_0^1 2x\,dx',
  r'\sum_{i=1}^{n} i', r'\sin x, \ln 2', r'5\text{ cm}', r'1]\cup[', '30\\%',
  r'\sqrt{}{3}', r'x\in[1,\infty)', r'\lim_{x\to 0} x', '1,234.5', 'a_{n}',
)  # fmt: skip


class Refused(BaseException):
  """Something that judging an answer never needs was tried.

  No Exception, so that nobody between makes a wrong answer of it.
  """


def answer_to(gold: str, answer: str) -> str:
  """'correct', 'wrong' or 'error: reason' from math-verify alone."""
  config = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
  read = []
  for text in (gold, answer):
    parsed = math_verify.parse(
      f'\\boxed{{{text}}}',
      extraction_config=config,
      fallback_mode='no_fallback',
      parsing_timeout=None,
    )
    if not parsed:
      which = 'reference' if not read else 'answer'
      return f'error: unparsable: {which}'
    read.append(parsed)
  same = math_verify.verify(*read, timeout_seconds=None, raise_on_error=True)
  return 'correct' if same else 'wrong'


def forbid(event: str, arguments: tuple) -> None:
  """Audit hook: no process, connection, written file or text made code."""
  if event in _FORBIDDEN:
    raise Refused(event)
  mode = arguments[1] if event == 'open' else None
  if isinstance(mode, str) and set(mode) & set('wax+'):
    raise Refused('writing a file')
  if event == 'compile' and str(arguments[1]).startswith('<'):
    source = arguments[0]
    source = source.decode() if isinstance(source, bytes) else str(source)
    if not _MONOMIALS.match(source):
      raise Refused('compiling text')


def numeral(text: str, *_, **__) -> sympy.Number:
  """In place of sympy's parse_expr, which evaluates text as Python."""
  if not _NUMERAL.fullmatch(text):
    raise ValueError(f'not a numeral: {text[:40]!r}')
  return sympy.Float(text) if '.' in text else sympy.Integer(int(text))


def _serve(connection, seconds, megabytes):
  """The child: a question a line, an outcome a line."""
  signal.signal(signal.SIGPROF, signal.SIG_DFL)
  limit = megabytes << 20
  with contextlib.suppress(ValueError, OSError):  # Not on every system.
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  # A hook cannot be taken back, and what the imports did is over by now.
  sys.addaudithook(forbid)
  with connection.makefile('rb') as questions:
    for line in questions:
      number, gold, answer = json.loads(line)
      signal.setitimer(signal.ITIMER_PROF, seconds)
      try:
        outcome = answer_to(gold, answer)
      except MemoryError:
        outcome = 'error: memory'
      except (Exception, Refused) as error:  # Whatever hostile text raises.
        outcome = f'error: crash: {type(error).__name__}'
      signal.setitimer(signal.ITIMER_PROF, 0)
      connection.sendall(json.dumps([number, outcome]).encode() + b'\n')


def _prepare():
  """What every child inherits: no evaluation of text, and warm caches.

  The grammar and sympy load parts and fill tables when first used, which would
  take most of a first question's time.
  """
  for name in LOADED_LATE:
    importlib.import_module(name)
  for module in (sympy_parser, parsing, latex2sympy2, parser):
    module.parse_expr = numeral
  for i, gold in enumerate(WARM_UP):
    for answer in (gold, WARM_UP[i - 1]):
      with contextlib.suppress(Exception):
        answer_to(gold, answer)


def _end(child, *_):
  with contextlib.suppress(ProcessLookupError):
    os.kill(child, signal.SIGKILL)


def _guard(connection, seconds, megabytes):
  """The guardian: a child after the other, until one ends by itself.

  SIGTERM ends the child, and the guardian once its socket is closed: so it is
  there to collect the child, which no init in a container may do.
  """
  while True:
    child = os.fork()
    if child == 0:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)
      status = 1
      with contextlib.suppress(BaseException):
        _serve(connection, seconds, megabytes)
        status = 0
      os._exit(status)
    signal.signal(signal.SIGTERM, functools.partial(_end, child))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
      return
    reason = REASONS.get(-code, f'crash: exit {code}')
    message = json.dumps([None, f'error: {reason}']).encode() + b'\n'
    connection.sendall(message)


def main(arguments: list[str]) -> None:
  """Tells 'ready' when imports are done, then guards."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  logging.disable()
  connection = socket.socket(fileno=int(arguments[0]))
  _prepare()
  connection.sendall(b'[null, "ready"]\n')
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  with contextlib.suppress(BrokenPipeError, ConnectionError):
    _guard(connection, float(arguments[1]), int(arguments[2]))
  os._exit(0)  # Taking sympy apart would take half a second.


if __name__ == '__main__':
  main(sys.argv[1:])
