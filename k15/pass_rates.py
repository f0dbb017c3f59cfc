"""Responses to a problem set, drawn once and kept: Kimi k1.5, section 2.1.

"The SFT model generates answers ten times using a relatively high sampling
temperature.  The pass rate is ... a proxy for the prompt's difficulty"; and
"we prompt a model to guess potential answers without any CoT reasoning steps".

Every response is a line of a file that only grows, under a key made of all
that decides it: the text put to the model, temperature, length, seed and
model.  Verdicts are lines of their own, under the reference and the reward
that judged.  So a run that was killed draws what is missing and nothing
twice, and neither a new threshold nor a mended reference draws again.
"""

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from k15 import asks as asks_lib
from k15 import metrics
from k15.asks import Ask
from k15.asks import Respond
from k15.data_types import Problem
from k15.rewards import scoring
from k15.rewards.verdict import Verdict


class Store:
  """All responses and verdicts of a file, and those to come.

  Args:
    path: JSON lines; a missing file is empty, a torn line is left out.
    writes: False keeps what is added in memory alone.
  """

  def __init__(self, path: pathlib.Path, writes: bool = True):
    self._path, self._writes = path, writes
    self._texts: dict[tuple[str, int], str] = {}
    self._rewards: dict[tuple[str, int, str], float] = {}
    for record in metrics.read_jsonl(path):
      self._take(record)

  def text(self, ask: Ask) -> str | None:
    """The response, or None; without its prefix."""
    return self._texts.get((ask.key, ask.sample))

  def reward(self, ask: Ask, judge: str) -> float | None:
    """The reward by a judge, or None."""
    return self._rewards.get((ask.key, ask.sample, judge))

  def add_text(self, ask: Ask, text: str, tokens: int) -> None:
    """Keeps a response; on disk when this returns."""
    self._add(
      dict(
        key=ask.key,
        sample=ask.sample,
        problem_id=ask.problem.id,
        tokens=tokens,
        text=text,
      )
    )

  def add_verdict(self, ask: Ask, judge: str, verdict: Verdict) -> None:
    """Keeps a verdict; on disk when this returns."""
    self._add(
      dict(
        key=ask.key,
        sample=ask.sample,
        judge=judge,
        reward=scoring.reward_of(verdict),
        verdict=verdict.kind,
        reason=verdict.reason,
      )
    )

  def _add(self, record):
    if self._writes:
      metrics.append_jsonl(self._path, [record])
    self._take(record)

  def _take(self, record):
    name = record.get('key'), record.get('sample')
    if 'text' in record:
      self._texts.setdefault(name, record['text'])
    elif 'judge' in record:
      self._rewards[*name, record['judge']] = record['reward']


def draw(
  asks: Sequence[Ask],
  respond: Respond,
  store: Store,
  on_response: Callable[[], None] = lambda: None,
) -> int:
  """Draws what the store does not have yet.

  Args:
    asks: all that are wanted; `on_response` is called once for each.
    respond: writes responses.
    store: gets each as soon as it is finished.
    on_response: may raise, and what was drawn stays.

  Returns:
    How many were drawn.
  """
  missing = {}
  for ask in asks:
    if store.text(ask) is None:
      missing.setdefault((ask.key, ask.sample), ask)  # Equal prompts: once.
  for _ in range(len(asks) - len(missing)):
    on_response()
  drawn = 0
  if missing:
    for ask, text, tokens in respond(list(missing.values())):
      store.add_text(ask, text, tokens)
      drawn += 1
      on_response()
  return drawn


def judge(
  asks: Sequence[Ask],
  submit: Callable[[Problem, str], Future[Verdict]],
  name_of: Callable[[Problem], str],
  store: Store,
  on_verdict: Callable[[], None] = lambda: None,
) -> np.ndarray:
  """Rewards of drawn responses; what took too long to judge earns 0.

  Args:
    asks: all in the store.
    submit: judges, as `Scorer.submit` does.
    name_of: the reward a problem is judged by.
    store: gets the verdicts that it does not have yet.
    on_verdict: called for each new one; may raise.

  Returns:
    float64 [len(asks)], 0 or 1.
  """
  names = [asks_lib.digest(name_of(a.problem), a.problem.answer) for a in asks]
  waiting = [
    (ask, name, submit(ask.problem, ask.prefix + store.text(ask)))
    for ask, name in zip(asks, names, strict=True)
    if store.reward(ask, name) is None
  ]
  for ask, name, future in waiting:
    store.add_verdict(ask, name, future.result())
    on_verdict()
  pairs = zip(asks, names, strict=True)
  return np.array([store.reward(ask, name) for ask, name in pairs], float)
