"""Which reward judges a response, and when: while others are still sampled.

A `Scorer` is given judges and routes (`config.routes`).  It judges in threads,
so that what takes long, a program in its sandbox, is over when the last
response is.  Majority votes ask here which answers are the same.
"""

import collections
import contextlib
import dataclasses
import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from typing import Any

from k15.config import routes as routes_lib
from k15.data_types import Problem, StopReason
from k15.rewards import rules
from k15.rewards import thinking
from k15.rewards import verdict as verdict_lib
from k15.rewards.answers import verify
from k15.rewards.code import programs
from k15.rewards.verdict import Verdict

# (response, reference) -> Verdict; called from several threads at once.
Judge = Callable[[str, str], Verdict]
# The same of a model, which is told the question first.
ModelJudge = Callable[[str, str, str], Verdict]

# Errors that say something of their judge, if nothing else is known of it, and
# if it has judged before.
_TELLING, _TELLING_LATER = 2, 16


class Failed(Exception):
  """Nothing can be judged; zeros are no verdicts, so nobody trains on them."""


def settle(
  verdict: Verdict, stop: StopReason, cut_is_wrong: bool = True
) -> Verdict:
  """What a response gets for its verdict and for how it stopped.

  A response that was cut, by its length, for repeating itself or for its age,
  or that is not finished, is never right and earns nothing: what it says so
  far need not be what it would have said.  An error stays one.

  Args:
    cut_is_wrong: `reward.cut_is_wrong` of the config; False takes the text as
      it stands.
  """
  if not cut_is_wrong or stop is StopReason.EOS or verdict.kind == 'error':
    return verdict
  return dataclasses.replace(
    verdict,
    kind='wrong',
    reason='unfinished',
    reward=0.0,
    parts=dict.fromkeys(verdict.parts, 0.0),
  )


def reward_of(verdict: Verdict) -> float:
  """What a response earns; an error earns nothing."""
  if verdict.reward is None:
    return float(verdict.kind == 'correct')
  return verdict.reward


def parts_of(verdict: Verdict) -> dict[str, float]:
  """What that is made of; the accuracy is 1 if it is correct, else 0."""
  return {'accuracy': float(verdict.kind == 'correct')} | dict(verdict.parts)


def refuse_errors(
  verdicts: Iterable[Verdict], where: str, has_judged: bool = False
) -> None:
  """Raises where every verdict of a judge is an error.

  A single one may be the fault of an odd response, and the last few that a
  set of samples lacks may all be odd: so many do not say that judging fails.

  Args:
    verdicts: of an iteration, an evaluation, a set of samples.
    where: says which, at the beginning of the sentence.
    has_judged: whether there are other verdicts of that set already.

  Raises:
    Failed: names the most common reason.
  """
  verdicts = list(verdicts)
  reasons = collections.Counter(v.reason for v in verdicts if v.kind == 'error')
  least = _TELLING_LATER if has_judged else _TELLING
  if reasons.total() == len(verdicts) >= least:
    reason, count = reasons.most_common(1)[0]
    raise Failed(
      f'{where}: all {len(verdicts)} verdicts are errors, {count} of them'
      f' {reason!r}, and errors say nothing of the responses'
    )


class Withheld:
  """Keeps errors back until another verdict shows that judging works.

  What is kept on disk is never judged again; so errors of a judge that is down
  must not get there.
  """

  def __init__(
    self,
    keep: Callable[[Any, Verdict], None],
    where: str,
    has_judged: bool = False,
  ):
    """`keep` takes an item and its verdict; others as in `refuse_errors`."""
    self._keep, self._where, self._has_judged = keep, where, has_judged
    self._back: list[tuple[Any, Verdict]] = []
    self._works = False

  def add(self, item: Any, verdict: Verdict) -> None:
    """Keeps it, and all that waits, as soon as one is no error."""
    self._back.append((item, verdict))
    self._works = self._works or verdict.kind != 'error'
    if self._works:
      self._release()

  def finish(self) -> None:
    """Keeps the rest.

    Raises:
      Failed: all that was added is errors; none of them was kept.
    """
    if not self._works:
      verdicts = [verdict for _, verdict in self._back]
      refuse_errors(verdicts, self._where, self._has_judged)
    self._release()

  def _release(self):
    for item, verdict in self._back:
      self._keep(item, verdict)
    self._back = []


class Scorer:
  """Judges responses in threads of its own, each as soon as it is finished."""

  def __init__(
    self,
    judges: Mapping[str, Judge | ModelJudge],
    routes: Mapping[str, str],
    threads: int,
    resources: contextlib.ExitStack | None = None,
    cut_is_wrong: bool = True,
    opening: Callable[[str], str] = lambda prompt: '',
    truth: str = '',
  ):
    """Scores by `routes`, domain -> route of rewards, '' all other domains.

    `judges` are those of all their rewards, by name; `resources` are closed
    with it; `cut_is_wrong` as in `settle`.  `opening` gives what a prompt has
    written of its response, `Task.opening`: judged with what follows it.
    `truth` is the rule that judges beside models, '' if none does.
    """
    self._judges, self._opening, self._truth = judges, opening, truth
    self._terms = {d: routes_lib.terms_of(r) for d, r in routes.items()}
    self._resources = resources or contextlib.ExitStack()
    self._cut_is_wrong = cut_is_wrong
    self._threads = futures.ThreadPoolExecutor(threads, 'reward')
    self._lock = threading.Lock()
    self._numbers = collections.Counter()
    self._outstanding, self._since = 0, 0.0

  def submit(
    self,
    problem: Problem,
    response: str,
    stop: StopReason,
    opening: str | None = None,
    by_truth: bool = False,
  ) -> futures.Future[Verdict]:
    """Starts to judge a response; its verdict is as `settle` has it.

    A judge that fails gives an error, not an exception; but a reward service
    that refuses its token makes the future raise `Failed`.

    Args:
      response: without what its prompt has written of it.
      opening: what that is; None: what the problem's own prompt has written,
        for a response to this.
      by_truth: judges by the truth alone, if there is one: of an evaluation.
    """
    if opening is None:
      opening = self._opening(problem.prompt)
    with self._lock:
      if self._outstanding == 0:
        self._since = time.perf_counter()
      self._outstanding += 1
    terms = self._terms[
      routes_lib.key_of(self._terms, problem.domain, bool(problem.images))
    ]
    if by_truth and self._truth:
      terms = routes_lib.terms_of(self._truth)
    return self._threads.submit(
      self._judge, terms, problem, opening + response, stop
    )

  def known(self, verdict: Verdict) -> futures.Future[Verdict]:
    """A verdict of before, counted as if it was given now."""
    with self._lock:
      self._numbers[verdict.kind] += 1
    found = futures.Future()
    found.set_result(verdict)
    return found

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

  def _judge(self, terms, problem, response, stop):
    names = []
    try:
      verdict = self._sum(terms, problem, response)
      if self._truth and terms[0].reward in routes_lib.MODELS:
        verdict = self._beside_truth(verdict, problem, response)
      verdict = settle(verdict, stop, self._cut_is_wrong)
      names.append(verdict.kind)
      if verdict.kind == 'error':
        names.append(f'error_{verdict.reason.partition(":")[0]}')
    finally:
      with self._lock:
        self._numbers.update(names)
        self._outstanding -= 1
        if self._outstanding == 0:
          self._count_seconds()
    return verdict

  def _beside_truth(self, verdict, problem, response):
    """With what the rule says, unless an error: a part that earns nothing."""
    found = self._verdict(self._truth, problem, response)
    if found.kind == 'error':
      return verdict
    truth = {routes_lib.TRUTH: float(found.kind == 'correct')}
    return dataclasses.replace(verdict, parts={**verdict.parts, **truth})

  def _sum(self, terms, problem, response):
    """The verdict of the first term, with what all of them add up to."""
    verdicts = [
      self._verdict(
        term.reward,
        problem,
        thinking.said(response) or '' if term.of_summary else response,
      )
      for term in terms
    ]
    first = verdicts[0]
    if first.kind == 'error':
      return dataclasses.replace(
        first, reward=0.0, parts={term.part: 0.0 for term in terms}
      )
    # Of the first, whether it is right; of the others, what each earns.
    added = map(reward_of, verdicts[1:])
    values = [float(first.kind == 'correct'), *added]
    pairs = list(zip(terms, values, strict=True))
    return dataclasses.replace(
      first,
      reward=sum(term.weight * value for term, value in pairs),
      parts={term.part: value for term, value in pairs},
    )

  def _verdict(self, reward, problem, response):
    told = response, problem.answer
    if reward in routes_lib.MODELS:
      told = problem.prompt, *told
    try:
      return self._judges[reward](*told)
    except PermissionError as error:  # No response can do anything about it.
      raise Failed(f'reward: {error}') from error
    except Exception as error:  # One response must not stop a run.
      return Verdict('error', f'crash: {type(error).__name__}: {error}')

  def _count_seconds(self):
    now = time.perf_counter()
    self._numbers['seconds'] += now - self._since
    self._since = now


def answer_of(response: str, reward: str, marker: str) -> str | None:
  """The answer a response votes for, as text; None if it gives none.

  Args:
    response: of a policy, with what its prompt has written of it.
    reward: what judges it, a name of `routes.REWARDS`.
    marker: of exact_answer.
  """
  if reward in ('math_answers', 'choice'):
    return verify.final_answer(response) or None
  if reward == 'exact_answer':
    return rules.final_answer(response, marker) or None
  if reward == 'code_tests':
    return programs.extract_program(response)
  return response


def equal_by(reward: str) -> Callable[[str, str], bool]:
  """Whether two answers are one: as mathematics, or letter by letter."""
  is_mathematics = reward in ('math_answers', 'choice')
  return _same_mathematics if is_mathematics else operator.eq


def _same_mathematics(answer, other):
  # Boxed, or an answer of several words would be searched for a number.
  response = f'\\boxed{{{answer}}}'
  return verify.verify(response, other).kind == 'correct'
