"""Evaluation: responses and their verdicts as records, records as measures."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from k15 import streams
from k15.config import routes
from k15.data_types import Problem, StopReason
from k15.equations import correctness
from k15.equations import statistics
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation import writers
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime.task import Task

Record = dict[str, Any]


def evaluate(
  rollout: Any,
  task: Task,
  submit: Callable[[Problem, str, StopReason], Future[Verdict]],
  samples: int,
  max_length: int,
  temperature: float,
  top_p: float = 1.0,
) -> list[Record]:
  """Answers every held-out problem with weights that are in memory alone.

  Args:
    rollout: with the weights to evaluate.
    task: its held-out problems are asked.
    submit: judges a response text, as `Scorer.submit` does.
    samples: responses per problem.
    max_length: tokens of a response.
    temperature, top_p: of the sampling, see `Request`.

  Returns:
    One record per response, in order of problems and samples.

  Raises:
    scoring.Failed: every verdict is an error.
  """
  facts = dict(temperature=temperature, top_p=top_p, max_length=max_length)
  asks, ids = [], streams.IDS['held_out']
  for problem, group_id in zip(task.held_out, ids, strict=False):
    question = problem.prompt + task.prompt_suffix
    asks += asks_lib.of_problem(
      problem, question, (), group_id, range(samples), facts
    )
  journal = Journal()
  draw.draw(
    asks,
    writers.by_rollout(rollout, task.encode_turn, task.tokenizer),
    lambda ask, text, stop: submit(ask.problem, text, stop),
    journal,
    'evaluation',
  )
  return [record_of(ask, journal) for ask in asks]


def record_of(ask: Ask, journal: Journal) -> Record:
  """The record of a response that is there and judged."""
  problem, written = ask.problem, journal.response(ask)
  return dict(
    problem_id=problem.id,
    sample=ask.sample,
    prompt=problem.prompt,
    answer=problem.answer,
    response=written.text,
    **journal.verdict(ask),
    length=written.length,
    stop=written.stop.value,
    domain=problem.domain,
    difficulty=problem.difficulty,
    **(dict(images=problem.digests) if problem.images else {}),
  )


def summary(records: Sequence[Record]) -> dict[str, float]:
  """Accuracy, shares of errors and of truncated responses, lengths."""
  lengths = statistics.lengths(np.array([r['length'] for r in records]))
  return dict(
    accuracy=float(np.mean(_accuracies(records))),
    errors=float(np.mean([r['verdict'] == 'error' for r in records])),
    mean_tokens=lengths['mean'],
    p95_tokens=lengths['p95'],
    truncated=float(np.mean([r['stop'] == 'max_length' for r in records])),
  )


def pass_at(
  records: Sequence[Record], ks: Sequence[int]
) -> dict[str, float]:
  """Mean `pass@k` over problems, of those k that there are samples for."""
  correct = _correct(_by_problem(records))
  return {
    f'pass@{k}': float(statistics.pass_at_k(correct, k).mean())
    for k in ks
    if k <= correct.shape[1]
  }


def by_part(
  records: Sequence[Record], parts: Mapping[str, str]
) -> dict[str, dict[str, float]]:
  """Problems and accuracy of each part; parts: problem id -> name."""
  found = {}
  for record in records:
    found.setdefault(parts[record['problem_id']], []).append(record)
  return {
    name: dict(
      problems=len(_by_problem(of_part)),
      accuracy=float(np.mean(_accuracies(of_part))),
    )
    for name, of_part in found.items()
  }


def measure(
  records: Sequence[Record],
  reward_of: Callable[[Record], str],
  marker: str,
  opening: Callable[[str], str],
  pass_at: Sequence[int],
  level: float,
  resamples: int,
  seed: int,
) -> dict[str, Any]:
  """All measures of one set.

  Args:
    records: in order of problems and samples, equally many of each problem.
    reward_of: route of the reward that judged a record: it says which answers
      are one in a majority vote.
    marker: of the reward exact_answer.
    opening: what the prompt of a record has written of its response, so that
      a thinking that goes on to the end votes for nothing.
    pass_at: the k of pass@k; those beyond the samples are left out.
    level: of the bootstrap intervals, in (0, 1).

  Returns:
    Nested dicts of numbers.  A measure with an interval is a dict of `value`,
    `low` and `high`.
  """
  groups = _by_problem(records)
  n = len(groups[0])
  correct = _correct(groups)
  tokens = np.array([[r['length'] for r in group] for group in groups])

  def estimate(values):
    return spread(values, level, resamples, seed)

  result = dict(problems=len(groups), samples=n)
  # 1 always: summaries and comparisons read it, whatever else is asked for.
  for k in sorted({1, *pass_at}):
    if k <= n:
      result[f'pass@{k}'] = estimate(statistics.pass_at_k(correct, k))
  if n > 1:
    shares, ties = _votes(groups, reward_of, marker, opening)
    result[f'majority@{n}'] = estimate(shares) | dict(ties=ties)
  result['mean_tokens'] = estimate(tokens.mean(axis=1))
  parts = dict(all=tokens, correct=tokens[correct], wrong=tokens[~correct])
  result['tokens'] = {k: statistics.lengths(v) for k, v in parts.items()}
  return result | _shares(records) | _domains(groups)


def spread(
  values: np.ndarray, level: float, resamples: int, seed: int
) -> dict[str, float]:
  """`value`, `low` and `high` of a mean over problems: float [P]."""
  # Made anew, so that all measures of a set are taken over the same draws of
  # problems.
  rng = streams.rng(seed, 'bootstrap')
  means = statistics.bootstrap(values, resamples, rng)
  low, high = statistics.interval(means, level)
  return dict(value=float(np.mean(values)), low=low, high=high)


def _correct(groups):
  """Which responses are right, bool [P, n]."""
  return np.array(
    [[correctness.is_right(r) for r in group] for group in groups]
  )


def _by_problem(records):
  groups = {}
  for record in records:
    groups.setdefault(record['problem_id'], []).append(record)
  sizes = sorted({len(group) for group in groups.values()})
  # Of one n: pass@k and votes of other numbers of samples cannot be averaged.
  if len(sizes) != 1:
    raise ValueError(f'problems with {sizes} samples; all need as many')
  return list(groups.values())


def _votes(groups, reward_of, marker, opening):
  """Per problem, how right the majority is; the share of problems with ties."""
  shares, ties = [], []
  for group in groups:
    reward = routes.terms_of(reward_of(group[0]))[0].reward
    answers = [
      scoring.answer_of(opening(r['prompt']) + r['response'], reward, marker)
      # What was cut may hold an answer that it would have taken back.
      if r['stop'] == StopReason.EOS.value
      else None
      for r in group
    ]
    numbers = statistics.group_equal(answers, scoring.equal_by(reward))
    share, is_tie = statistics.majority(
      numbers, [correctness.is_right(r) for r in group]
    )
    shares.append(share)
    ties.append(is_tie)
  return np.array(shares), float(np.mean(ties))


def _shares(records):
  """Why responses stopped, and why they could not be judged."""

  def share(is_so):
    return float(np.mean([is_so(r) for r in records]))

  # Behind the colon stands what is of one response alone, such as the message
  # of an exception: each would be a reason of its own.
  reasons = {r['reason'].partition(':')[0] for r in records if _is_error(r)}
  return dict(
    truncated=share(lambda r: r['stop'] == StopReason.MAX_LENGTH.value),
    repetition=share(lambda r: r['stop'] == StopReason.REPETITION.value),
    errors=share(_is_error),
    errors_by_reason={
      reason: share(
        lambda r, reason=reason: (
          _is_error(r) and r['reason'].partition(':')[0] == reason
        )
      )
      for reason in sorted(reasons)
    },
  )


def _accuracies(records):
  return [correctness.accuracy_of(record) for record in records]


def _is_error(record):
  return record['verdict'] == 'error'


def _domains(groups):
  """Accuracy by domain, where there are several."""
  domains = {}
  for group in groups:
    accuracy = np.mean(_accuracies(group))
    domains.setdefault(group[0]['domain'], []).append(accuracy)
  if len(domains) < 2:
    return {}
  return dict(
    domains={
      name: dict(problems=len(values), accuracy=float(np.mean(values)))
      for name, values in sorted(domains.items())
    }
  )
