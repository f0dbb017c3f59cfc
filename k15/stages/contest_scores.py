"""What contests add to an evaluation: votes by outputs, and a rating.

Kimi k1.5, appendix C.  The model that answered the problems of a set writes,
for each whose programs read standard input, a generator of inputs
(`rewards.code.test_cases`); all programs run on what it prints, and those that
print the same vote as one.  The hidden tests judge what the vote has chosen,
and have no part in it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15.config import routes
from k15.data import evaluation_sets
from k15.data.conversations import DataError
from k15.equations import contests
from k15.equations import correctness
from k15.rewards.code import programs
from k15.rewards.code import test_cases
from k15.rewards.code import votes as votes_lib
from k15.rewards.sandbox import pool as pool_lib
from k15.runtime.context import Context
from k15.stages import answered_sets

# By set, then by id of a problem.
References = dict[str, dict[str, programs.Reference]]


def references_of(asks: Mapping[str, Sequence[Any]]) -> References:
  """References of the problems that programs answer, with one test of each."""
  found = {}
  for name, of_set in asks.items():
    found[name] = {}
    for ask in of_set:
      is_code = routes.terms_of(ask.route)[0].reward == 'code_tests'
      if is_code and ask.problem.id not in found[name]:
        wanted = programs.from_text(ask.problem.answer)
        # One says of which kind all are; those of a large set fill a memory.
        few = dataclasses.replace(wanted, tests=wanted.tests[:1])
        found[name][ask.problem.id] = few
  return found


def generators(
  context: Context,
  source: pathlib.Path,
  references: References,
  facts: dict[str, Any],
  folder: pathlib.Path,
) -> dict[str, dict[str, str]]:
  """Texts of the model that hold generators of inputs, by set and problem.

  All processes have to ask; what was written before is in the folder.

  Raises:
    DataError: a prompt is too long, or CYaRon is not installed.
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  cases, asked = context.config.evaluation.vote_inputs, []
  for found in context.task.sets if cases else ():
    wanted = references[found.name]
    problems = [
      dataclasses.replace(p, prompt=test_cases.make_prompt(p.prompt, cases))
      for p in found.problems
      if p.id in wanted and votes_lib.can_vote(wanted[p.id])
    ]
    asked.append(
      evaluation_sets.EvalSet(f'{found.name}, inputs', '', tuple(problems))
    )
  if not any(found.problems for found in asked):
    return {}
  try:
    evaluation_sets.check_lengths(
      context.config, context.task.encode_turn, asked
    )
    test_cases.find_packages()
  except (ValueError, ModuleNotFoundError) as error:
    raise DataError(f'evaluation.vote_inputs: {error}') from None
  asks = answered_sets.asks_of(context, asked, '', facts, samples=1)
  label = 'generators of inputs'
  journal = answered_sets.written(context, source, asks, facts, folder, label)
  return {
    name.removesuffix(', inputs'): {
      ask.problem.id: journal.response(ask).text for ask in of_set
    }
    for name, of_set in asks.items()
  }


def vote(
  context: Context,
  records: Mapping[str, Sequence[dict[str, Any]]],
  references: References,
  texts: Mapping[str, Mapping[str, str]],
  folder: pathlib.Path,
) -> dict[str, dict[str, tuple[float, bool]]]:
  """Of each problem, how right its vote is and whether it tied, by set.

  Leaves a line for each in SET.votes.jsonl of the folder.
  """
  r, cases = context.config.reward, context.config.evaluation.vote_inputs
  limits = pool_lib.Limits(seconds=r.program_seconds)
  if not texts:
    return {}
  found = {}
  with test_cases.make_pool(r.sandbox_workers, lowest=r.sandbox_lowest) as pool:
    for name, of_set in texts.items():
      found[name], lines, own = {}, [], {}
      for record in records[name]:
        own.setdefault(record['problem_id'], []).append(record)
      for problem_id, text in of_set.items():
        wanted = references[name][problem_id]
        sources = [_program(context, x, wanted) for x in own[problem_id]]
        cast = votes_lib.vote(pool, text, sources, wanted, cases, limits)
        right = [correctness.is_right(record) for record in own[problem_id]]
        value, is_tie = contests.largest_group(cast.groups, right)
        found[name][problem_id] = value, is_tie
        line = dict(problem_id=problem_id, value=value, tie=is_tie, right=right)
        lines.append(line | dataclasses.asdict(cast))
      files.replace_jsonl(folder / f'{name}.votes.jsonl', lines)
  return found


def _program(context, record, wanted):
  """The program of a response that came to its end."""
  if record['stop'] != 'eos':
    return None
  opening = context.task.opening_of_turn(record['prompt'])
  return programs.program_of(opening + record['response'], wanted)


def ratings(
  records: Sequence[dict[str, Any]],
  references: Mapping[str, programs.Reference],
  voted: Mapping[str, tuple[float, bool]],
  level: float,
) -> dict[str, dict[str, Any]]:
  """Ratings by what was scored, {} unless every problem has one itself.

  See `contests.elo`: an estimate, and no rating of Codeforces.
  """
  right = {}
  for record in records:
    own = right.setdefault(record['problem_id'], [])
    own.append(correctness.is_right(record))
  levels = {i: references[i].rating for i in right if i in references}
  if len(levels) < len(right) or None in levels.values():
    return {}
  solved = {'pass@1': {i: float(np.mean(own)) for i, own in right.items()}}
  if voted:
    solved['output_vote'] = {i: value for i, (value, _) in voted.items()}
  return {
    name: dataclasses.asdict(
      contests.elo([levels[i] for i in shares], list(shares.values()), level)
    )
    for name, shares in solved.items()
  }
