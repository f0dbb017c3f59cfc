"""The stage that makes the RL prompt set: Kimi k1.5, section 2.1.

Takes the training problems of the task through the funnel of `funnel.py`,
with tags, and with samples of a model where the config asks for them.  Writes
into workdir/curation:

  prompts.jsonl   the prompt set, as `problems.read_problems` reads it
  removed.jsonl   every other problem, the step, the reason, what it repeats
  funnel.json     counts and examples by step; funnel.txt is its table
  samples.jsonl   all responses that were drawn, and their verdicts
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from k15.config import stages
from k15.curation import funnel
from k15.data_types import Problem
from k15.devices import hosts
from k15.generation import writers
from k15.generation.writers import Writer
from k15.runtime import rollouts
from k15.runtime import task as task_lib
from k15.runtime.context import Context
from k15.stages.prompt_set import curation_files
from k15.stages.prompt_set import curation_steps


def curate(
  context: Context, make_params: Callable[[], Any] | None = None
) -> list[Problem]:
  """Runs the stage, or reads what it wrote for the same inputs.

  Args:
    make_params: gives the weights of the SFT model; None: there are none.

  Raises:
    curation_steps.Refused: a step needs a model, the bounds on tags cannot
      hold, or RL has begun on another prompt set.
    context_lib.Interrupted: asked to stop; the samples so far are kept.
  """
  if not needs_model(context.config):
    return curate_with(context, None, '')
  if make_params is None:
    raise curation_steps.Refused(
      'curate: pass rates, guesses and model tags need weights: name a'
      ' checkpoint, let sft go before, or set curation.samples and'
      ' curation.guesses to 0'
    )
  task, params = context.task, make_params()
  model = curation_files.name_model(context, params)
  columns = curation_steps.columns_of(context.config, task)
  with rollouts.sampling(context, params, 'curate', columns) as rollout:
    del params
    write = writers.by_rollout(rollout, task.encode_turn, task.tokenizer)
    return curate_with(context, write, model)


def check(context: Context) -> None:
  """Refuses what the stage would fail of later; before any device work.

  Raises:
    curation_steps.Refused: workers cannot decode its longest question.
  """
  config, r = context.config, context.config.rollout
  if not set(r.workers) - {'local'} or not needs_model(config):
    return
  needed = curation_steps.columns_of(config, context.task)
  if needed > r.max_prompt_length + r.max_length:
    raise curation_steps.Refused(
      f'curate: its longest question and answer have {needed} tokens, more than'
      f' rollout.max_prompt_length {r.max_prompt_length} + rollout.max_length'
      f' {r.max_length}, which rollout.workers hold'
    )


def needs_model(config: Any) -> bool:
  """Whether a step of this config samples."""
  c = config.curation
  return bool(c.samples or c.guesses or c.tagger == 'model')


def curate_with(
  context: Context, write: Writer | None, model: str
) -> list[Problem]:
  """The stage with any writer of responses.

  Args:
    write: answers what is asked; None if no step needs a model.
    model: names it; under another name everything is drawn anew.
  """
  folder = context.workdir / curation_steps.FOLDER
  evaluation = context.task.kept_out.problems
  inputs = curation_files.inputs_of(context, evaluation, model)
  recorded = curation_files.recorded(folder)
  # Of several processes one may see the file later than the others, and would
  # sample alone.
  if hosts.of_first(np.array(recorded == inputs)):
    return curation_files.read_prompts(folder)
  checkpoints = context.workdir / 'checkpoints'
  trained = stages.with_curves('rl')
  # Groups under way name problems of the old set, and success rates count them.
  if any((checkpoints / stage).exists() for stage in trained):
    changed = [key for key in inputs if recorded.get(key) != inputs[key]]
    return _begun_upon(context, folder, changed)
  folder.mkdir(parents=True, exist_ok=True)
  problems, steps = curation_steps.run(context, evaluation, write, model)
  records = funnel.records_of(steps, context.config.curation.examples)
  if hosts.is_first():
    curation_files.write(folder, problems, steps, records, inputs)
    print(funnel.table(records), flush=True)
  # All of them read these files next, for what overlaps with evaluation.
  hosts.wait('curate: written')
  return problems


def _begun_upon(context, folder, changed) -> list[Problem]:
  """The prompt set that RL has begun on, which stays as it is.

  Raises:
    curation_steps.Refused: other problems are evaluated now, and it has one of
      them; or anything else that it was made of has changed.
  """
  if changed != ['evaluation']:
    raise curation_steps.Refused(
      f'curate: {", ".join(changed)} changed since RL began on the prompt set'
      ' in this workdir: take it back or choose another'
    )
  problems, c = curation_files.read_prompts(folder), context.config.curation
  found = funnel.evaluation_overlap(
    problems,
    context.task.kept_out.problems,
    c.duplicate_similarity,
    c.variant_similarity,
  )
  if found:
    raise curation_steps.Refused(
      f'curate: RL began on {len(found)} problems that are evaluated now, such'
      f' as {found[0].problem.id!r}, which is {found[0].other.id!r}: evaluate'
      ' something else or choose another workdir'
    )
  return problems


def prompt_set(context: Context, problems: list[Problem]) -> Context:
  """The context of the stages that follow: RL draws from these problems.

  Worked solutions of problems that an evaluation set holds are left out too.
  """
  task, folder = context.task, context.workdir / curation_steps.FOLDER
  known = curation_files.read_overlap(folder)
  examples = [e for e in task.examples if e.problem.id not in known]
  least, name = task_lib.least_problems(context.config)
  if len(problems) < least:
    raise curation_steps.Refused(
      f'curate: {len(problems)} problems are left, fewer than {name}'
    )
  task = dataclasses.replace(task, train=problems, examples=examples)
  return dataclasses.replace(context, task=task)
