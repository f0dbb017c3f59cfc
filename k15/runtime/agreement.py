"""How alike a model answers held-out texts and pictures of them, by level."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import streams
from k15.config import routes
from k15.data_types import Problem, StopReason
from k15.equations import agreement
from k15.equations import correctness
from k15.generation import asks
from k15.rewards import scoring
from k15.runtime.context import Context
from k15.vision import rendered_text


def of_records(
  context: Context, records: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
  """`agreement.measures` of the pairs among held-out problems.

  Args:
    records: of an evaluation of the held-out problems.

  Returns:
    'all', and 'level 0' and so on by how badly a text is to be read, each with
    its number of `pairs`; {} where no text stands beside its picture.
  """
  answers = {}
  for record in records:
    answers.setdefault(record['problem_id'], []).append(record)
  pairs: dict[str, list[tuple[str, Problem]]] = {}
  for problem in context.task.held_out:
    text = problem.id.removeprefix(rendered_text.PREFIX)
    if rendered_text.is_rendered(problem) and text in answers:
      level = problem.images[0].source.removeprefix(rendered_text.SOURCE)
      for part in ('all', f'level {level}'):
        pairs.setdefault(part, []).append((text, problem))
  return {
    part: _measures(context, answers, found)
    for part, found in sorted(pairs.items())
  }


def _measures(context, answers, pairs):
  config, e = context.config, context.config.evaluation
  # All pairs of a part are judged by rules of one kind: the first one's.
  route = asks.route_of(config, pairs[0][1])
  reward = routes.terms_of(route)[0].reward

  def said(name):
    return [_answer(context, record, reward) for record in answers[name]]

  def right(name):
    return [correctness.is_right(record) for record in answers[name]]

  texts, pictures = [t for t, _ in pairs], [p.id for _, p in pairs]
  found = agreement.of_answers(
    *(list(map(said, names)) for names in (texts, pictures)),
    *(list(map(right, names)) for names in (texts, pictures)),
    scoring.equal_by(reward),
  )
  make_rng = functools.partial(streams.rng, config.seed, 'bootstrap')
  return dict(pairs=len(pairs)) | agreement.measures(
    found, e.interval, e.resamples, make_rng
  )


def _answer(context, record, reward):
  """The final answer; None where there is none, or the response was cut."""
  if record['stop'] != StopReason.EOS.value:
    return None
  text = context.task.opening(record['prompt']) + record['response']
  return scoring.answer_of(text, reward, context.config.task.answer_marker)
