"""Questions that a model answers and a verifier lets through: for cooldown.

Kimi k1.5, 2.5.1: cooldown has synthetic pairs of question and answer, made by
rejection sampling; from what, and how many, is not published.  Here the run's
training problems are asked, by the model before the stage or another, and what
their reward calls right becomes documents of the domain 'qa', or 'picture_qa'
where they have pictures, about which nothing is asked unless the stage learns
from some.  Every response asked for is in `cooldown/samples.jsonl`; the
documents and how they came about in `cooldown/questions.jsonl` and
`funnel.json`.
"""

import copy
import dataclasses
import pathlib
from typing import Any

from k15 import files
from k15.checkpoints import models
from k15.data import arithmetic_documents
from k15.data import conversations
from k15.data import problem_records
from k15.devices import hosts
from k15.runtime import context as context_lib
from k15.runtime.context import Context
from k15.stages import long_cot_asking
from k15.stages import long_cot_samples

PICTURES = 'picture_qa'  # The domain of questions about pictures.
_GROUP = 'cooldown_questions'


def files_of(
  config: Any, stage: str, workdir: pathlib.Path
) -> list[pathlib.Path]:
  """The documents that `make` leaves for a stage; none if it asks nothing."""
  is_asked = stage == 'cooldown' and config[_GROUP].problems
  return [workdir / stage / 'questions.jsonl'] if is_asked else []


def make(context: Context, stage: str, model: pathlib.Path | None) -> None:
  """Makes the documents of a stage that asks, or goes on where it stopped.

  Args:
    model: directory of the model before the stage; None: random weights.

  Raises:
    DataError: no answer was kept.
    Interrupted, scoring.Failed: see `draw.draw`.
  """
  for path in files_of(context.config, stage, context.workdir):
    own, context = context.config[_GROUP], _learnable(context)
    if own.model:
      model = models.directory_of(own.model)
      context = _with_model(context, model)
    problems, records, asking = long_cot_samples.drawn(
      context, model, stage, _GROUP
    )
    kept = long_cot_asking.kept_of(records, asking)
    funnel = _funnel(problems, records, kept, own.most_per_problem)
    by_id = {problem.id: problem for problem in problems}
    lines = [_document(context.task, by_id, r, own.server) for r in kept]
    if hosts.is_first():
      files.replace_jsonl(path, lines)
      files.replace_json(path.with_name('funnel.json'), funnel)
    counts = ', '.join(f'{n} {name}' for name, n in funnel.items())
    print(f'{stage} questions: {counts}', flush=True)
    if not kept:
      raise conversations.DataError(
        f'{stage}: none of {len(records)} answers was kept; see'
        f' {path.with_name("funnel.json")}'
      )


def _with_model(context, directory):
  """The context of another model: its shape, its tokenizer, its chat."""
  config = copy.deepcopy(context.config)
  config.checkpoint = str(directory)
  context_lib.adopt_checkpoint(config)
  tokenizer, t = context_lib.make_tokenizer(config), config.task
  is_chat = tokenizer.has_chat_template and t.use_chat_template
  return dataclasses.replace(
    context,
    config=config,
    layout=context_lib.make_layout(config, tokenizer),
    task=dataclasses.replace(
      context.task,
      tokenizer=tokenizer,
      is_chat=is_chat and not t.template,
    ),
  )


def _document(task, by_id, record, server):
  """The problem, and what was answered, with what the prompt began of it."""
  problem = by_id[record['problem_id']]
  opening = '' if server else task.opening(problem.prompt)
  text = problem.prompt + task.prompt_suffix + opening + record['response']
  domain = PICTURES if problem.images else arithmetic_documents.VERIFIED
  document = dict(text=text, domain=domain, problem_id=problem.id)
  return document | problem_records.images_of(problem)


def _learnable(context):
  """The context without the problems that the stage could not learn from."""
  if context.config.cooldown.image_share:
    return context
  task = context.task
  texts = [problem for problem in task.train if not problem.images]
  return dataclasses.replace(
    context, task=dataclasses.replace(task, train=texts)
  )


def _funnel(problems, records, kept, most_per_problem):
  """Counts of how far responses came."""
  ends = [record['verdict'] for record in records]
  return dict(
    problems=len(problems),
    asked=len(records),
    finished=len(ends) - ends.count('unfinished'),
    right=ends.count('correct'),
    kept=len(kept),
    at_most_per_problem=most_per_problem,
    problems_with_answers=len({record['problem_id'] for record in kept}),
  )
