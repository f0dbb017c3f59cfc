"""What the stage 'curate' leaves on disk, and what that was made of."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from k15 import files
from k15.checkpoints import stage_inputs
from k15.curation import funnel
from k15.data import problem_records
from k15.data import problems as problems_lib
from k15.data_types import Problem
from k15.devices import fingerprints
from k15.generation import asks
from k15.runtime.context import Context

_FREE = ('examples',)  # Keys that leave the prompt set as it is.


def inputs_of(
  context: Context, evaluation: Sequence[Problem], model: str
) -> dict[str, str]:
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
    # Not the whole group: slots and workers change nothing of what is sampled,
    # and a run may go on with others.
    rollout=[config.rollout.max_prompt_length, config.rollout.max_length],
    reward=[
      config.reward.default,
      list(config.reward.routes),
      config.reward.cut_is_wrong,
    ],
    prompt_suffix=config.task.prompt_suffix,
  )
  return inputs | {k: asks.digest(v) for k, v in others.items()}


def name_model(context: Context, params: Any) -> str:
  """Weights, and all else that decides what they sample."""
  config, task = context.config, context.task
  tokenizer, sampling = (
    stage_inputs.tokenizer_of(config),
    asks.sampling_of(config),
  )
  form = [task.is_chat, task.system_prompt, tokenizer, sampling]
  return asks.digest(fingerprints.of_params(params), form)


def _plain(problems):
  return [tuple(problem_records.to_record(p).values()) for p in problems]


def recorded(folder: pathlib.Path) -> dict[str, str]:
  """The inputs of what the folder has; {} if it has nothing."""
  path = folder / 'funnel.json'
  return json.loads(path.read_text())['inputs'] if path.exists() else {}


def read_prompts(folder: pathlib.Path) -> list[Problem]:
  """The prompt set."""
  examples = problems_lib.read_problems(str(folder / 'prompts.jsonl'))
  return [example.problem for example in examples]


def read_overlap(folder: pathlib.Path) -> set[str]:
  """Ids of the problems that went because they are evaluated."""
  removed = files.read_jsonl(folder / 'removed.jsonl')
  return {r['id'] for r in removed if r['step'] == 'evaluation overlap'}


def write(
  folder: pathlib.Path,
  problems: Sequence[Problem],
  steps: Sequence[funnel.Step],
  records: list[dict[str, Any]],
  inputs: dict[str, str],
) -> None:
  """funnel.json last: with it, the stage is done."""
  rows = [problem_records.to_record(problem) for problem in problems]
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
