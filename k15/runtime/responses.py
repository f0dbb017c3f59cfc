"""Responses of a run's own models: what a context adds to the loop of `draw`.

Evaluation, curation and long-CoT draw through `drawn`; the stages of long2short
share what `collect` gives, several responses to each training problem in a file
that outlives the run.
"""

import contextlib
import functools
import pathlib
from collections.abc import Iterator, Sequence

from k15.generation import draw
from k15.generation import writers
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.context import Context
from k15.training import logs


@contextlib.contextmanager
def by_model(
  context: Context, model: pathlib.Path | None, stream: str
) -> Iterator[writers.Writer]:
  """A writer with a model's weights, loaded with the first response.

  Where everything is in a journal, no model is loaded.

  Args:
    model: its directory; None: random weights.
    stream: of its random numbers, one of `streams.NUMBERS`.
  """
  with contextlib.ExitStack() as stack:

    @functools.cache
    def opened():
      params, task = weights.load_params(context, model), context.task
      sampling = rollouts.sampling(context, params, stream)
      del params
      rollout = stack.enter_context(sampling)
      return writers.by_rollout(rollout, task.encode_turn, task.tokenizer)

    yield lambda asks: opened()(asks)


def judging(context: Context) -> draw.Judge:
  """Judges with the context's rewards.

  What a question has written of its response, such as '<think>', is judged
  with it: what was asked is not always what the task asks.
  """

  def judge(ask, text, stop):
    opening = context.task.opening_of_turn(ask.question)
    return context.submit(ask.problem, text, stop, opening)

  return judge


def drawn(
  context: Context,
  asks: Sequence[Ask],
  write: writers.Writer,
  judge: draw.Judge,
  journal: Journal,
  label: str,
) -> None:
  """`draw.draw` for a run: says how far it is, and stops when that is asked.

  Raises:
    Interrupted: the run was asked to stop; what was sampled is on disk.
    scoring.Failed: every verdict is an error; none of them is on disk.
  """
  with logs.Progress(len(asks), 0, label) as progress:
    is_done = draw.draw(
      asks, write, judge, journal, label, context.stop_poll(), progress.update
    )
  if not is_done:
    raise context_lib.Interrupted(f'{label}: what was sampled is saved')
