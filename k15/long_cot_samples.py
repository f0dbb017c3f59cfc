"""Long chains of thought: asked for, verified, kept.  Kimi k1.5, section 2.2.

A response that is finished, verified correct and shows the processes of
`k15.cognitive` becomes an example.  Everything that was asked is on disk, so
that nothing is asked twice and the funnel can be recounted.
"""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from k15 import cognitive
from k15 import conversations
from k15 import files
from k15 import hosts
from k15.data_types import Problem
from k15.rewards import scoring
from k15.rewards import verdict as verdict_lib
from k15.rewards.verdict import Verdict

Generate = Callable[[Sequence[str]], list[str]]
_KINDS = (*verdict_lib.KINDS, 'unfinished')
GenerateFrom = Callable[[int], contextlib.AbstractContextManager[Generate]]


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
  generate_from: GenerateFrom,
  submit: Callable[[Problem, str, str], Future[Verdict]],
  asking: Asking,
  path: pathlib.Path,
  on_call: Callable[[list[dict]], None] = lambda records: None,
) -> list[dict[str, Any]]:
  """Asks every problem until it has its examples, at most `samples` times.

  Args:
    problems: of different ids.
    generate_from: number of the next call -> a context of `generate`, prompts
      -> texts, '' for one that is not finished; only if there is one to ask.
    submit: judges a finished response: problem, the prompt it was asked by,
      and text.
    asking: how often, in calls of how many.
    path: records of every response, JSON lines; what it has is not asked again.
    on_call: given the records of each call, those on disk too.

  Returns:
    One record a response, in the order of the calls.

  Raises:
    scoring.Failed: every verdict of a call is an error; it is not on disk.
  """
  calls, records, number = _whole_calls(path), [], 0
  with contextlib.ExitStack() as stack:
    generate = None
    for turn in range(asking.samples):
      for asked in _open_problems(problems, records, asking):
        if number == len(calls):
          if generate is None:
            generate = stack.enter_context(generate_from(number))
          calls.append(_ask(asked, turn, number, generate, submit, asking))
          if hosts.is_first():
            files.append_jsonl(path, calls[number])
        _check_asked(path, calls[number], asked, turn)
        records += calls[number]
        on_call(calls[number])
        number += 1
  return records


def prompt_of(problem: Problem, turn: int, asking: Asking) -> str:
  """What the problem is asked by in a turn."""
  if asking.prompt == 'plain':
    return problem.prompt
  return cognitive.engineer(problem.prompt, turn)


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
  for process in cognitive.PROCESSES:
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
      for process in cognitive.PROCESSES
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


def _ask(asked, turn, number, generate, submit, asking):
  """One call, its responses judged."""
  prompts = [prompt_of(problem, turn, asking) for problem in asked]
  responses = generate(prompts)
  judged = [
    submit(problem, prompt, response) if response else None
    for problem, prompt, response in zip(asked, prompts, responses, strict=True)
  ]
  verdicts = [future.result() if future else None for future in judged]
  where = f'long_cot: call {number}'
  scoring.refuse_errors(filter(None, verdicts), where, has_judged=number > 0)
  # Judged in the first process, whose word counts in all of them.
  kinds = [verdict.kind if verdict else 'unfinished' for verdict in verdicts]
  kinds = hosts.of_first(np.array([_KINDS.index(kind) for kind in kinds]))
  return [
    dict(
      call=number,
      of=len(asked),
      problem_id=problem.id,
      sample=turn,
      response=response,
      verdict=_KINDS[kind],
      reason=verdict.reason if verdict else '',
      processes=cognitive.shown(response),
    )
    for problem, response, verdict, kind in zip(
      asked, responses, verdicts, kinds, strict=True
    )
  ]


def _whole_calls(path):
  """Calls on disk; what a crash left of another one is taken back."""
  calls = collections.defaultdict(list)
  for record in files.read_jsonl(path):
    calls[record['call']].append(record)
  whole = [call for call in calls.values() if len(call) == call[0]['of']]
  hosts.wait('long_cot samples read')
  if hosts.is_first():
    files.replace_jsonl(path, [record for call in whole for record in call])
  return whole


def _check_asked(path, call, asked, turn):
  before = [(r['problem_id'], r['sample']) for r in call]
  if before != [(problem.id, turn) for problem in asked]:
    raise conversations.DataError(
      f'{path} was made from other problems: its call {call[0]["call"]} asked'
      f' {before[0]} first, and this run asks {(asked[0].id, turn)}'
    )
