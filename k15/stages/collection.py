"""Responses to training problems, several to each: what long2short learns from.

The stages of long2short share the file they are in, which may outlive the run.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from k15 import streams
from k15.data_types import Problem
from k15.devices import fingerprints
from k15.devices import hosts
from k15.equations import correctness
from k15.generation import asks as asks_lib
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.runtime import responses
from k15.runtime.context import Context


@dataclasses.dataclass(frozen=True, eq=False)
class Response:
  """Attributes:
  tokens: int32 [T], the end-of-sequence token included.
  is_correct: whether it was judged so, and ended by itself.
  """

  tokens: np.ndarray
  is_correct: bool

  @property
  def length(self) -> int:
    """Tokens."""
    return len(self.tokens)


def collect(
  context: Context, model: pathlib.Path | None, num_problems: int, samples: int
) -> list[tuple[Problem, list[Response]]]:
  """Responses of a model to training problems, from the file or sampled now.

  The file is `long2short.responses` of the config, or responses.jsonl of the
  workdir.  It may hold responses of other models too: keys tell them apart.

  Args:
    model: its directory; None: random weights.
    num_problems: the first of the training set.

  Raises:
    Interrupted, scoring.Failed: see `drawn`.
  """
  path = context.config.long2short.responses
  journal = Journal(
    path or context.workdir / 'responses.jsonl',
    writes=hosts.is_first(),
    keeps_tokens=True,
  )
  problems = context.task.train[:num_problems]
  # Random ids go by place in the training set: another stage that asks for the
  # same responses finds them here.
  asks = asks_of(context, model, problems, samples)
  with responses.by_model(context, model, 'responses') as write:
    responses.drawn(
      context, asks, write, responses.judging(context), journal, 'responses'
    )
  # Verdicts are the first process's; the responses are in all of them.
  right = hosts.of_first(
    np.array([correctness.is_right(journal.verdict(ask)) for ask in asks])
  )
  found = [
    Response(journal.response(ask).tokens, bool(is_right))
    for ask, is_right in zip(asks, right, strict=True)
  ]
  return [
    (problem, found[i * samples : (i + 1) * samples])
    for i, problem in enumerate(problems)
  ]


def asks_of(
  context: Context,
  model: pathlib.Path | None,
  problems: Sequence[Problem],
  samples: int,
) -> list[Ask]:
  """What `collect` asks, in order of problems and samples."""
  config, task = context.config, context.task
  facts = asks_lib.facts_of(
    config,
    fingerprints.of_model(model) if model else '',
    temperature=config.rollout.temperature,
  )
  asks = []
  for problem, group_id in zip(
    problems, streams.IDS['responses'], strict=False
  ):
    asks += asks_lib.of_problem(
      problem,
      problem.prompt + task.prompt_suffix,
      task.encode_prompt(problem.prompt, problem.images),
      group_id,
      range(samples),
      facts,
      asks_lib.judge_of(config, problem),
    )
  return asks


def accuracy_and_tokens(
  collected: Sequence[tuple[Problem, Sequence[Response]]],
) -> tuple[float, float]:
  """Share of correct ones among all responses, and the mean length of all."""
  responses = [r for _, of_problem in collected for r in of_problem]
  accuracy = np.mean([r.is_correct for r in responses])
  return float(accuracy), float(np.mean([r.length for r in responses]))
