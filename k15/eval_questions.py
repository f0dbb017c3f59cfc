"""What an evaluation asks, response by response, and how that is remembered."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from k15 import eval_journal
from k15 import eval_sets
from k15 import evaluate
from k15 import streams
from k15.data_types import Problem
from k15.rewards import routes as routes_lib


@dataclasses.dataclass(frozen=True)
class Question:
  """One response that is wanted.

  Attributes:
    key: set, problem and sample.
    group_id: with the sample, of its random numbers.
    problem: with the prompt as it is asked.
    reward: what judges it.
    judge: reward and reference, as a short name.
  """

  key: eval_journal.Key
  group_id: int
  problem: Problem
  reward: str
  judge: str

  @property
  def where(self) -> tuple[eval_journal.Key, str]:
    """What the journal knows its response by."""
    return self.key, self.problem.prompt


def questions_of(
  config: Any, sets: Sequence[eval_sets.EvalSet]
) -> list[Question]:
  """All that is asked, in order of sets, problems and samples."""
  routes = routes_lib.routes_of(config.reward.default, config.reward.routes)
  questions, taken, ids = [], set(), streams.IDS['evaluate']
  for found in sets:
    for problem in found.problems:
      reward = found.reward or routes.get(problem.domain, routes[''])
      text = f'{reward}\n{problem.answer}'.encode()
      judge = f'{reward}:{hashlib.sha256(text).hexdigest()[:12]}'
      # By name, so that other problems beside it change nothing.
      name = hashlib.sha256(f'{found.name}\n{problem.id}'.encode()).digest()
      group_id = int.from_bytes(name[:4]) % len(ids)
      while group_id in taken:
        group_id = (group_id + 1) % len(ids)
      taken.add(group_id)
      questions += [
        Question(
          (found.name, problem.id, sample),
          ids[group_id],
          problem,
          reward,
          judge,
        )
        for sample in range(config.evaluation.samples)
      ]
  return questions


def route_of(question: Question) -> str:
  """A domain of its own for each reward that a set asks for."""
  return f'evaluate:{question.reward}'


def record_of(
  question: Question, journal: eval_journal.Journal
) -> evaluate.Record:
  """The record of a response that is there and judged."""
  name, _, sample = question.key
  problem = question.problem
  entry = journal.verdict(*question.where, question.judge)
  is_program = question.reward == 'code_tests'  # Its tests are not to be read.
  return dict(
    set=name,
    problem_id=problem.id,
    sample=sample,
    prompt=problem.prompt,
    answer='' if is_program else problem.answer,
    response=entry['response'],
    reward=float(entry['verdict'] == 'correct'),
    verdict=entry['verdict'],
    reason=entry['reason'],
    length=entry['length'],
    stop=entry['stop'],
    domain=problem.domain,
    difficulty=problem.difficulty,
    judge=question.judge,
  )
