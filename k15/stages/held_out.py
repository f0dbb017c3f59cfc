"""The held-out problems, answered by the model that a stage leaves.

Records are in `evaluation_STAGE.jsonl` of the workdir, what is under way in a
journal in `evaluation/held_out`.  RL on its way keeps their numbers alone.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import models
from k15.config import stages
from k15.data.evaluation_sets import EvalSet
from k15.devices import hosts
from k15.runtime import agreement
from k15.runtime import evaluation
from k15.runtime.context import Context
from k15.runtime.families import makers
from k15.stages import answered_sets
from k15.stages import judging


def held_out(
  context: Context, stage: str, source: pathlib.Path
) -> list[evaluation.Record]:
  """Records of the held-out problems; [] but in the first process.

  Raises:
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  task, facts = context.task, answered_sets.facts_of(context, source)
  found = [EvalSet('held_out', '', tuple(task.held_out))]
  asks = answered_sets.asks_of(context, found, task.prompt_suffix, facts)
  folder = context.workdir / 'evaluation' / 'held_out'
  label = f'evaluate {stage}'
  journal = answered_sets.answered(
    context, source, asks, facts, folder, label, 'held_out'
  )
  if not hosts.is_first():
    return []
  return [answered_sets.record_of(ask, journal) for ask in asks['held_out']]


def measured(
  context: Context, stage: str, model: pathlib.Path
) -> dict[str, Any]:
  """What the summary says of a stage that made a model, and says it.

  A reward model is asked about held-out pairs instead.
  """
  if stages.STAGES[stage].makes_judge:
    return judging.measured(context, stage, model)
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
  result = {key: result[key] for key in keys}
  result |= makers.beliefs_of(context.config, records)
  found = {f'{key}_after_{stage}': value for key, value in result.items()}
  if context.task.parts:
    parts = _parts(context, stage, records)
    found[f'parts_after_{stage}'] = parts
    found |= {
      f'{one}_accuracy_after_{stage}': parts[many]['accuracy']
      for one, many in (('image', 'pictures'), ('text', 'texts'))
      if many in parts
    }
  pairs = agreement.of_records(context, records)
  if pairs:
    found[f'agreement_of_pairs_after_{stage}'] = pairs
    agreed = pairs['all']['agreement']['value']
    found[f'agreement_after_{stage}'] = agreed
    print(
      f'after {stage}: {agreed:.3f} of {pairs["all"]["pairs"]} texts and their'
      ' pictures have the same answer',
      flush=True,
    )
  return found | dict(
    held_out_problems=len(context.task.held_out), seed=context.config.seed
  )


def on_the_way(
  context: Context, rollout: Any, is_last: bool = False
) -> dict[str, float]:
  """Accuracy, lengths, pictures and beliefs, of a rollout's weights.

  Of a task with parts, `accuracy_PART` of each too.

  Args:
    is_last: one of the last of its run, which `evaluation.last_samples` and
      `last_greedy` ask more of: `pass@k`, and `greedy_accuracy`.
  """
  config, e = context.config, context.config.evaluation

  def ask(samples, temperature):
    with context.rollout_layout.use_mesh():
      return evaluation.evaluate(
        rollout,
        context.task,
        functools.partial(context.submit, by_truth=True),
        samples,
        config.rollout.max_length,
        temperature,
        e.top_p,
      )

  more = e.last_samples if is_last else 0
  records = ask(more or e.samples, e.temperature)
  values = evaluation.summary(records) | agreement.on_the_way(context, records)
  if context.task.parts:
    parts = evaluation.by_part(records, context.task.parts)
    values |= {f'accuracy_{name}': parts[name]['accuracy'] for name in parts}
  values |= makers.beliefs_of(config, records)
  if more:
    values |= evaluation.pass_at(records, [k for k in e.pass_at if k > 1])
  if is_last and e.last_greedy:
    values['greedy_accuracy'] = evaluation.summary(ask(1, 0.0))['accuracy']
  # short_rl has one of its own, and so no score to set beside that of `rl`.
  return values | dict(max_length=config.rollout.max_length)


def _parts(context, stage, records):
  parts = evaluation.by_part(records, context.task.parts)
  for name, part in parts.items():
    print(
      f'after {stage}: accuracy {part["accuracy"]:.3f} of'
      f' {part["problems"]} {name}',
      flush=True,
    )
  return parts


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
  records = held_out(context, stage, model)
  records = [facts | record for record in records]
  if hosts.is_first():
    files.replace_jsonl(path, records)
  return records
