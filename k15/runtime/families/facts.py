"""Walks over a table of facts of a config, and its writer's chains.

The warm-up has wrong chains, as fluent as right ones: what is imitated is the
writer, misconceptions and all.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import streams
from k15.data.facts import beliefs
from k15.data.facts import chains
from k15.data.facts import table as table_lib
from k15.data.facts import walks
from k15.data_types import Example, Problem
from k15.runtime.families import sums
from k15.vision import references

# Every evaluation of a run asks for the same table, which takes half a second.
_draw = functools.lru_cache(maxsize=1)(table_lib.draw)


def make(
  config: Any, keep: references.Keep
) -> tuple[list[Problem], list[Problem], list[Example]]:
  """Problems to train on, held-out ones, and the writer's chains of others."""
  del keep
  t, f = config.task, config.facts
  table = table_of(config)
  train = walks.make_problems(
    t.train_problems, table, mix_of(config, f.hard_share), False, config.seed
  )
  held_out = walks.make_problems(
    t.held_out_problems,
    table,
    mix_of(config, f.held_out_hard_share),
    True,
    config.seed,
  )
  rng = streams.rng(config.seed, 'warm-up solutions')
  habits, form = habits_of(config), sums.form_of(t)
  mix, examples = mix_of(config, f.hard_share), []
  drawn = walks.stream(table, mix, False, rng)
  for walk in itertools.islice(drawn, sums.num_examples(config)):
    chain = chains.write(table, walk, habits, rng)
    problem = walks.problem_of(table, walk)
    examples.append(Example(problem, form.write(chain, rng)))
  return train, held_out, examples


def table_of(config: Any) -> table_lib.Table:
  """The table of `config.facts`, whatever the run's seed."""
  f = config.facts
  return _draw(
    f.places,
    f.roads,
    f.lands,
    f.luck,
    (f.min_steps, f.max_steps),
    f.easy_right,
    f.hard_right,
    f.hard_facts,
    f.table,
  )


def beliefs_of(
  config: Any, records: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
  """`beliefs.of_responses` of an evaluation's records."""
  return beliefs.of_responses(table_of(config), records)


def mix_of(config: Any, hard_share: float) -> walks.Mix:
  """Which problems are drawn, with this share of hard ones."""
  f = config.facts
  return walks.Mix((f.min_steps, f.max_steps), hard_share, f.hard_steps)


def habits_of(config: Any) -> chains.Habits:
  """Those of the writer."""
  f = config.facts
  return chains.Habits(f.check_rate, f.notice_rate, f.again_rate)
