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
  config, e = context.config, context.config.evaluation
  make_rng = functools.partial(streams.rng, config.seed, 'bootstrap')
  answers = _by_problem(records)
  return {
    part: dict(pairs=len(found))
    | agreement.measures(
      _compared(context, answers, found), e.interval, e.resamples, make_rng
    )
    for part, found in sorted(_pairs(context, answers).items())
  }


def on_the_way(
  context: Context, records: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
  """What a curve shows of pictures, without intervals; {} of texts alone.

  Args:
    records: of an evaluation of the held-out problems.

  Returns:
    `correctness.of_pictures`, and of texts beside their pictures `agreement`
    and `agreement_given_text`, NaN where no answer to a text is right.
  """
  found = correctness.of_pictures(records)
  answers = _by_problem(records)
  pairs = _pairs(context, answers).get('all')
  if found and pairs:
    compared = _compared(context, answers, pairs)
    found['agreement'] = float(compared.same.mean())
    found['agreement_given_text'] = compared.given_text
  return found


def _by_problem(records):
  answers = {}
  for record in records:
    answers.setdefault(record['problem_id'], []).append(record)
  return answers


def _pairs(context, answers):
  """(id of a text, problem of its picture), of all and of each level."""
  pairs: dict[str, list[tuple[str, Problem]]] = {}
  for problem in context.task.held_out:
    text = problem.id.removeprefix(rendered_text.PREFIX)
    if rendered_text.is_rendered(problem) and text in answers:
      level = problem.images[0].source.removeprefix(rendered_text.SOURCE)
      for part in ('all', f'level {level}'):
        pairs.setdefault(part, []).append((text, problem))
  return pairs


def _compared(context, answers, pairs):
  # All pairs of a part are judged by rules of one kind: the first one's.
  route = asks.route_of(context.config, pairs[0][1])
  reward = routes.terms_of(route)[0].reward

  def said(name):
    return [_answer(context, record, reward) for record in answers[name]]

  def right(name):
    return [correctness.is_right(record) for record in answers[name]]

  texts, pictures = [t for t, _ in pairs], [p.id for _, p in pairs]
  return agreement.of_answers(
    *(list(map(said, names)) for names in (texts, pictures)),
    *(list(map(right, names)) for names in (texts, pictures)),
    scoring.equal_by(reward),
  )


def _answer(context, record, reward):
  """The final answer; None where there is none, or the response was cut."""
  if record['stop'] != StopReason.EOS.value:
    return None
  text = context.task.opening(record['prompt']) + record['response']
  return scoring.answer_of(text, reward, context.config.task.answer_marker)
