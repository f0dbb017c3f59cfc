"""Samples of the long-CoT warm-up: who writes them, and what judges them.

The model before the stage writes, or a server does; every response that was
asked for is in `<stage>/samples.jsonl`.  Questions of cooldown are drawn alike.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from k15.data import conversations
from k15.data_types import Problem
from k15.devices import fingerprints
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation import writers
from k15.generation.journal import Journal
from k15.runtime import context as context_lib
from k15.runtime import responses
from k15.runtime.context import Context
from k15.stages import long_cot_asking
from k15.stages.long_cot_asking import Asking
from k15.training import logs

KEY_VARIABLE = 'K15_SERVER_KEY'


def drawn(
  context: Context, model: pathlib.Path | None, stage: str, group: str
) -> tuple[list[Problem], list[dict[str, Any]], Asking]:
  """Goes on sampling where it stopped; all that is there in the end.

  Args:
    model: directory of the model that writes, unless a server does.
    stage: whose folder has the samples, and whose random stream is theirs.
    group: of the config: who is asked, and how often.

  Returns:
    The problems asked, the records of `long_cot_asking.records_of`, and how
    they were asked.
  """
  own = context.config[group]
  names = {field.name for field in dataclasses.fields(Asking)} & {*own}
  asking = Asking(**{name: own[name] for name in names})
  problems = askable(context, own, stage, asking)
  journal = Journal(
    context.workdir / stage / 'samples.jsonl', writes=hosts.is_first()
  )
  with (
    writer(context, own, stage, model) as write,
    logs.Progress(
      len(problems) * own.samples, 0, f'{stage} samples'
    ) as progress,
  ):
    draw_call = caller(
      context, own, stage, model, asking, journal, write, progress.update
    )
    records = long_cot_asking.sample(problems, draw_call, asking)
  return problems, records, asking


def caller(
  context: Context,
  own: Any,
  stage: str,
  model: pathlib.Path | None,
  asking: Asking,
  journal: Journal,
  write: writers.Writer,
  progress: Callable[[int], None],
) -> Callable[[int, Sequence[Problem], int], list[dict[str, Any]]]:
  """Number of a call, its problems and their turn -> the records."""
  config, task = context.config, context.task
  facts = facts_of(config, own, model)
  name_of = functools.partial(asks_lib.judge_of, config)
  is_stopping = context.stop_poll()

  def judge(ask, text, stop):
    if not long_cot_asking.is_finished(text, stop):
      return None
    # A server's template is its own, and what it gives the whole response.
    is_ours = not own.server
    opening = task.opening_of_turn(ask.question) if is_ours else ''
    return context.submit(ask.problem, text, stop, opening)

  def draw_call(call, asked, turn):
    asks = long_cot_asking.asks_of(
      call, asked, turn, asking, task, facts, name_of
    )
    if not draw.draw(
      asks, write, judge, journal, f'{stage}: call {call}', is_stopping,
      progress, has_judged=call > 0,
    ):  # fmt: skip
      raise context_lib.Interrupted(f'{stage}: what was sampled is saved')
    return long_cot_asking.records_of(asks, journal, turn)

  return draw_call


def askable(
  context: Context, own: Any, stage: str, asking: Asking
) -> list[Problem]:
  """Problems whose prompts the rollout can hold; a server sees to itself.

  Raises:
    DataError: it can hold none.
  """
  task = context.task
  problems = task.train[: own.problems]
  if own.server:
    return problems
  most = context.config.rollout.max_prompt_length

  def longest(problem):
    prompts = {
      long_cot_asking.prompt_of(problem, turn, asking)
      for turn in range(asking.samples)
    }
    seen = problem.images
    return max(len(task.encode_prompt(prompt, seen)) for prompt in prompts)

  kept = [problem for problem in problems if longest(problem) <= most]
  sentence = (
    f'{stage}: {len(problems) - len(kept)} of {len(problems)} problems have'
    f' {asking.prompt} prompts of more than rollout.max_prompt_length = {most}'
    ' tokens'
  )
  if not kept:
    raise conversations.DataError(sentence)
  if len(kept) < len(problems):
    print(sentence, flush=True)
  return kept


def facts_of(
  config: Any, own: Any, model: pathlib.Path | None
) -> dict[str, Any]:
  """What decides the responses of whoever writes, beside the question."""
  return asks_lib.facts_of(
    config, _name(config, own, model), temperature=own.temperature
  )


def _name(config, own, model):
  """What tells whoever writes from others."""
  if own.server:  # A run may go on with another model of it: `FREE_ON_RESUME`.
    return f'{own.server} {config.task.system_prompt}'
  return fingerprints.of_model(model) if model else ''


def writer(
  context: Context, own: Any, stage: str, model: pathlib.Path | None
) -> contextlib.AbstractContextManager[writers.Writer]:
  """The server, or the model."""
  if not own.server:
    return responses.by_model(context, model, stage)
  # Questions have their suffix already.
  task = dataclasses.replace(context.task, prompt_suffix='')
  return contextlib.nullcontext(
    writers.by_server(
      own.server,
      own.server_model,
      os.environ.get(KEY_VARIABLE, ''),
      task.messages,
      own.server_threads,
      own.server_seconds,
      context.config.seed,
    )
  )
