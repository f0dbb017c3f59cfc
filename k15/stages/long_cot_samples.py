"""Samples of the long-CoT warm-up: who writes them, and what judges them.

The model before the stage writes, or a server does; every response that was
asked for is in `long_cot/samples.jsonl`.
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
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation import writers
from k15.generation.journal import Journal
from k15.runtime import context as context_lib
from k15.runtime import responses
from k15.runtime.context import Context
from k15.stages import long_cot_asking
from k15.stages.long_cot_asking import Asking

KEY_VARIABLE = 'K15_SERVER_KEY'


def caller(
  context: Context,
  model: pathlib.Path | None,
  asking: Asking,
  journal: Journal,
  write: writers.Writer,
  progress: Callable[[int], None],
) -> Callable[[int, Sequence[Problem], int], list[dict[str, Any]]]:
  """Number of a call, its problems and their turn -> the records."""
  config, task = context.config, context.task
  facts = facts_of(config, model)
  name_of = functools.partial(asks_lib.judge_of, config)
  is_stopping = context.stop_poll()

  def judge(ask, text, stop):
    if not long_cot_asking.is_finished(text, stop):
      return None
    # A server's template is its own, and what it gives the whole response.
    is_ours = not config.long_cot_examples.server
    opening = task.opening_of_turn(ask.question) if is_ours else ''
    return context.submit(ask.problem, text, stop, opening)

  def draw_call(call, asked, turn):
    asks = long_cot_asking.asks_of(
      call, asked, turn, asking, task, facts, name_of
    )
    if not draw.draw(
      asks, write, judge, journal, f'long_cot: call {call}', is_stopping,
      progress, has_judged=call > 0,
    ):  # fmt: skip
      raise context_lib.Interrupted('long_cot: what was sampled is saved')
    return long_cot_asking.records_of(asks, journal, turn)

  return draw_call


def askable(context: Context, asking: Asking) -> list[Problem]:
  """Problems whose prompts the rollout can hold; a server sees to itself.

  Raises:
    DataError: it can hold none.
  """
  config, task = context.config.long_cot_examples, context.task
  problems = task.train[: config.problems]
  if config.server:
    return problems
  most = context.config.rollout.max_prompt_length

  def longest(problem):
    prompts = {
      long_cot_asking.prompt_of(problem, turn, asking)
      for turn in range(asking.samples)
    }
    return max(len(task.encode_prompt(prompt)) for prompt in prompts)

  kept = [problem for problem in problems if longest(problem) <= most]
  sentence = (
    f'long_cot: {len(problems) - len(kept)} of {len(problems)} problems have'
    f' {asking.prompt} prompts of more than rollout.max_prompt_length = {most}'
    ' tokens'
  )
  if not kept:
    raise conversations.DataError(sentence)
  if len(kept) < len(problems):
    print(sentence, flush=True)
  return kept


def facts_of(config: Any, model: pathlib.Path | None) -> dict[str, Any]:
  """What decides the responses of whoever writes, beside the question."""
  temperature = config.long_cot_examples.temperature
  return asks_lib.facts_of(
    config, _name(config, model), temperature=temperature
  )


def _name(config, model):
  """What tells whoever writes from others."""
  server = config.long_cot_examples.server
  if server:  # A run may go on with another model of it: `FREE_ON_RESUME`.
    return f'{server} {config.task.system_prompt}'
  return fingerprints.of_model(model) if model else ''


def writer(
  context: Context, model: pathlib.Path | None
) -> contextlib.AbstractContextManager[writers.Writer]:
  """The server, or the model before this stage."""
  config = context.config.long_cot_examples
  if not config.server:
    return responses.by_model(context, model, 'long_cot')
  # Questions have their suffix already.
  task = dataclasses.replace(context.task, prompt_suffix='')
  return contextlib.nullcontext(
    writers.by_server(
      config.server,
      config.server_model,
      os.environ.get(KEY_VARIABLE, ''),
      task.messages,
      config.server_threads,
      config.server_seconds,
      context.config.seed,
    )
  )
