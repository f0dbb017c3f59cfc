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
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import stage_inputs
from k15.config import stages
from k15.curation import funnel
from k15.data import problems as problems_lib
from k15.data_types import Problem
from k15.devices import fingerprints
from k15.devices import hosts
from k15.generation import asks
from k15.generation import writers
from k15.generation.writers import Writer
from k15.runtime import rollouts
from k15.runtime import task as task_lib
from k15.runtime.context import Context
from k15.stages import curation_steps

_FREE = ('examples',)  # Keys that leave the prompt set as it is.


def curate(
  context: Context, make_params: Callable[[], Any] | None = None
) -> list[Problem]:
  """Runs the stage, or reads what it wrote for the same inputs.

  Args:
    context: of the run.
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
  sampling = asks.sampling_of(context.config)
  tokenizer = stage_inputs.tokenizer_of(context.config)
  form = [task.is_chat, task.system_prompt, tokenizer, sampling]
  model = asks.digest(fingerprints.of_params(params), form)
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
    context: of the run.
    write: answers what is asked; None if no step needs a model.
    model: names it; under another name everything is drawn anew.
  """
  folder = context.workdir / curation_steps.FOLDER
  evaluation = context.task.kept_out.problems
  inputs = _inputs(context, evaluation, model)
  if hosts.of_first(np.array(_recorded(folder) == inputs)):
    return _read_prompts(folder)
  checkpoints = context.workdir / 'checkpoints'
  trained = stages.with_curves('rl')
  if any((checkpoints / stage).exists() for stage in trained):
    return _begun_upon(context, folder, _changed(_recorded(folder), inputs))
  folder.mkdir(parents=True, exist_ok=True)
  problems, steps = curation_steps.run(context, evaluation, write, model)
  records = funnel.records_of(steps, context.config.curation.examples)
  if hosts.is_first():
    _write(folder, problems, steps, records, inputs)
    print(funnel.table(records), flush=True)
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
  problems, c = _read_prompts(folder), context.config.curation
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
  removed = files.read_jsonl(
    context.workdir / curation_steps.FOLDER / 'removed.jsonl'
  )
  known = {r['id'] for r in removed if r['step'] == 'evaluation overlap'}
  task = context.task
  examples = [e for e in task.examples if e.problem.id not in known]
  least, name = task_lib.least_problems(context.config)
  if len(problems) < least:
    raise curation_steps.Refused(
      f'curate: {len(problems)} problems are left, fewer than {name}'
    )
  task = dataclasses.replace(task, train=problems, examples=examples)
  return dataclasses.replace(context, task=task)


def _inputs(context, evaluation, model) -> dict[str, str]:
  """What the prompt set is made of, by name."""
  config = context.config
  inputs = {
    f'curation.{key}': asks.digest(value)
    for key, value in config.curation.items()
    if key not in _FREE
  }
  others = dict(
    problems=_plain(context.task.train),
    evaluation=_plain(evaluation),
    model=model,
    tokenizer=stage_inputs.tokenizer_of(config),
    seed=config.seed,
    rollout=[config.rollout.max_prompt_length, config.rollout.max_length],
    reward=[
      config.reward.default,
      list(config.reward.routes),
      config.reward.cut_is_wrong,
    ],
    prompt_suffix=config.task.prompt_suffix,
  )
  return inputs | {k: asks.digest(v) for k, v in others.items()}


def _plain(problems):
  return [dataclasses.astuple(problem) for problem in problems]


def _changed(old, new):
  return [key for key in new if old.get(key) != new[key]]


def _recorded(folder) -> dict[str, str]:
  path = folder / 'funnel.json'
  return json.loads(path.read_text())['inputs'] if path.exists() else {}


def _read_prompts(folder) -> list[Problem]:
  examples = problems_lib.read_problems(str(folder / 'prompts.jsonl'))
  return [example.problem for example in examples]


def _write(folder, problems, steps, records, inputs):
  """funnel.json last: with it, the stage is done."""
  rows = [dataclasses.asdict(problem) for problem in problems]
  files.replace_jsonl(folder / 'prompts.jsonl', rows)
  removed = [
    dict(step=step.name) | funnel.removal_record(removal)
    for step in steps
    for removal in step.removals
  ]
  files.replace_jsonl(folder / 'removed.jsonl', removed)
  text = funnel.table(records) + '\n'
  files.replace_file(folder / 'funnel.txt', text.encode())
  content = dict(
    steps=records, tags=funnel.tag_counts(problems, steps), inputs=inputs
  )
  encoded = json.dumps(content, indent=1, ensure_ascii=False)
  files.replace_file(folder / 'funnel.json', encoded.encode())
