"""Problems with pictures of a config, and texts beside them.

What a warm-up writes of a picture has a reader's habits; see `vision.traces`.
"""

from typing import Any

from k15 import streams
from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import picture_problems
from k15.data_types import Example, Problem
from k15.rewards import rules
from k15.runtime.families import lessons
from k15.runtime.families import sums
from k15.vision import references
from k15.vision import rendered_text
from k15.vision import traces


def make(
  config: Any, keep: references.Keep
) -> tuple[list[Problem], list[Problem], list[Example]]:
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
    others = sums.problems(config, count - len(problems), held_out)
    texts = {problem.id: problem for problem in [*texts, *others]}
    return [*problems, *list(texts.values())[: len(others)]]

  train = side(
    t.train_problems, v.rl_image_share, False, 'training pictures'
  )
  held_out = side(
    t.held_out_problems, v.image_share, True, 'held-out pictures'
  )
  count = sums.num_examples(config)
  drawn = _pictures_of(
    config, keep, round(v.image_share * count), False, 'warm-up pictures'
  )
  examples = [
    _worked_picture(config, each, 'warm-up pictures', i)
    for i, each in enumerate(drawn)
  ]
  texts = _worked_texts(config, drawn)[: count - len(drawn)]
  rest = count - len(drawn) - len(texts)
  examples += texts + sums.worked(config, rest, 'warm-up solutions')
  return train, held_out, examples


def lessons_of(
  config: Any, keep: references.Keep
) -> dict[str, lessons.Lessons]:
  """What the stages read that have no files."""
  return lessons.make(
    config,
    lambda count, held_out, stage: _pictures_of(
      config, keep, count, held_out, 'lessons', stage, int(held_out)
    ),
    lambda count, stage: sums.worked(config, count, 'lessons', stage),
    lambda drawn, stage: _verified(config, drawn, stage),
  )


def _pictures_of(config, keep, count, held_out, *stream):
  v, t = config.vision, config.task
  drawn = picture_problems.make_problems(
    count, v.domains, v.levels, held_out, config.seed, stream, t.kinds,
    (t.min_difficulty, t.max_difficulty),
  )  # fmt: skip
  for each in drawn:
    for image, pixels in zip(each.problem.images, each.pictures, strict=True):
      keep(image, pixels)
  return drawn


def _rendered(problems):
  return filter(rendered_text.is_rendered, problems)


def _verified(config, drawn, stage):
  """Worked solutions that the exact answer lets through, and their counts."""
  marker = config.task.answer_marker
  written = [
    _worked_picture(config, each, 'lessons', stage, 2, i)
    for i, each in enumerate(drawn)
  ]
  kept = [
    example
    for example in written
    if rules.is_correct(example.response, example.problem.answer, marker)
  ]
  print(
    f'{stage}: {len(written)} solutions of pictures written, {len(kept)} right'
    ' and kept',
    flush=True,
  )
  return kept


def _worked_picture(config, drawn, *stream):
  """What is seen, and then what the text's own family writes of it."""
  v, t = config.vision, config.task
  rng = streams.rng(config.seed, *stream)
  solution = ''
  if rendered_text.is_rendered(drawn.problem):
    text = rendered_text.text_of(drawn.problem)
    if text.domain in arithmetic.KINDS:
      solution = arithmetic_traces.write_trace(text, sums.habits_of(t), rng)
  habits = traces.Habits(v.at_once_rate, v.read_rate, v.misread_rate)
  trace = traces.write_trace(drawn, habits, rng, solution)
  return Example(drawn.problem, sums.form_of(t).write(trace, rng))


def _worked_texts(config, drawn):
  """Programs and tables as texts; arithmetic has worked solutions already."""
  rng = streams.rng(config.seed, 'warm-up pictures', 0, 0)
  found = {}
  for each in drawn:
    text = rendered_text.text_of(each.problem)
    is_new = text.domain not in arithmetic.KINDS and text.id not in found
    if rendered_text.is_rendered(each.problem) and is_new:
      solution = '\n'.join([*each.work, f'#### {text.answer}'])
      form = sums.form_of(config.task)
      found[text.id] = Example(text, form.write(solution, rng))
  return list(found.values())
