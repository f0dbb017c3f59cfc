"""What an evaluation asks, response by response, and how that is remembered."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15 import asks
from k15 import config_routes
from k15 import eval_journal
from k15 import eval_sets
from k15 import evaluate
from k15 import streams
from k15.data_types import Problem


@dataclasses.dataclass(frozen=True)
class Question:
  """One response that is wanted.

  Attributes:
    key: set, problem and sample.
    group_id: with the sample, of its random numbers.
    problem: with the prompt as it is asked.
    reward: the route of what judges it.
    judge: all that decides a verdict, as a short name.
    asked: a hash of the tokens of the prompt.
  """

  key: eval_journal.Key
  group_id: int
  problem: Problem
  reward: str
  judge: str
  asked: str

  @property
  def where(self) -> tuple[eval_journal.Key, str]:
    """What the journal knows its response by."""
    return self.key, self.asked


def questions_of(
  config: Any,
  sets: Sequence[eval_sets.EvalSet],
  encode: Callable[[str], np.ndarray],
) -> list[Question]:
  """All that is asked, in order of sets, problems and samples.

  Args:
    config: the whole.
    sets: with whole prompts.
    encode: such a prompt -> int32 tokens, through a chat template perhaps.
  """
  routes = config_routes.routes_of(config.reward.default, config.reward.routes)
  questions, taken, ids = [], set(), streams.IDS['evaluate']
  for found in sets:
    for problem in found.problems:
      reward = found.reward or routes.get(problem.domain, routes[''])
      judge = asks.judge_of(config, reward, problem.answer)
      asked = asks.digest(encode(problem.prompt).tolist())
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
          asked,
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
  accurate = config_routes.terms_of(question.reward)[0].reward
  is_program = accurate == 'code_tests'  # Its tests are not to be read.
  return dict(
    set=name,
    problem_id=problem.id,
    sample=sample,
    prompt=problem.prompt,
    answer='' if is_program else problem.answer,
    response=entry['response'],
    reward=entry['reward'],
    accuracy=entry['accuracy'],
    verdict=entry['verdict'],
    reason=entry['reason'],
    length=entry['length'],
    stop=entry['stop'],
    domain=problem.domain,
    difficulty=problem.difficulty,
    judge=question.judge,
  )
