"""The stage 'evaluate': a model on sets of problems, and what it scored.

It leaves in `workdir/evaluation`, and in `workdir/evaluation_before` where the
checkpoint is asked before all other stages (`evaluation.before`),

  results.json   the measures of each set
  SET.jsonl      its responses, in order, for `k15.report.evaluations`
  SET.votes.jsonl  how programs voted, where `evaluation.vote_inputs` asks
  journal-*, unjudged-*  what has been sampled, per model and sampling

Cut off in any way, it goes on with the responses that are missing.
"""

import pathlib
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import models
from k15.devices import hosts
from k15.report import tables
from k15.runtime import evaluation
from k15.runtime.context import Context
from k15.stages import answered_sets
from k15.stages import contest_scores


def run(
  context: Context, source: str | pathlib.Path, name: str = 'evaluation'
) -> dict[str, Any]:
  """Evaluates the model at `source`, or what is left of that.

  Args:
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
  facts = answered_sets.facts_of(context, source)
  asks = answered_sets.asks_of(context, context.task.sets, '', facts)
  label = 'evaluate' if name == 'evaluation' else f'evaluate, {name}'
  journal = answered_sets.answered(context, source, asks, facts, folder, label)
  wanted = contest_scores.references_of(asks)
  texts = contest_scores.generators(context, source, wanted, facts, folder)
  if not hosts.is_first():
    return {}
  return _write(context, folder, source, asks, journal, facts, wanted, texts)


def _write(context, folder, source, asks, journal, facts, wanted, texts):
  """Records, results and table of a finished evaluation."""
  config, e = context.config, context.config.evaluation
  records, results = {}, {}
  for name, of_set in asks.items():
    records[name] = [
      dict(set=name, **answered_sets.record_of(ask, journal), judge=ask.judge)
      for ask in of_set
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
  voted = contest_scores.vote(context, records, wanted, texts, folder)
  for found in context.task.sets:
    name = found.name
    results[name] |= _contest(
      config, records[name], wanted[name], voted.get(name, {})
    )
    if found.absent:
      results[name]['absent'] = list(found.absent)
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
  content = dict(settings=settings, sets=results)
  files.replace_json(folder / 'results.json', content)
  print(tables.of_results(results, e.interval), flush=True)
  return results


def _contest(config, records, wanted, voted):
  """Votes by outputs, and ratings, of a set that has them."""
  e, found = config.evaluation, {}
  if voted:
    values, ties = map(np.array, zip(*voted.values(), strict=True))
    found[f'output_vote@{e.samples}'] = evaluation.spread(
      values, e.interval, e.resamples, config.seed
    ) | dict(ties=float(np.mean(ties)), problems=len(values))
  ratings = contest_scores.ratings(records, wanted, voted, e.interval)
  return found | (dict(rating=ratings) if ratings else {})


def pooled(results: dict[str, Any]) -> dict[str, float]:
  """Accuracy and mean length over the problems of all sets."""
  total = sum(r['problems'] for r in results.values())

  def mean(key):
    values = results.values()
    return sum(r['problems'] * r[key]['value'] for r in values) / total

  return dict(accuracy=mean('pass@1'), mean_tokens=mean('mean_tokens'))
