"""The stages of a run, in order, each followed by a held-out evaluation.

Each begins with a model on disk and leaves one, in `models/<stage>`.  One that
is done is not done again, one that was cut off goes on where its last
checkpoint is, and one that began with another model than it would now is
refused.  When all are done, `summary.json` and the report are written.

What the stage 'evaluate' asks may be asked of the checkpoint first, too.
"""

import dataclasses
import json
import time
from typing import Any

from k15 import files
from k15.checkpoints import models
from k15.checkpoints import stage_inputs
from k15.config import resume
from k15.config import stages
from k15.devices import hosts
from k15.report import run_page
from k15.runtime.context import Context
from k15.stages import evaluate
from k15.stages import held_out
from k15.stages import kinds
from k15.stages.prompt_set import curate


def run(context: Context) -> dict[str, Any]:
  """Runs all stages; returns the summary, whole in the first process."""
  start, config = time.time(), context.config
  path = context.workdir / 'summary.json'
  summary = json.loads(path.read_text()) if path.exists() else {}
  already = summary.get('seconds', 0.0)
  source = models.directory_of(config.checkpoint) if config.checkpoint else None
  if 'curate' in config.stages:
    curate.check(context)
  kinds.check(context)
  if config.evaluation.before and source and context.task.sets:
    summary |= _evaluated_before(context, source)
  for stage in config.stages:
    kind = stages.STAGES[stage].kind
    context = kinds.begun(context, stage)
    if kind == 'evaluate':
      found = _evaluated(context, source)
    else:
      settings = resume.to_json(context.config)
      problems = _problems(context, stage)
      stage_inputs.check(context.workdir, stage, source, settings, problems)
      if kind == 'curate':
        context = _curate(context, source)
        continue
      model = kinds.train(context, stage, source)
      found = held_out.measured(context, stage, model)
      # No stage goes on from a reward model.
      source = source if stages.STAGES[stage].makes_judge else model
    if hosts.is_first():
      summary |= found | dict(seconds=already + time.time() - start)
      files.replace_json(path, summary)
  if hosts.is_first():
    print(f'report: {run_page.write_report(str(context.workdir))}', flush=True)
  return summary


def _evaluated(context, source):
  """What the summary says of the stage 'evaluate'."""
  results = evaluate.run(context, source)
  if not hosts.is_first():
    return {}
  pooled = evaluate.pooled(results)
  found = {f'{key}_after_evaluate': value for key, value in pooled.items()}
  return found | _by_set(results, 'after') | dict(evaluation=results)


def _evaluated_before(context, source):
  """What the summary says of the checkpoint on the sets, before all stages."""
  results = evaluate.run(context, source, 'evaluation_before')
  return _by_set(results, 'before') | dict(evaluation_before=results)


def _by_set(results, when):
  return {f'{name}_{when}': r['pass@1']['value'] for name, r in results.items()}


def _problems(context, stage):
  """What a stage learns from, as far as files of the task decide it."""
  kind, lessons = stages.STAGES[stage].kind, context.task.lessons.get(stage)
  if lessons:
    return _plain(lessons.learnt)
  if kind == 'sft':
    return [] if context.config[stage].files else _plain(context.task.examples)
  if kind in ('merge', 'text', 'classic_rm', 'cot_rm'):
    return []
  return _plain(context.task.train)


def _plain(entries):
  return [dataclasses.asdict(entry) for entry in entries]


def _curate(context, source):
  """The context with the prompt set in the place of the task's problems."""
  make_params = kinds.params_maker(context, source) if source else None
  problems = curate.curate(context, make_params)
  return curate.prompt_set(context, problems)
