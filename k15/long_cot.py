"""The long-CoT warm-up: sample, verify, keep, fine-tune.  Kimi k1.5, 2.2.

Problems of the RL set are asked by prompts that want planning, evaluation,
reflection and exploration.  What is finished, verified correct, and shows the
processes is kept, and a lightweight SFT learns it as the response to the plain
prompt.  Every response asked for is in `long_cot/samples.jsonl`; the examples
and how they came about in `long_cot/examples.jsonl` and `funnel.json`.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib

from k15 import asks as asks_lib
from k15 import context as context_lib
from k15 import conversations
from k15 import draw
from k15 import files
from k15 import fingerprints
from k15 import hosts
from k15 import logs
from k15 import long_cot_samples
from k15 import responses
from k15 import run_weights
from k15 import sft
from k15 import sft_data
from k15 import task as task_lib
from k15 import writers
from k15.context import Context
from k15.data_types import Example, TrainState
from k15.journal import Journal

KEY_VARIABLE = 'K15_SERVER_KEY'


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Makes the examples, or reads them, and learns from them.

  Args:
    context: of the run.
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
    sft_data.row_tokens(context.config, 'long_cot'),
  )
  make_params = functools.partial(run_weights.load_params, context, model)
  return sft.train(context, make_params, 'long_cot', make_pairs)


def make_examples(
  context: Context, model: pathlib.Path | None
) -> list[Example]:
  """Goes on sampling where it stopped; writes examples and funnel."""
  config = context.config.long_cot_examples
  folder = context.workdir / 'long_cot'
  asking = long_cot_samples.Asking(
    **{
      field.name: config[field.name]
      for field in dataclasses.fields(long_cot_samples.Asking)
    }
  )
  problems = _askable(context, asking)
  journal = Journal(folder / 'samples.jsonl', writes=hosts.is_first())
  with (
    _writer(context, model) as write,
    logs.Progress(
      len(problems) * config.samples, 0, 'long_cot samples'
    ) as progress,
  ):
    draw_call = _caller(context, model, asking, journal, write, progress.update)
    records = long_cot_samples.sample(problems, draw_call, asking)
  return _write(folder, problems, records, asking)


def _caller(context, model, asking, journal, write, progress):
  """Number of a call, its problems and their turn -> the records."""
  config, task = context.config, context.task
  facts = asks_lib.facts_of(
    config,
    _name(config, model),
    temperature=config.long_cot_examples.temperature,
  )
  name_of = functools.partial(asks_lib.judge_of, config)
  is_stopping = context.stop_poll()

  def judge(ask, text, stop):
    if not long_cot_samples.is_finished(text, stop):
      return None
    # A server's template is its own, and what it gives the whole response.
    is_ours = not config.long_cot_examples.server
    opening = task.opening_of_turn(ask.question) if is_ours else ''
    return context.submit(ask.problem, text, stop, opening)

  def draw_call(call, asked, turn):
    asks = long_cot_samples.asks_of(
      call, asked, turn, asking, task, facts, name_of
    )
    if not draw.draw(
      asks, write, judge, journal, f'long_cot: call {call}', is_stopping,
      progress, has_judged=call > 0,
    ):  # fmt: skip
      raise context_lib.Interrupted('long_cot: what was sampled is saved')
    return long_cot_samples.records_of(asks, journal, turn)

  return draw_call


def _askable(context, asking):
  """Problems whose prompts the rollout can hold; a server sees to itself."""
  config, task = context.config.long_cot_examples, context.task
  problems = task.train[: config.problems]
  if config.server:
    return problems
  most = context.config.rollout.max_prompt_length

  def longest(problem):
    prompts = {
      long_cot_samples.prompt_of(problem, turn, asking)
      for turn in range(asking.samples)
    }
    return max(len(task.encode_prompt(prompt)) for prompt in prompts)

  kept = [problem for problem in problems if longest(problem) <= most]
  sentence = (
    f'long_cot: {len(problems) - len(kept)} of {len(problems)} problems have'
    f' {asking.prompt} prompts of more than rollout.max_prompt_length = {most}'
    ' tokens'
  )
  if not kept:
    raise conversations.DataError(sentence)
  if len(kept) < len(problems):
    print(sentence, flush=True)
  return kept


def _write(folder, problems, records, asking):
  """Examples and funnel as files; the examples."""
  by_id = {problem.id: problem for problem in problems}
  kept = long_cot_samples.kept_of(records, asking)
  funnel = long_cot_samples.funnel_of(len(problems), records, asking)
  lines = [
    dict(
      problem_id=record['problem_id'],
      sample=record['sample'],
      prompt=by_id[record['problem_id']].prompt,
      answer=by_id[record['problem_id']].answer,
      response=record['response'],
      processes=record['processes'],
    )
    for record in kept
  ]
  if hosts.is_first():
    files.replace_jsonl(folder / 'examples.jsonl', lines)
    text = json.dumps(funnel, indent=2) + '\n'
    files.replace_file(folder / 'funnel.json', text.encode())
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


def _name(config, model):
  """What tells whoever writes from others."""
  server = config.long_cot_examples.server
  if server:  # A run may go on with another model of it: `FREE_ON_RESUME`.
    return f'{server} {config.task.system_prompt}'
  return fingerprints.of_model(model) if model else ''


def _writer(context, model):
  """The server, or the model before this stage."""
  config = context.config.long_cot_examples
  if not config.server:
    return responses.by_model(context, model, 'long_cot')
  # Questions have their suffix already.
  task = dataclasses.replace(context.task, prompt_suffix='')
  return contextlib.nullcontext(
    writers.by_server(
      config.server,
      config.server_model,
      os.environ.get(KEY_VARIABLE, ''),
      task.messages,
      config.server_threads,
      config.server_seconds,
      context.config.seed,
    )
  )
