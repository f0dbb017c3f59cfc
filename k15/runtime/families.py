"""Endless families of problems: what a config draws of one.

A row of `MAKERS` gives problems to train on, problems that are held out, and
worked solutions of others of the kind, for a warm-up; `keep` gets the pixels of
those that have pictures.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from k15 import streams
from k15.data import answer_pairs
from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import picture_problems
from k15.data import solution_forms
from k15.data.words import word_problems
from k15.data.words import word_solutions
from k15.data_types import Example, Problem
from k15.runtime import lessons
from k15.vision import references
from k15.vision import rendered_text
from k15.vision import traces


def parts_of(name: str, held_out: Sequence[Problem]) -> dict[str, str]:
  """Id of a held-out problem -> its part, of a family that has parts."""
  if name == 'pictures':
    return {p.id: 'pictures' if p.images else 'texts' for p in held_out}
  if name != 'word_problems':
    return {}
  return {problem.id: word_problems.side_of(problem) for problem in held_out}


def _arithmetic(config, keep):
  del keep
  t = config.task
  train = _sums(config, t.train_problems, False)
  held_out = _sums(config, t.held_out_problems, True)
  return train, held_out, _worked_sums(config, config.sft.num_examples)


def _sums(config, count, held_out):
  t = config.task
  draw = t.kinds, t.min_difficulty, t.max_difficulty, held_out, config.seed
  return arithmetic.make_problems(count, *draw) if count else []


def _worked_sums(config, count, *stream):
  t = config.task
  habits, form = _habits(t), _form(t)
  # Problems and traces are of one generator, in turns: with fewer examples, the
  # first of them stay what they were.
  rng = streams.rng(config.seed, *(stream or ['warm-up solutions']))
  problems = arithmetic.stream(t.kinds, t.min_difficulty, t.max_difficulty, rng)
  examples = []
  for problem in itertools.islice(problems, count):
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    examples.append(Example(problem, form.write(trace, rng)))
  return examples


def _habits(t):
  return arithmetic_traces.Habits(
    t.give_up_rate, t.guess_rate, t.slip_rate, t.check_rate
  )


def _pictures(config, keep):
  """A share of everything has pictures; the others are texts.

  Texts that the pictures show come first, so that a model can learn both and
  its answers to both can be compared; the rest is arithmetic.
  """
  t, v = config.task, config.vision

  def side(count, share, held_out, stream):
    seen = round(share * count)
    drawn = _pictures_of(config, keep, seen, held_out, stream)
    problems = [each.problem for each in drawn]
    texts = map(rendered_text.text_of, _rendered(problems))
    sums = _sums(config, count - len(problems), held_out)
    texts = {problem.id: problem for problem in [*texts, *sums]}
    return [*problems, *list(texts.values())[: len(sums)]]

  train = side(
    t.train_problems, v.rl_image_share, False, 'training pictures'
  )
  held_out = side(
    t.held_out_problems, v.image_share, True, 'held-out pictures'
  )
  count = config.sft.num_examples
  drawn = _pictures_of(
    config, keep, round(v.image_share * count), False, 'warm-up pictures'
  )
  examples = [_worked_picture(config, each, i) for i, each in enumerate(drawn)]
  texts = _worked_texts(config, drawn)[: count - len(drawn)]
  rest = count - len(drawn) - len(texts)
  return train, held_out, [*examples, *texts, *_worked_sums(config, rest)]


def lessons_of(
  config: Any, keep: references.Keep
) -> dict[str, list[Example]]:
  """What the stages read that have no files; see `lessons`."""
  if config.task.name != 'pictures':
    return {}
  return lessons.make(
    config,
    lambda count, stage: _pictures_of(
      config, keep, count, False, 'lessons', stage
    ),
    lambda count, stage: _worked_sums(config, count, 'lessons', stage),
  )


def _pictures_of(config, keep, count, held_out, *stream):
  v, t = config.vision, config.task
  drawn = picture_problems.make_problems(
    count, v.domains, v.levels, held_out, config.seed, stream, t.kinds
  )
  for each in drawn:
    for image, pixels in zip(each.problem.images, each.pictures, strict=True):
      keep(image, pixels)
  return drawn


def _rendered(problems):
  return filter(rendered_text.is_rendered, problems)


def _worked_picture(config, drawn, number):
  """What is seen, and then what the text's own family writes of it."""
  v, t = config.vision, config.task
  rng = streams.rng(config.seed, 'warm-up pictures', number)
  solution = ''
  if rendered_text.is_rendered(drawn.problem):
    text = rendered_text.text_of(drawn.problem)
    if text.domain in arithmetic.KINDS:
      solution = arithmetic_traces.write_trace(text, _habits(t), rng)
  habits = traces.Habits(v.at_once_rate, v.read_rate, v.misread_rate)
  trace = traces.write_trace(drawn, habits, rng, solution)
  return Example(drawn.problem, _form(t).write(trace, rng))


def _worked_texts(config, drawn):
  """Programs and tables as texts; arithmetic has worked solutions already."""
  rng = streams.rng(config.seed, 'warm-up pictures', 0, 0)
  found = {}
  for each in drawn:
    text = rendered_text.text_of(each.problem)
    is_new = text.domain not in arithmetic.KINDS and text.id not in found
    if rendered_text.is_rendered(each.problem) and is_new:
      solution = '\n'.join([*each.work, f'#### {text.answer}'])
      found[text.id] = Example(text, _form(config.task).write(solution, rng))
  return list(found.values())


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
    config.sft.num_examples, word_problems.TRAINING, 'warm-up solutions'
  )
  rng, form = streams.rng(config.seed, 'warm-up solutions'), _form(t)
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
  for _ in range(config.sft.num_examples):
    problem = train[int(rng.integers(len(train)))]
    answer = answer_pairs.answer(problem, rng.random() >= t.guess_rate, rng)
    examples.append(Example(problem, f'{t.answer_marker} {answer}'))
  return train, held_out, examples


def _form(t):
  return solution_forms.Form(t.thinking, t.formless_rate, t.mixing_rate)


MAKERS = {
  'arithmetic': _arithmetic,
  'word_problems': _word_problems,
  'equal_answers': _equal_answers,
  'pictures': _pictures,
}
