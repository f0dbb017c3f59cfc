"""Arithmetic of a config: its problems, and worked solutions of others."""

import itertools
from typing import Any

from k15 import streams
from k15.config import stages
from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import solution_forms
from k15.data_types import Example, Problem


def problems(config: Any, count: int, held_out: bool) -> list[Problem]:
  """The first of one side."""
  t = config.task
  draw = t.kinds, t.min_difficulty, t.max_difficulty, held_out, config.seed
  return arithmetic.make_problems(count, *draw) if count else []


def num_examples(config: Any) -> int:
  """Of a warm-up: `sft.num_examples`, where anything reads them."""
  return config.sft.num_examples if stages.learns_examples(config) else 0


def worked(config: Any, count: int, *stream: str) -> list[Example]:
  """Problems that are not held out, with solutions.

  Args:
    stream: the name of their stream, whole; see `streams`.
  """
  t = config.task
  habits, form = habits_of(t), form_of(t)
  # Problems and traces are of one generator, in turns: with fewer examples, the
  # first of them stay what they were.
  rng = streams.rng(config.seed, *stream)
  drawn = arithmetic.stream(t.kinds, t.min_difficulty, t.max_difficulty, rng)
  examples = []
  for problem in itertools.islice(drawn, count):
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    examples.append(Example(problem, form.write(trace, rng)))
  return examples


def habits_of(t: Any) -> arithmetic_traces.Habits:
  """Those of `config.task`."""
  return arithmetic_traces.Habits(
    t.give_up_rate, t.guess_rate, t.slip_rate, t.check_rate
  )


def form_of(t: Any) -> solution_forms.Form:
  """That of the warm-up solutions of `config.task`."""
  return solution_forms.Form(t.thinking, t.formless_rate, t.mixing_rate)
