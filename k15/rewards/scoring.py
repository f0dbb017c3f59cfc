"""Which reward judges a response, and when: while others are still sampled.

`make_judges` makes the rewards that a config routes to (routes.py), and a
`Scorer` judges in threads, so that what takes long, a program in its sandbox,
is over when the last response is.
"""

import collections
import contextlib
import functools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

from k15.data_types import Problem
from k15.rewards import answer_workers
from k15.rewards import code_tests
from k15.rewards import exact_answer
from k15.rewards import math_answers
from k15.rewards import reward_client
from k15.rewards import rules
from k15.rewards import sandbox
from k15.rewards import sandbox_rungs
from k15.rewards import verdict as verdict_lib
from k15.rewards.verdict import Verdict

# (response, reference) -> Verdict; called from several threads at once.
Judge = Callable[[str, str], Verdict]


def make_judges(
  config: Any, names: Sequence[str], resources: contextlib.ExitStack
) -> dict[str, Judge]:
  """The named rewards of a config.

  Args:
    config: the whole.
    names: of routes.REWARDS.
    resources: gets what has to be closed: sandboxes, worker processes.

  Raises:
    ValueError: programs would have to be run, and nothing safe holds them.
    OSError: no such file of a token.
  """
  makers = {
    'exact_answer': _exact_answer,
    'math_answers': _math_answers,
    'code_tests': _code_tests,
    'r1_format': _r1_format,
  }
  return {name: makers[name](config, resources) for name in names}


def _exact_answer(config, resources):
  del resources
  marker = config.task.answer_marker

  def judge(response, reference):
    right = exact_answer.is_correct(response, reference, marker)
    return Verdict('correct' if right else 'wrong')

  return judge


def _math_answers(config, resources):
  pool = answer_workers.Pool(config.reward.threads)
  resources.callback(pool.close)
  return functools.partial(math_answers.verify, pool=pool)


def _code_tests(config, resources):
  r = config.reward
  limits = sandbox.Limits(seconds=r.program_seconds)
  if r.services:
    client = reward_client.Client(r.services, _token(r.token_file))
    return functools.partial(client.verify, limits=limits)
  try:
    pool = sandbox.Pool(r.sandbox_workers, lowest=r.sandbox_lowest)
  except sandbox_rungs.SandboxError as error:
    raise ValueError(f'reward code_tests: {error}') from None
  resources.callback(pool.close)
  return functools.partial(code_tests.verify, pool, limits=limits)


def _token(path):
  if path:
    return pathlib.Path(path).read_text().strip()
  return os.environ.get(reward_client.TOKEN_VARIABLE, '')


def _r1_format(config, resources):
  del config, resources
  return rules.verify_format


def reward_of(verdict: Verdict) -> float:
  """1.0 for a correct answer; an error earns what a wrong one does, 0.0."""
  return float(verdict.kind == 'correct')


class Scorer:
  """Judges responses in threads of its own, each as soon as it is finished."""

  def __init__(
    self,
    judges: Mapping[str, Judge],
    routes: Mapping[str, str],
    threads: int,
    resources: contextlib.ExitStack | None = None,
    opening: Callable[[str], str] = lambda prompt: '',
  ):
    """Scores by `routes`, domain -> name of a judge, '' all other domains.

    `resources` are closed with it.  `opening` gives what a prompt has written
    of its response, `Task.opening`: judged with what follows it.
    """
    self._judges, self._routes, self._opening = judges, routes, opening
    self._resources = resources or contextlib.ExitStack()
    self._threads = futures.ThreadPoolExecutor(threads, 'reward')
    self._lock = threading.Lock()
    self._numbers = collections.Counter()
    self._outstanding, self._since = 0, 0.0

  def submit(self, problem: Problem, response: str) -> futures.Future[Verdict]:
    """Starts to judge; a judge that fails gives an error, not an exception."""
    with self._lock:
      if self._outstanding == 0:
        self._since = time.perf_counter()
      self._outstanding += 1
    return self._threads.submit(self._judge, problem, response)

  def pop_numbers(self) -> dict[str, float]:
    """What was judged since the last call.

    Returns:
      `correct`, `wrong` and `error` count verdicts, `error_<reason>` the errors
      by reason; `seconds` is the time in which something was being judged.
    """
    with self._lock:
      if self._outstanding:
        self._count_seconds()
      numbers, self._numbers = self._numbers, collections.Counter()
    kinds = dict.fromkeys(verdict_lib.KINDS, 0) | {'seconds': 0.0}
    return kinds | {name: float(n) for name, n in sorted(numbers.items())}

  def close(self) -> None:
    """Ends the threads; what has not been started is dropped."""
    self._threads.shutdown(cancel_futures=True)
    self._resources.close()

  def _judge(self, problem, response):
    name = self._routes.get(problem.domain, self._routes[''])
    try:
      response = self._opening(problem.prompt) + response
      verdict = self._judges[name](response, problem.answer)
    except Exception as error:  # One response must not stop a run.
      verdict = Verdict('error', f'crash: {type(error).__name__}: {error}')
    with self._lock:
      self._numbers[verdict.kind] += 1
      if verdict.kind == 'error':
        self._numbers[f'error_{verdict.reason.partition(":")[0]}'] += 1
      self._outstanding -= 1
      if self._outstanding == 0:
        self._count_seconds()
    return verdict

  def _count_seconds(self):
    now = time.perf_counter()
    self._numbers['seconds'] += now - self._since
    self._since = now
