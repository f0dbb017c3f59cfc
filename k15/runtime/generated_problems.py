"""The problems and worked solutions that generators make for a config's task.

Each is a function of the config alone, its seed included.
"""

from typing import Any

from k15 import streams
from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import solution_forms
from k15.data import word_problems
from k15.data import word_solutions
from k15.data_types import Example, Problem

# Training problems, held-out ones, and worked solutions of other training ones.
Made = tuple[list[Problem], list[Problem], list[Example]]


def of_arithmetic(config: Any) -> Made:
  """Of `k15.data.arithmetic`, with the habits of `config.task`."""
  t = config.task
  draw = (t.kinds, t.min_difficulty, t.max_difficulty)
  train = arithmetic.make_problems(t.train_problems, *draw, False, config.seed)
  held_out = arithmetic.make_problems(
    t.held_out_problems, *draw, True, config.seed
  )
  habits = arithmetic_traces.Habits(
    t.give_up_rate, t.guess_rate, t.slip_rate, t.check_rate
  )
  form = _form(t)
  # Problems and traces are of one generator, in turns: with fewer examples, the
  # first of them stay what they were.
  rng = streams.rng(config.seed, 'warm-up solutions')
  problems = arithmetic.stream(*draw, rng)
  examples = []
  for problem in problems:
    if len(examples) == config.sft.num_examples:
      break
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    examples.append(Example(problem, form.write(trace, rng)))
  return train, held_out, examples


def in_words(config: Any) -> Made:
  """Of `k15.data.word_problems`, some with templates that are held out."""
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


def _form(t):
  return solution_forms.Form(t.thinking, t.formless_rate, t.mixing_rate)
