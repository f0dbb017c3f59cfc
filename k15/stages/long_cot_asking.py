"""Long chains of thought: what is asked, what is kept.  Kimi k1.5, 2.2.

A response that is finished, verified correct and shows the processes of
`k15.data.long_cot_prompts` becomes an example.  Which problems are asked again
hangs on the verdicts before; all of them are in a journal, so that nothing is
asked twice and the funnel can be recounted.
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import streams
from k15.data import long_cot_prompts
from k15.data_types import Problem, StopReason
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.rewards import verdict
from k15.runtime.task import Task

_KINDS = (*verdict.KINDS, 'unfinished')


@dataclasses.dataclass(frozen=True)
class Asking:
  """How problems are asked, and what is kept; see `long_cot_examples`."""

  samples: int
  most_per_problem: int
  call_size: int
  prompt: str = 'plain'
  least_processes: int = 0


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
  # Turn by turn over all problems: calls are large, and who still lacks
  # examples is known before the next turn.
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
    turn: how often they were asked before.
    judge_of: `Ask.judge` of a problem.
  """
  asks = []
  for problem, group_id in zip(asked, streams.IDS['texts'], strict=False):
    question = prompt_of(problem, turn, asking) + task.prompt_suffix
    tokens = task.encode_turn(question, problem.images)
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
