"""The long-CoT warm-up: sample, verify, keep, fine-tune.  Kimi k1.5, 2.2.

Problems of the RL set are asked by prompts that want planning, evaluation,
reflection and exploration.  What is finished, verified correct, and shows the
processes is kept, and a lightweight SFT learns it as the response to the plain
prompt.  Every response asked for is in `long_cot/samples.jsonl`; the examples
and how they came about in `long_cot/examples.jsonl` and `funnel.json`.
"""

import dataclasses
import functools
import pathlib

from k15 import files
from k15.data import conversations
from k15.data import problem_records
from k15.data_types import Example, TrainState
from k15.devices import hosts
from k15.runtime import made_models
from k15.runtime import task as task_lib
from k15.runtime.context import Context
from k15.stages import long_cot_asking
from k15.stages import long_cot_samples
from k15.stages import sft


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Makes the examples, or reads them, and learns from them.

  Args:
    model: directory of the model to start from; None: random weights.  It
      writes the examples too, unless a server does.

  Raises:
    DataError: nothing was kept.
  """
  examples = make_examples(context, model)
  task = dataclasses.replace(context.task, examples=examples)
  make_pairs = functools.partial(
    task_lib.sft_pairs,
    task,
    context.config.rollout.max_length,
    sft.row_tokens(context.config, 'long_cot'),
  )
  make_params = made_models.params_maker(context, model)
  return sft.train(context, make_params, 'long_cot', make_pairs)


def make_examples(
  context: Context, model: pathlib.Path | None
) -> list[Example]:
  """Goes on sampling where it stopped; writes examples and funnel."""
  drawn = long_cot_samples.drawn(
    context, model, 'long_cot', 'long_cot_examples'
  )
  return _write(context.workdir / 'long_cot', *drawn)


def _write(folder, problems, records, asking):
  """Examples and funnel as files; the examples."""
  by_id = {problem.id: problem for problem in problems}
  kept = long_cot_asking.kept_of(records, asking)
  funnel = long_cot_asking.funnel_of(len(problems), records, asking)
  lines = [
    dict(
      problem_id=record['problem_id'],
      sample=record['sample'],
      prompt=by_id[record['problem_id']].prompt,
      answer=by_id[record['problem_id']].answer,
      response=record['response'],
      processes=record['processes'],
    )
    | problem_records.images_of(by_id[record['problem_id']])
    for record in kept
  ]
  if hosts.is_first():
    files.replace_jsonl(folder / 'examples.jsonl', lines)
    files.replace_json(folder / 'funnel.json', funnel)
  print(
    f'long_cot: {funnel["problems"]} problems, {funnel["sampled"]} responses,'
    f' {funnel["finished"]} finished, {funnel["correct"]} correct,'
    f' {funnel["correct_with_processes"]} with at least'
    f' {asking.least_processes} processes, {funnel["kept"]} kept of'
    f' {funnel["problems_with_examples"]} problems',
    flush=True,
  )
  if not kept:
    raise conversations.DataError(
      f'long_cot: none of {len(records)} responses was kept,'
      f' {funnel["correct"]} were correct; see {folder / "funnel.json"}'
    )
  return [Example(by_id[r['problem_id']], r['response']) for r in kept]
