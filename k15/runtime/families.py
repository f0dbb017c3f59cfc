"""Endless families of problems: what a config draws of one.

A row of `MAKERS` gives problems to train on, problems that are held out, and
worked solutions of others of the kind, for a warm-up.
"""

from collections.abc import Sequence

from k15 import streams
from k15.data import answer_pairs
from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import solution_forms
from k15.data import word_problems
from k15.data import word_solutions
from k15.data_types import Example, Problem


def parts_of(name: str, held_out: Sequence[Problem]) -> dict[str, str]:
  """Id of a held-out problem -> its part, of a family that has parts."""
  if name != 'word_problems':
    return {}
  return {problem.id: word_problems.side_of(problem) for problem in held_out}


def _arithmetic(config):
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


def _word_problems(config):
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


def _equal_answers(config):
  """Solutions say one of the right forms at once, or a wrong one."""
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
}
