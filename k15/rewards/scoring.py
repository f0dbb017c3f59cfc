"""Which reward judges a response, and when: while others are still sampled.

`make_judges` makes the rewards that a config routes to (routes.py), and a
`Scorer` judges in threads, so that what takes long, a program in its sandbox,
is over when the last response is.
"""

import collections
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

from k15.data_types import Problem
from k15.rewards import exact_answer
from k15.rewards import verdict as verdict_lib
from k15.rewards.verdict import Verdict

# (response, reference) -> Verdict; called from several threads at once.
Judge = Callable[[str, str], Verdict]


def make_judges(config: Any, names: Sequence[str]) -> dict[str, Judge]:
  """The named rewards of a config."""
  marker = config.task.answer_marker

  def exact(response, reference):
    right = exact_answer.is_correct(response, reference, marker)
    return Verdict('correct' if right else 'wrong')

  return {name: {'exact_answer': exact}[name] for name in names}


def reward_of(verdict: Verdict) -> float:
  """1.0 for a correct answer; an error earns what a wrong one does, 0.0."""
  return float(verdict.kind == 'correct')


class Scorer:
  """Judges responses in threads of its own, each as soon as it is finished."""

  def __init__(
    self, judges: Mapping[str, Judge], routes: Mapping[str, str], threads: int
  ):
    """Scores by `routes`, domain -> name of a judge, '' all other domains."""
    self._judges, self._routes = judges, routes
    self._threads = futures.ThreadPoolExecutor(threads, 'reward')
    self._lock = threading.Lock()
    self._numbers = collections.Counter()

  def submit(self, problem: Problem, response: str) -> futures.Future[Verdict]:
    """Starts to judge; a judge that fails gives an error, not an exception."""
    return self._threads.submit(self._judge, problem, response)

  def score(self, problem: Problem, response: str) -> Verdict:
    """Judges and waits."""
    return self.submit(problem, response).result()

  def pop_numbers(self) -> dict[str, float]:
    """What was judged since the last call.

    Returns:
      `correct`, `wrong` and `error` count verdicts, `error_<reason>` the errors
      by reason; `seconds` adds up the time that judging took, over threads.
    """
    with self._lock:
      numbers, self._numbers = self._numbers, collections.Counter()
    kinds = dict.fromkeys(verdict_lib.KINDS, 0) | {'seconds': 0.0}
    return kinds | {name: float(n) for name, n in sorted(numbers.items())}

  def close(self) -> None:
    """Ends the threads; what has not been started is dropped."""
    self._threads.shutdown(cancel_futures=True)

  def _judge(self, problem, response):
    start = time.perf_counter()
    name = self._routes.get(problem.domain, self._routes[''])
    try:
      verdict = self._judges[name](response, problem.answer)
    except Exception as error:  # One response must not stop a run.
      verdict = Verdict('error', f'crash: {type(error).__name__}: {error}')
    with self._lock:
      self._numbers[verdict.kind] += 1
      self._numbers['seconds'] += time.perf_counter() - start
      if verdict.kind == 'error':
        self._numbers[f'error_{verdict.reason.partition(":")[0]}'] += 1
    return verdict
