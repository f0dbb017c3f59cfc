"""The long-CoT warm-up: sample, verify, keep, fine-tune.  Kimi k1.5, 2.2.

Problems of the RL set are asked by prompts that want planning, evaluation,
reflection and exploration.  What is finished, verified correct, and shows the
processes is kept, and a lightweight SFT learns it as the response to the plain
prompt.  Every response asked for is in `long_cot/samples.jsonl`; the examples
and how they came about in `long_cot/examples.jsonl` and `funnel.json`.

Long chains of thought: asked for, verified, kept.  Kimi k1.5, section 2.2.

A response that is finished, verified correct and shows the processes of
`k15.data.long_cot_prompts` becomes an example.  Which problems are asked again
hangs on the verdicts before; all of them are in a journal, so that nothing is
asked twice and the funnel can be recounted.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15 import streams
from k15.data import conversations
from k15.data import long_cot_prompts
from k15.data_types import Example, Problem, StopReason, TrainState
from k15.devices import fingerprints
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation import writers
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.rewards import verdict
from k15.runtime import context as context_lib
from k15.runtime import responses
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.runtime.context import Context
from k15.runtime.task import Task
from k15.stages import sft
from k15.training import logs

_KINDS = (*verdict.KINDS, 'unfinished')


@dataclasses.dataclass(frozen=True)
class Asking:
  """How problems are asked, and what is kept; see `long_cot_examples`."""

  prompt: str
  samples: int
  most_per_problem: int
  least_processes: int
  call_size: int


def sample(
  problems: Sequence[Problem],
  draw_call: Callable[[int, Sequence[Problem], int], list[dict[str, Any]]],
  asking: Asking,
) -> list[dict[str, Any]]:
  """Asks every problem until it has its examples, at most `samples` times.

  Args:
    problems: of different ids.
    draw_call: number of a call, the problems it asks and how often they were
      asked before -> their records, in order.
    asking: how often, in calls of how many.

  Returns:
    One record a response, in the order of the calls.
  """
  records, call = [], 0
  for turn in range(asking.samples):
    for asked in _open_problems(problems, records, asking):
      records += draw_call(call, asked, turn)
      call += 1
  return records


def asks_of(
  call: int,
  asked: Sequence[Problem],
  turn: int,
  asking: Asking,
  task: Task,
  facts: Mapping[str, Any],
  judge_of: Callable[[Problem], str],
) -> list[Ask]:
  """The asks of a call; its number and their places are their random ids.

  Args:
    call: its number.
    asked: the problems.
    turn: how often they were asked before.
    asking: by which prompts.
    task: puts them.
    facts: of `asks.facts_of`.
    judge_of: `Ask.judge` of a problem.
  """
  asks = []
  for problem, group_id in zip(asked, streams.IDS['texts'], strict=False):
    question = prompt_of(problem, turn, asking) + task.prompt_suffix
    tokens = task.encode_turn(question)
    asks += asks_lib.of_problem(
      problem, question, tokens, group_id, [call], facts, judge_of(problem)
    )
  return asks


def is_finished(text: str, stop: StopReason) -> bool:
  """Whether there is something to verify."""
  return stop is StopReason.EOS and bool(text)


def records_of(
  asks: Sequence[Ask], journal: Journal, turn: int
) -> list[dict[str, Any]]:
  """Records of a call that is drawn and judged; all processes have to ask."""
  kinds, found = [], [journal.response(ask) for ask in asks]
  for ask, written in zip(asks, found, strict=True):
    kind = 'unfinished'
    if is_finished(written.text, written.stop):
      kind = journal.verdict(ask)['verdict']
    kinds.append(_KINDS.index(kind))
  # Judged in the first process, whose word counts in all of them.
  kinds = hosts.of_first(np.array(kinds))
  return [
    dict(
      problem_id=ask.problem.id,
      sample=turn,
      response=written.text,
      verdict=_KINDS[kind],
      reason=(journal.verdict(ask) or {}).get('reason', ''),
      processes=long_cot_prompts.shown(written.text),
    )
    for ask, written, kind in zip(asks, found, kinds, strict=True)
  ]


def prompt_of(problem: Problem, turn: int, asking: Asking) -> str:
  """What the problem is asked by in a turn."""
  if asking.prompt == 'plain':
    return problem.prompt
  return long_cot_prompts.engineer(problem.prompt, turn)


def kept_of(records: Sequence[dict], asking: Asking) -> list[dict[str, Any]]:
  """Those that become examples: correct, with the processes, different.

  Of one problem, the first `most_per_problem` in the order they were sampled.
  """
  kept, seen, counts = [], set(), collections.Counter()
  for record in records:
    problem_id = record['problem_id']
    name = problem_id, record['response']
    if (
      record['verdict'] == 'correct'
      and len(record['processes']) >= asking.least_processes
      and counts[problem_id] < asking.most_per_problem
      and name not in seen
    ):
      seen.add(name)
      counts[problem_id] += 1
      kept.append(record)
  return kept


def funnel_of(
  num_problems: int, records: Sequence[dict], asking: Asking
) -> dict[str, Any]:
  """How many responses came how far, and one example of each kind of end."""
  correct = [r for r in records if r['verdict'] == 'correct']
  kept = kept_of(records, asking)
  shown = [r for r in correct if len(r['processes']) >= asking.least_processes]
  ends = dict(
    kept=kept,
    unfinished=[r for r in records if r['verdict'] == 'unfinished'],
    wrong=[r for r in records if r['verdict'] == 'wrong'],
  )
  for process in long_cot_prompts.PROCESSES:
    ends[f'correct_without_{process}'] = [
      r for r in correct if process not in r['processes']
    ]
  return dict(
    problems=num_problems,
    sampled=len(records),
    finished=len(records) - len(ends['unfinished']),
    correct=len(correct),
    correct_showing={
      process: sum(process in r['processes'] for r in correct)
      for process in long_cot_prompts.PROCESSES
    },
    correct_with_processes=len(shown),
    kept=len(kept),
    problems_with_examples=len({r['problem_id'] for r in kept}),
    examples={end: found[0] for end, found in ends.items() if found},
  )


def _open_problems(problems, records, asking):
  """Problems that still lack examples, in calls."""
  counts = collections.Counter(
    r['problem_id'] for r in kept_of(records, asking)
  )
  wanted = [p for p in problems if counts[p.id] < asking.most_per_problem]
  return [
    wanted[start : start + asking.call_size]
    for start in range(0, len(wanted), asking.call_size)
  ]


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
    sft.row_tokens(context.config, 'long_cot'),
  )
  make_params = functools.partial(weights.load_params, context, model)
  return sft.train(context, make_params, 'long_cot', make_pairs)


def make_examples(
  context: Context, model: pathlib.Path | None
) -> list[Example]:
  """Goes on sampling where it stopped; writes examples and funnel."""
  config = context.config.long_cot_examples
  folder = context.workdir / 'long_cot'
  asking = Asking(
    **{field.name: config[field.name] for field in dataclasses.fields(Asking)}
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
    records = sample(problems, draw_call, asking)
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
    if not is_finished(text, stop):
      return None
    # A server's template is its own, and what it gives the whole response.
    is_ours = not config.long_cot_examples.server
    opening = task.opening_of_turn(ask.question) if is_ours else ''
    return context.submit(ask.problem, text, stop, opening)

  def draw_call(call, asked, turn):
    asks = asks_of(call, asked, turn, asking, task, facts, name_of)
    if not draw.draw(
      asks, write, judge, journal, f'long_cot: call {call}', is_stopping,
      progress, has_judged=call > 0,
    ):  # fmt: skip
      raise context_lib.Interrupted('long_cot: what was sampled is saved')
    return records_of(asks, journal, turn)

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
      prompt_of(problem, turn, asking) for turn in range(asking.samples)
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
  kept = kept_of(records, asking)
  funnel = funnel_of(len(problems), records, asking)
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
