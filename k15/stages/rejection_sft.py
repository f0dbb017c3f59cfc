"""Rejection sampling and supervised fine-tuning: DeepSeek-R1, section 2.3.3.

The model before the stage answers training problems several times.  What is
right by the problem's reward, a judge's where rules cannot tell, and reads well
becomes a conversation in `rejection_sft/examples.jsonl`; three of four examples
are of these, the others of files of general conversations.  The model learns
them, or its base does, anew.

The file of examples is what distillation takes (2.4): a smaller model learns it
by the stage 'sft'.
"""

import collections
import copy
import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from k15 import files
from k15.checkpoints import models
from k15.curation import readable
from k15.data import conversations
from k15.data import problem_records
from k15.data_types import Problem, TrainState
from k15.devices import hosts
from k15.runtime import weights
from k15.runtime.context import Context
from k15.runtime.task import Task
from k15.stages import collection
from k15.stages import sft


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    model: directory of the model that samples; None: random weights.

  Raises:
    DataError: no response was kept.
    Interrupted, scoring.Failed: see `collection.collect`.
  """
  config = context.config.rejection_sft
  collected = collection.collect(
    context, model, config.problems, config.samples
  )
  filters = readable.Readable(
    **{f.name: config[f.name] for f in dataclasses.fields(readable.Readable)}
  )
  examples, funnel = chosen(context.task, collected, filters)
  path = _write(context.workdir / 'rejection_sft', examples, funnel)
  make_params = functools.partial(
    weights.load_params, context, base_of(context.config, model)
  )
  return sft.train(with_files(context, str(path)), make_params, 'rejection_sft')


def base_of(config: Any, model: pathlib.Path | None) -> pathlib.Path | None:
  """The model that learns: the one that sampled, or the run's checkpoint."""
  if config.rejection_sft.from_checkpoint:
    return models.directory_of(config.checkpoint)
  return model


def chosen(
  task: Task,
  collected: Sequence[tuple[Problem, Sequence[collection.Response]]],
  filters: readable.Readable,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
  """Conversations with the responses that are kept, and how many were not.

  A response that a problem has got already is not kept twice.
  """
  examples, counts = [], collections.Counter()
  for problem, responses in collected:
    seen = set()
    for response in responses:
      text = task.tokenizer.decode(response.tokens)
      text = task.opening(problem.prompt) + text
      fault = filters.fault(text)
      if not response.is_correct:
        fault = 'wrong'
      elif text in seen:
        fault = 'repeated'
      counts[fault or 'kept'] += 1
      if fault:
        continue
      seen.add(text)
      answer = dict(role='assistant', content=text)
      example = dict(
        problem_id=problem.id, messages=[*_asked(task, problem), answer]
      )
      examples.append(example | problem_records.images_of(problem))
  sampled = sum(len(responses) for _, responses in collected)
  kept_of = len({example['problem_id'] for example in examples})
  funnel = dict(problems=len(collected), sampled=sampled, **counts)
  return examples, funnel | dict(problems_with_examples=kept_of)


def with_files(context: Context, path: str) -> Context:
  """The context with the examples as a file beside the stage's own.

  Weights give those of all general files together `general_share`.
  """
  # Stages share the config of the run: what is changed must stay this one's.
  config = copy.deepcopy(context.config)
  own = config.rejection_sft
  general = own.weights or (1.0,) * len(own.files)
  if own.files and own.general_share:
    scale = own.general_share / sum(general)
    own.weights = (1 - own.general_share, *(scale * w for w in general))
    own.files = (path, *own.files)
  else:
    own.files, own.weights = (path,), ()
  return dataclasses.replace(context, config=config)


def _asked(task, problem):
  """The turns before the response; a plain task adds its suffix by itself."""
  if task.is_chat:
    return task.messages(problem.prompt)
  return [dict(role='user', content=problem.prompt)]


def _write(folder, examples, funnel):
  """Examples and funnel as files; the path of the examples."""
  if hosts.is_first():
    folder.mkdir(parents=True, exist_ok=True)
    files.replace_jsonl(folder / 'examples.jsonl', examples)
    files.replace_json(folder / 'funnel.json', funnel)
  counts = ', '.join(f'{n} {name}' for name, n in funnel.items())
  print(f'rejection_sft: {counts}', flush=True)
  if not examples:
    raise conversations.DataError(
      f'rejection_sft: no response was kept; {folder / "funnel.json"} says why'
    )
  return folder / 'examples.jsonl'
