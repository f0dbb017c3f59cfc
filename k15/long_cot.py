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
from collections.abc import Callable
from typing import Any

from k15 import context as context_lib
from k15 import conversations
from k15 import files
from k15 import hosts
from k15 import logs
from k15 import long_cot_samples
from k15 import rollouts
from k15 import sft
from k15 import sft_data
from k15 import task as task_lib
from k15.context import Context
from k15.data_types import Example, StopReason, TrainState
from k15.rollout import openai_texts
from k15.rollout import texts

KEY_VARIABLE = 'K15_SERVER_KEY'


def train(context: Context, make_params: Callable[[], Any]) -> TrainState:
  """Makes the examples, or reads them, and learns from them.

  Args:
    context: of the run.
    make_params: the weights to start from; they write the examples too, unless
      a server does.

  Raises:
    DataError: nothing was kept.
  """
  examples = make_examples(context, make_params)
  task = dataclasses.replace(context.task, examples=examples)
  make_pairs = functools.partial(
    task_lib.sft_pairs,
    task,
    context.config.rollout.max_length,
    sft_data.row_tokens(context.config, 'long_cot'),
  )
  return sft.train(context, make_params, 'long_cot', make_pairs)


def make_examples(
  context: Context, make_params: Callable[[], Any]
) -> list[Example]:
  """Goes on sampling where it stopped; writes examples and funnel."""
  config = context.config.long_cot_examples
  folder = context.workdir / 'long_cot'
  folder.mkdir(parents=True, exist_ok=True)
  asking = long_cot_samples.Asking(
    **{
      field.name: config[field.name]
      for field in dataclasses.fields(long_cot_samples.Asking)
    }
  )
  problems = _askable(context, asking)
  with logs.Progress(
    len(problems) * config.samples, 0, 'long_cot samples'
  ) as progress:

    def on_call(records):
      progress.update(len(records))
      if context.is_stopping():
        raise context_lib.Interrupted('long_cot: responses saved')

    records = long_cot_samples.sample(
      problems,
      functools.partial(_generate_from, context, make_params),
      functools.partial(_submit, context),
      asking,
      folder / 'samples.jsonl',
      on_call,
    )
  return _write(folder, problems, records, asking)


def _submit(context, problem, prompt, response):
  """Has a finished response judged, as one to the prompt it was asked by.

  A server's template is its own, and what it gives is the whole response.
  """
  is_ours = not context.config.long_cot_examples.server
  opening = context.task.opening(prompt) if is_ours else ''
  return context.submit(problem, response, StopReason.EOS, opening)


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


@contextlib.contextmanager
def _generate_from(context, make_params, call):
  """`generate` of the server, or of the model before this stage."""
  config, r = context.config.long_cot_examples, context.config.rollout
  if config.server:
    yield openai_texts.make_generate(
      config.server,
      config.server_model,
      os.environ.get(KEY_VARIABLE, ''),
      context.task.messages,
      r.max_length,
      config.temperature,
      config.server_threads,
      config.server_seconds,
      seed=context.config.seed,
      first_call=call,
    )
    return
  with rollouts.sampling(context, make_params(), 'long_cot') as rollout:
    yield texts.make_generate(
      rollout,
      context.task.tokenizer,
      r.max_prompt_length,
      r.max_length,
      config.temperature,
      encode=context.task.encode_prompt,
      finished_only=True,
      first_call=call,
    )
