"""Responses to a problem set, drawn once and kept: Kimi k1.5, section 2.1.

"The SFT model generates answers ten times using a relatively high sampling
temperature.  The pass rate is ... a proxy for the prompt's difficulty"; and
"we prompt a model to guess potential answers without any CoT reasoning steps".

Every response is a line of a file that only grows, under a key made of all
that decides it: the text put to the model, temperature, length, seed and
model.  Verdicts are lines of their own, under the reference and the reward
that judged.  So a run that was killed draws what is missing and nothing
twice, and neither a new threshold nor a mended reference draws again.  A line
that does not say how its response stopped is of an earlier k15, and drawn
again.
"""

import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from k15 import files
from k15.asks import Ask
from k15.asks import Respond
from k15.data_types import Problem, StopReason
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
    self._texts: dict[tuple[str, int], tuple[str, StopReason]] = {}
    self._accuracies: dict[tuple[str, int, str], float] = {}
    for record in files.read_jsonl(path):
      self._take(record)

  def text(self, ask: Ask) -> str | None:
    """The response, or None; without its prefix."""
    found = self._texts.get((ask.key, ask.sample))
    return found and found[0]

  def stop(self, ask: Ask) -> StopReason:
    """Why a response that is there stopped."""
    return self._texts[ask.key, ask.sample][1]

  def accuracy(self, ask: Ask, judge: str) -> float | None:
    """Whether it is right by a judge, 0 or 1, or None."""
    return self._accuracies.get((ask.key, ask.sample, judge))

  def add_text(
    self, ask: Ask, text: str, tokens: int, stop: StopReason
  ) -> None:
    """Keeps a response; on disk when this returns."""
    self._add(
      dict(
        key=ask.key,
        sample=ask.sample,
        problem_id=ask.problem.id,
        tokens=tokens,
        stop=stop.value,
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
        accuracy=scoring.parts_of(verdict)['accuracy'],
        verdict=verdict.kind,
        reason=verdict.reason,
      )
    )

  def _add(self, record):
    if self._writes:
      files.append_jsonl(self._path, [record])
    self._take(record)

  def _take(self, record):
    name = record.get('key'), record.get('sample')
    if 'text' in record and 'stop' in record:
      found = record['text'], StopReason(record['stop'])
      self._texts.setdefault(name, found)
    elif 'judge' in record and 'accuracy' in record:
      self._accuracies[*name, record['judge']] = record['accuracy']


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
    for ask, text, tokens, stop in respond(list(missing.values())):
      store.add_text(ask, text, tokens, stop)
      drawn += 1
      on_response()
  return drawn


def judge(
  asks: Sequence[Ask],
  submit: Callable[[Ask, str, StopReason], Future[Verdict]],
  judge_of: Callable[[Problem], str],
  store: Store,
  on_verdict: Callable[[], None] = lambda: None,
  has_ended: bool = False,
) -> np.ndarray:
  """Which drawn responses are right; what took too long to judge is not.

  Args:
    asks: all in the store.
    submit: judges a response to an ask, its prefix included.
    judge_of: names what a problem is judged by, reference and all.
    store: gets the verdicts that it does not have yet.
    on_verdict: called for each new one; may raise.
    has_ended: whether every response counts as one that ended by itself: a
      guess is bounded by design, and has had its say.

  Returns:
    float64 [len(asks)], 0 or 1.

  Raises:
    scoring.Failed: there are new verdicts, and all are errors.
  """
  names = [judge_of(ask.problem) for ask in asks]

  def begin(ask):
    stop = StopReason.EOS if has_ended else store.stop(ask)
    return submit(ask, ask.prefix + store.text(ask), stop)

  waiting = [
    ((ask, name), begin(ask))
    for ask, name in zip(asks, names, strict=True)
    if store.accuracy(ask, name) is None
  ]
  kept = scoring.Withheld(
    lambda item, verdict: store.add_verdict(*item, verdict),
    'curate',
    has_judged=len(waiting) < len(asks),
  )
  for item, future in waiting:
    kept.add(item, future.result())
    on_verdict()
  kept.finish()
  pairs = zip(asks, names, strict=True)
  return np.array([store.accuracy(ask, name) for ask, name in pairs], float)
