"""The stages of a run, in order, each followed by a held-out evaluation.

Each begins with a model on disk and leaves one, in `models/<stage>`.  One that
is done is not done again, one that was cut off goes on where its last
checkpoint is, and one that began with another model than it would now is
refused.  When all are done, `summary.json` and the report are written.
"""

import dataclasses
import functools
import json
import pathlib
import time
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import merging
from k15.checkpoints import models
from k15.checkpoints import stage_inputs
from k15.config import resume
from k15.config import stages
from k15.devices import hosts
from k15.report import run_page
from k15.runtime import evaluation
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages import curate
from k15.stages import dpo
from k15.stages import evaluate
from k15.stages import long_cot
from k15.stages import rl
from k15.stages import sft
from k15.stages import short_rl
from k15.stages import shortest


def _weights(context, model):
  """What makes the weights to start from, when they are needed."""
  return functools.partial(weights.load_params, context, model)


# Kind of a stage -> (context, its name, directory of the model before or None)
# -> its last state.
TRAIN = {
  'sft': lambda c, stage, model: sft.train(c, _weights(c, model), stage),
  'long_cot': lambda c, _, model: long_cot.train(c, model),
  'rl': lambda c, stage, model: rl.train(c, _weights(c, model), stage),
  'shortest': lambda c, _, model: shortest.train(c, model),
  'dpo': lambda c, _, model: dpo.train(c, model),
  'short_rl': lambda c, _, model: short_rl.train(c, model),
}


def run(context: Context) -> dict[str, Any]:
  """Runs all stages; returns the summary, whole in the first process."""
  start, config = time.time(), context.config
  path = context.workdir / 'summary.json'
  summary = json.loads(path.read_text()) if path.exists() else {}
  already = summary.get('seconds', 0.0)
  source = models.directory_of(config.checkpoint) if config.checkpoint else None
  if 'curate' in config.stages:
    curate.check(context)
  for stage in config.stages:
    kind = stages.STAGES[stage].kind
    if kind == 'evaluate':
      found = _evaluated(context, source)
    else:
      settings = resume.to_json(context.config)
      problems = _problems(context, stage)
      stage_inputs.check(context.workdir, stage, source, settings, problems)
      if kind == 'curate':
        context = _curate(context, source)
        continue
      source = _train(context, stage, source)
      found = _measured(context, stage, source)
    if hosts.is_first():
      summary |= found | dict(seconds=already + time.time() - start)
      text = json.dumps(summary, indent=2) + '\n'
      files.replace_file(path, text.encode())
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
  return found | dict(evaluation=results)


def _measured(context, stage, model):
  """What the summary says of a stage that made a model, and says it."""
  records = _evaluation(context, stage, model)
  if not hosts.is_first():
    return {}
  result = evaluation.summary(records)
  print(
    f'after {stage}: accuracy {result["accuracy"]:.3f},'
    f' {result["mean_tokens"]:.1f} tokens a response',
    flush=True,
  )
  keys = ('accuracy', 'mean_tokens', 'truncated')
  return {f'{key}_after_{stage}': result[key] for key in keys} | dict(
    held_out_problems=len(context.task.held_out), seed=context.config.seed
  )


def _problems(context, stage):
  """What a stage learns from, as far as files of the task decide it."""
  kind = stages.STAGES[stage].kind
  if kind == 'sft':
    has_files = context.config[stage].files
    return [] if has_files else _plain(context.task.examples)
  return [] if kind == 'merge' else _plain(context.task.train)


def _plain(entries):
  return [dataclasses.asdict(entry) for entry in entries]


def _curate(context, source):
  """The context with the prompt set in the place of the task's problems."""
  make_params = _weights(context, source) if source else None
  problems = curate.curate(context, make_params)
  return curate.prompt_set(context, problems)


def _train(context, stage, source) -> pathlib.Path:
  """Runs a stage from the model at `source`, if any; returns its own."""
  config, kind = context.config, stages.STAGES[stage].kind
  directory = context.workdir / 'models' / stage
  total = stages.total(config, stage)
  origin = models.read_origin(directory)
  if origin is not None and origin.done == total:
    return directory
  if kind == 'merge':
    _merge(context, source, directory)
    return directory
  state = TRAIN[kind](context, stage, source)
  checkpoint = config.checkpoint
  models.save(
    directory,
    context.shape,
    weights.whole(context.shape, state),
    context.task.tokenizer,
    _longest(config, stage),
    models.Origin(stage, total, int(state.step)),
    models.directory_of(checkpoint) if checkpoint else None,
    state.params if context.shape.lora_rank else None,
    _base(config, kind, source),
  )
  return directory


def _base(config, kind, source):
  """The model that a stage's adapters belong to, if it is known here."""
  chooses = kind == 'short_rl' and config.short_rl.candidates
  return None if chooses else source


def _merge(context, source, directory):
  """The mean of the model at `source` and the config's short one."""
  config = context.config.long2short
  if hosts.is_first():
    merging.merge(
      directory,
      source,
      models.directory_of(config.short_model),
      config.short_share,
      models.Origin('merge', 1, 0),
    )
  hosts.wait(f'{directory}: merged')


def _longest(config, stage):
  """Tokens of the longest texts the model was trained on so far."""
  r = config.rollout
  trained = config.stages[: config.stages.index(stage) + 1]
  packed = set(trained) & set(stages.with_curves('sft'))
  rows = (sft.row_tokens(config, s) for s in packed)
  return max(r.max_prompt_length + r.max_length, *rows, 0)


def _evaluation(context, stage, model):
  """Records of the evaluation after a stage, from disk if it was done.

  A run that goes on for longer, or is asked for other samples, is evaluated
  again: each record says which state it is of.  Only the first process judges,
  and has records.
  """
  config = context.config
  path = context.workdir / f'evaluation_{stage}.jsonl'
  e = config.evaluation
  total = len(context.task.held_out) * e.samples
  step = models.read_origin(model).step
  facts = dict(step=step, temperature=e.temperature)
  if e.top_p < 1:
    facts['top_p'] = e.top_p
  records = files.read_jsonl(path)
  keys = ('step', 'temperature', 'top_p')
  is_done = len(records) == total and facts == {
    k: records[0][k] for k in keys if k in records[0]
  }
  if hosts.of_first(np.array(is_done)):
    return records if hosts.is_first() else []
  records = evaluate.held_out(context, stage, model)
  records = [facts | record for record in records]
  lines = ''.join(json.dumps(record) + '\n' for record in records)
  if hosts.is_first():
    files.replace_file(path, lines.encode())
  return records
