"""Held-out evaluation: pass@1 as the mean over samples, lengths, stops."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from k15.data_types import Problem, Trajectory
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import partial
from k15.task import Task

# Evaluations draw their random numbers from ids that no training group has.
_FIRST_GROUP_ID = 1 << 30


def evaluate(
  rollout: Any,
  task: Task,
  submit: Callable[[Problem, str], Future[Verdict]],
  samples: int,
  max_length: int,
  temperature: float,
  on_response: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
  """Answers every held-out problem.

  Args:
    rollout: with the weights to evaluate.
    task: its held-out problems are asked.
    submit: judges a response text, as `Scorer.submit` does.
    samples: responses per problem.
    max_length: tokens of a response.
    temperature: of the sampling.
    on_response: called as each response finishes.

  Returns:
    One record per response, in order of problems and samples; unfinished
    responses are scored as they are.
  """
  problems = {}
  pending = []
  for i, problem in enumerate(task.held_out):
    problems[_FIRST_GROUP_ID + i] = problem
    for sample in range(samples):
      trajectory = Trajectory(_FIRST_GROUP_ID + i, problem.id, sample)
      pending.append((problem, trajectory))
  judged = {}
  for trajectory in partial.run(
    rollout, pending, task.encode_prompt, max_length, max_length, temperature
  ):
    problem = problems[trajectory.group_id]
    key = (trajectory.group_id, trajectory.sample_index)
    text = task.tokenizer.decode(trajectory.tokens)
    judged[key] = problem, trajectory, text, submit(problem, text)
    on_response()
  return [_record(*judged[key]) for key in sorted(judged)]


def summary(records: list[dict[str, Any]]) -> dict[str, float]:
  """Accuracy, shares of errors and of truncated responses, lengths."""
  lengths = np.array([record['length'] for record in records])
  return dict(
    accuracy=float(np.mean([record['reward'] for record in records])),
    errors=float(np.mean([r['verdict'] == 'error' for r in records])),
    mean_tokens=float(lengths.mean()),
    p95_tokens=float(np.percentile(lengths, 95)),
    truncated=float(np.mean([r['stop'] == 'max_length' for r in records])),
  )


def _record(problem, trajectory, text, future):
  verdict = future.result()
  return dict(
    problem_id=problem.id,
    sample=trajectory.sample_index,
    prompt=problem.prompt,
    answer=problem.answer,
    response=text,
    reward=scoring.reward_of(verdict),
    verdict=verdict.kind,
    reason=verdict.reason,
    length=trajectory.length,
    stop=trajectory.stop.value,
    domain=problem.domain,
    difficulty=problem.difficulty,
  )
