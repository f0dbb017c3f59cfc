"""The stage 'evaluate': a model on sets of problems, and what it scored.

It leaves in `workdir/evaluation`, and in `workdir/evaluation_before` where the
checkpoint is asked before all other stages (`evaluation.before`),

  results.json   the measures of each set
  SET.jsonl      a record per response, in order: what `k15.report.evaluations`
  reads journal-*      what has been sampled, per model and sampling; see
  `journal`

Cut off in any way, it goes on with the responses that are missing; each draws
its random numbers by set, problem and sample, so the end is the same.  The
held-out problems are answered here after every other stage, too, with a journal
in `held_out`.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from k15 import files
from k15 import streams
from k15.checkpoints import models
from k15.config import routes as routes_lib
from k15.data.evaluation_sets import EvalSet
from k15.devices import fingerprints
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.report import tables
from k15.runtime import evaluation
from k15.runtime import judges
from k15.runtime import responses
from k15.runtime.context import Context


def run(
  context: Context, source: str | pathlib.Path, name: str = 'evaluation'
) -> dict[str, Any]:
  """Evaluates the model at `source`, or what is left of that.

  Args:
    context: of the run.
    source: a model's directory, or a workdir.
    name: of the folder in the workdir.

  Returns:
    Measures by set, as in results.json; {} but in the first process.

  Raises:
    ValueError: there is no model.
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  source = models.directory_of(source)
  folder = context.workdir / name
  facts = _facts(context, source)
  asks = asks_of(context, context.task.sets, '', facts)
  label = 'evaluate' if name == 'evaluation' else f'evaluate, {name}'
  journal = _answered(context, source, asks, facts, folder, label)
  if not hosts.is_first():
    return {}
  return _write(context, folder, source, asks, journal, facts)


def held_out(
  context: Context, stage: str, source: pathlib.Path
) -> list[evaluation.Record]:
  """Records of the held-out problems; [] but in the first process.

  Args:
    context: of the run.
    stage: that left the model.
    source: the model's directory.

  Raises:
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  task, facts = context.task, _facts(context, source)
  found = [EvalSet('held_out', '', tuple(task.held_out))]
  asks = asks_of(context, found, task.prompt_suffix, facts)
  folder = context.workdir / 'evaluation' / 'held_out'
  label = f'evaluate {stage}'
  journal = _answered(context, source, asks, facts, folder, label, 'held_out')
  if not hosts.is_first():
    return []
  return [_record(ask, journal) for ask in asks['held_out']]


def asks_of(
  context: Context,
  sets: Sequence[EvalSet],
  suffix: str,
  facts: dict[str, Any],
) -> dict[str, list[Ask]]:
  """All that is asked, by set, in order of problems and samples.

  Args:
    context: of the run.
    sets: to be answered.
    suffix: between a problem's prompt and its response.
    facts: of `asks.facts_of`.
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
      route = found.reward or asks_lib.route_of(config, problem)
      question = problem.prompt + suffix
      asks[found.name] += asks_lib.of_problem(
        problem,
        question,
        context.task.encode_turn(question),
        ids[place],
        range(config.evaluation.samples),
        facts,
        asks_lib.judge_of(config, problem, route),
        route,
      )
  return asks


def _facts(context, source):
  e, model = context.config.evaluation, fingerprints.of_model(source)
  return asks_lib.facts_of(
    context.config, model, temperature=e.temperature, top_p=e.top_p
  )


def _answered(context, source, asks, facts, folder, label, stream='evaluate'):
  """The journal in the folder, with all responses and their verdicts."""
  path = folder / f'journal-{asks_lib.digest(facts)[:12]}.jsonl'
  journal = Journal(path, writes=hosts.is_first())
  asks = [ask for of_set in asks.values() for ask in of_set]
  if draw.is_done(asks, journal):
    return journal
  # A set may ask for a reward that no domain of the config has: its asks go
  # by domains of their own.
  routes = {_domain(ask): ask.route for ask in asks}
  scorer = judges.make_scorer(context.config, context.task, routes)
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


def _domain(ask):
  return f'evaluate:{ask.route}'


def _record(ask, journal):
  record = evaluation.record_of(ask, journal)
  if routes_lib.terms_of(ask.route)[0].reward == 'code_tests':
    record['answer'] = ''  # Its tests are not to be read.
  return record


def _write(context, folder, source, asks, journal, facts):
  """Records, results and table of a finished evaluation."""
  config, e = context.config, context.config.evaluation
  records, results = {}, {}
  for name, of_set in asks.items():
    records[name] = [
      dict(set=name, **_record(ask, journal), judge=ask.judge) for ask in of_set
    ]
    routes = {ask.problem.id: ask.route for ask in of_set}
    results[name] = evaluation.measure(
      records[name],
      lambda record, routes=routes: routes[record['problem_id']],
      config.task.answer_marker,
      context.task.opening_of_turn,  # Prompts of sets are whole.
      e.pass_at,
      e.interval,
      e.resamples,
      config.seed,
    )
  settings = dict(
    model=str(source),
    fingerprint=facts['model'],
    temperature=e.temperature,
    top_p=e.top_p,
    samples=e.samples,
    max_length=config.rollout.max_length,
    interval=e.interval,
    seed=config.seed,
  )
  for name, found in records.items():
    files.replace_jsonl(folder / f'{name}.jsonl', found)
  text = json.dumps(dict(settings=settings, sets=results), indent=2) + '\n'
  files.replace_file(folder / 'results.json', text.encode())
  print(tables.of_results(results, e.interval), flush=True)
  return results


def pooled(results: dict[str, Any]) -> dict[str, float]:
  """Accuracy and mean length over the problems of all sets."""
  total = sum(r['problems'] for r in results.values())

  def mean(key):
    values = results.values()
    return sum(r['problems'] * r[key]['value'] for r in values) / total

  return dict(accuracy=mean('pass@1'), mean_tokens=mean('mean_tokens'))
