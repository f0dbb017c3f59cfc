"""The one loop that asks for responses, has them judged, and goes on.

    asks -> what the journal lacks -> writer -> journal -> judge -> journal

Evaluation, curation, long-CoT and long2short choose asks and read the journal;
nothing else differs between them.  Judging runs beside the writing, in threads
of its own, so that a slow verdict costs no time of a device.
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from k15.data_types import StopReason
from k15.devices import hosts
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.generation.writers import Writer
from k15.rewards import scoring
from k15.rewards.verdict import Verdict

# (ask, prefix and text, why it stopped) -> its verdict, or None: there is
# nothing to judge, and never will be.
Judge = Callable[[Ask, str, StopReason], Future[Verdict] | None]


def draw(
  asks: Sequence[Ask],
  write: Writer,
  judge: Judge,
  journal: Journal,
  label: str,
  stop: Callable[[], bool] = lambda: False,
  progress: Callable[[int], None] = lambda count: None,
  has_judged: bool = False,
) -> bool:
  """Draws and judges what the journal lacks.

  Of several processes all call it with the same asks, and go through the same
  responses; what is there already is told by the first one.  `judge` gives a
  verdict in each, of which the first one's counts.

  Args:
    asks: all responses that are wanted.
    write: asked for those that are missing, if there are any.
    judge: called with each that has no verdict.
    journal: gets responses and verdicts as soon as they are there.
    label: says what is drawn, at the beginning of a sentence.
    stop: whether to break off; asked after every response and every verdict.
    progress: told how many more of the asks have their responses.
    has_judged: whether this judge is known to work, see `Withheld`.

  Returns:
    Whether all is there; False: it was to stop.

  Raises:
    scoring.Failed: all new verdicts are errors; none of them is kept.
  """
  has_response, is_judged = _state(asks, journal)
  kept = scoring.Withheld(
    journal.add_verdict, label, has_judged or bool(is_judged.any())
  )
  judging, missing = _Judging(judge, journal, kept), {}
  for ask, has, judged in zip(asks, has_response, is_judged, strict=True):
    if not has:
      # Equal questions are written once, and judged for each.
      missing.setdefault(ask.name, []).append(ask)
    elif not judged:
      judging.begin(ask)
  progress(int(has_response.sum()))
  if missing:
    # Closed at once, whatever breaks the loop: a model is behind it.
    with contextlib.closing(
      write([wanted[0] for wanted in missing.values()])
    ) as responses:
      for ask, written in responses:
        journal.add_response(ask, written)
        for wanted in missing[ask.name]:
          judging.begin(wanted)
        # What is judged by now goes to disk: a kill loses only verdicts under
        # way.
        judging.take()
        progress(len(missing[ask.name]))
        # Asked once a response in all processes, which agree at the same one of
        # them.
        if stop():
          return False
  return judging.finish(stop)


def is_done(asks: Sequence[Ask], journal: Journal) -> bool:
  """Whether all are there and judged; all processes have to ask."""
  return bool(np.all(_state(asks, journal)))


def _state(asks, journal):
  """Which have a response, and which a verdict: bool [2, asks]."""
  own = [
    (journal.response(ask) is not None, journal.verdict(ask) is not None)
    for ask in asks
  ]
  return hosts.of_first(np.array(own, bool).reshape(-1, 2)).T


class _Judging:
  """Verdicts on their way into the journal, in the order they were begun."""

  def __init__(self, judge: Judge, journal: Journal, kept: scoring.Withheld):
    self._judge, self._journal, self._kept = judge, journal, kept
    self._begun: list[tuple[Ask, Future[Verdict]]] = []
    self._taken = 0

  def begin(self, ask: Ask) -> None:
    """Has the response judged that the journal holds."""
    found = self._journal.response(ask)
    future = self._judge(ask, ask.prefix + found.text, found.stop)
    if future is not None:
      self._begun.append((ask, future))

  def take(self) -> None:
    """Takes in the verdicts that are there."""
    while self._is_waiting() and self._begun[self._taken][1].done():
      self._take_next()

  def finish(self, stop: Callable[[], bool]) -> bool:
    """Waits for the rest; False: it was to stop."""
    for _ in self._begun:  # As often in each process, whatever they took.
      if self._is_waiting():
        self._take_next()
      if stop():
        return False
    self._kept.finish()
    return True

  def _is_waiting(self):
    return self._taken < len(self._begun)

  def _take_next(self):
    ask, future = self._begun[self._taken]
    self._kept.add(ask, future.result())
    self._taken += 1
