"""Sets of problems, answered by a model and judged: what evaluations share.

Each response draws its random numbers by set, problem and sample, so that an
evaluation that was cut off ends as if it had not been.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

from k15 import streams
from k15.config import routes as routes_lib
from k15.data.evaluation_sets import EvalSet
from k15.devices import fingerprints
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.runtime import evaluation
from k15.runtime import judges
from k15.runtime import responses
from k15.runtime.context import Context


def asks_of(
  context: Context,
  sets: Sequence[EvalSet],
  suffix: str,
  facts: dict[str, Any],
  samples: int = 0,
) -> dict[str, list[Ask]]:
  """All that is asked, by set, in order of problems and samples.

  Args:
    suffix: between a problem's prompt and its response.
    samples: responses to each; 0: as the config has it.
  """
  config, asks = context.config, {}
  taken, ids = set(), streams.IDS['evaluate']
  for found in sets:
    asks[found.name] = []
    for problem in found.problems:
      # By name, so that other problems beside it change nothing.
      name = hashlib.sha256(f'{found.name}\n{problem.id}'.encode()).digest()
      place = int.from_bytes(name[:4]) % len(ids)
      while place in taken:
        place = (place + 1) % len(ids)
      taken.add(place)
      # What a reward model says is no measure of the policy it has trained.
      route = found.reward or config.reward.truth
      route = route or asks_lib.route_of(config, problem)
      question = problem.prompt + suffix
      # The key leaves the sample's number out: more samples, asked for later,
      # cost only what is new.
      asks[found.name] += asks_lib.of_problem(
        problem,
        question,
        context.task.encode_turn(question, problem.images),
        ids[place],
        range(samples or config.evaluation.samples),
        facts,
        asks_lib.judge_of(config, problem, route),
        route,
      )
  return asks


def facts_of(context: Context, source: pathlib.Path) -> dict[str, Any]:
  """What decides the responses of the model at `source`."""
  e, model = context.config.evaluation, fingerprints.of_model(source)
  return asks_lib.facts_of(
    context.config, model, temperature=e.temperature, top_p=e.top_p
  )


def answered(
  context: Context,
  source: pathlib.Path,
  asks: dict[str, list[Ask]],
  facts: dict[str, Any],
  folder: pathlib.Path,
  label: str,
  stream: str = 'evaluate',
) -> Journal:
  """The journal in the folder, with all responses and their verdicts.

  Args:
    folder: gets the journal, one a model and sampling.
    stream: of random numbers, one of `streams.NUMBERS`.

  Raises:
    Interrupted, scoring.Failed: see `responses.drawn`.
  """
  path = folder / f'journal-{asks_lib.digest(facts)[:12]}.jsonl'
  journal = Journal(path, writes=hosts.is_first())
  asks = [ask for of_set in asks.values() for ask in of_set]
  # No judge is made then, which may mean sandboxes and processes.
  if draw.is_done(asks, journal):
    return journal
  # A set may ask for a reward that no domain of the config has: its asks go
  # by domains of their own.
  routes = {_domain(ask): ask.route for ask in asks}
  scorer = judges.make_scorer(
    context.config, context.task, routes, context.workdir
  )
  judge = responses.judging(dataclasses.replace(context, scorer=scorer))

  def judge_by_route(ask, text, stop):
    problem = dataclasses.replace(ask.problem, domain=_domain(ask))
    return judge(dataclasses.replace(ask, problem=problem), text, stop)

  with (
    contextlib.closing(scorer),
    responses.by_model(context, source, stream) as write,
  ):
    responses.drawn(context, asks, write, judge_by_route, journal, label)
  return journal


def written(
  context: Context,
  source: pathlib.Path | None,
  asks: dict[str, list[Ask]],
  facts: dict[str, Any],
  folder: pathlib.Path,
  label: str,
  writer: contextlib.AbstractContextManager[Any] | None = None,
) -> Journal:
  """The journal of responses that nothing judges; others as in `answered`.

  Args:
    writer: in place of the model at `source`.

  Raises:
    Interrupted: see `responses.drawn`.
  """
  path = folder / f'unjudged-{asks_lib.digest(facts)[:12]}.jsonl'
  journal = Journal(path, writes=hosts.is_first())
  asks = [ask for of_set in asks.values() for ask in of_set]
  writer = writer or responses.by_model(context, source, 'evaluate')
  with writer as write:
    responses.drawn(context, asks, write, lambda *_: None, journal, label)
  return journal


def _domain(ask):
  return f'evaluate:{ask.route}'


def record_of(ask: Ask, journal: Journal) -> evaluation.Record:
  """Of a response that is there and judged."""
  record = evaluation.record_of(ask, journal)
  if routes_lib.terms_of(ask.route)[0].reward == 'code_tests':
    record['answer'] = ''  # Its tests are not to be read.
  return record
