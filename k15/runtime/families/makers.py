"""Endless families of problems: what a config draws of one.

A row of `MAKERS` gives problems to train on, problems that are held out, and
worked solutions of others of the kind, for a warm-up; `keep` gets the pixels of
those that have pictures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from k15 import streams
from k15.data import answer_pairs
from k15.data.words import word_problems
from k15.data.words import word_solutions
from k15.data_types import Example, Problem
from k15.runtime.families import facts
from k15.runtime.families import pictures
from k15.runtime.families import sums
from k15.runtime.families.lessons import Lessons
from k15.vision import references


def parts_of(name: str, held_out: Sequence[Problem]) -> dict[str, str]:
  """Id of a held-out problem -> its part, of a family that has parts."""
  if name == 'pictures':
    return {p.id: 'pictures' if p.images else 'texts' for p in held_out}
  if name == 'facts':
    return {p.id: p.domain for p in held_out}
  if name != 'word_problems':
    return {}
  return {problem.id: word_problems.side_of(problem) for problem in held_out}


def beliefs_of(
  config: Any, records: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
  """What responses say beside their answers, of a family whose steps can be
  read; {} of others.

  Args:
    records: of an evaluation of the held-out problems.
  """
  is_read = config.task.name == 'facts'
  return facts.beliefs_of(config, records) if is_read else {}


def lessons_of(config: Any, keep: references.Keep) -> dict[str, Lessons]:
  """What stages read that have no files; {} of families without pictures."""
  is_seen = config.task.name == 'pictures'
  return pictures.lessons_of(config, keep) if is_seen else {}


def _arithmetic(config, keep):
  del keep
  t = config.task
  train = sums.problems(config, t.train_problems, False)
  held_out = sums.problems(config, t.held_out_problems, True)
  worked = sums.worked(config, sums.num_examples(config), 'warm-up solutions')
  return train, held_out, worked


def _word_problems(config, keep):
  del keep
  t = config.task
  num_new = round(t.new_templates_share * t.held_out_problems)

  def draw(count, side, stream):
    return word_problems.make_stories(
      count, t.min_steps, t.max_steps, t.max_distractors, side, config.seed,
      stream,
    )  # fmt: skip

  train = draw(t.train_problems, word_problems.TRAINING, 'training problems')
  held_out = [
    *draw(
      t.held_out_problems - num_new,
      word_problems.SEEN_TEMPLATES,
      'held-out problems',
    ),
    *draw(num_new, word_problems.NEW_TEMPLATES, 'held-out problems'),
  ]
  worked = draw(
    sums.num_examples(config), word_problems.TRAINING, 'warm-up solutions'
  )
  rng, form = streams.rng(config.seed, 'warm-up solutions'), sums.form_of(t)
  examples = []
  for story in worked:
    solution = word_solutions.write_solution(story, t.guess_rate, rng)
    examples.append(Example(story.problem, form.write(solution, rng)))
  problems = ([story.problem for story in part] for part in (train, held_out))
  return *problems, examples


def _equal_answers(config, keep):
  """Solutions say one of the right forms at once, or a wrong one."""
  del keep
  t = config.task
  train, held_out = answer_pairs.make_problems(
    t.train_problems, t.held_out_problems, config.seed
  )
  rng = streams.rng(config.seed, 'warm-up solutions')
  examples = []
  for _ in range(sums.num_examples(config)):
    problem = train[int(rng.integers(len(train)))]
    answer = answer_pairs.answer(problem, rng.random() >= t.guess_rate, rng)
    examples.append(Example(problem, f'{t.answer_marker} {answer}'))
  return train, held_out, examples


MAKERS = {
  'arithmetic': _arithmetic,
  'word_problems': _word_problems,
  'equal_answers': _equal_answers,
  'pictures': pictures.make,
  'facts': facts.make,
}
