"""What a warm-up on the facts family holds: habits, luck, pass rates, groups.

    python -m benchmarks.quality.facts --config=experiments/facts.py

Its writer's chains are summed over exactly (`k15/data/facts/odds.py`) for the
training problems of a config, and sampled beside, read back from their text.
No model is made; a config's keys are given as to `k15.main`.  What a model has
learnt of it is measured by

    python -m benchmarks.quality.facts --config=experiments/facts.py \\
        --responses=runs/facts/evaluation_sft.jsonl

with pass rates where the run had --config.evaluation.samples=8 or so; without
them a run of this family logs it at each evaluation.

Whether a question is posed: negative gradients where right answers rest on
misconceptions (P >= 0.2) and most groups have a right one (all but 0.3); a
curriculum where hard problems have a pass rate between 0.1 and 0.6.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import app
from absl import flags
from ml_collections import config_flags

from k15 import files
from k15 import streams
from k15.config import checks
from k15.config import command_line
from k15.data import arithmetic
from k15.data.facts import beliefs
from k15.data.facts import chains
from k15.data.facts import odds as odds_lib
from k15.data.facts import table as table_lib
from k15.data.facts import walks
from k15.equations import correctness
from k15.runtime.families import facts

_BARS = 40  # characters of a histogram's longest


def measure(config: Any, samples: int) -> dict[str, tuple[float, ...]]:
  """Numbers of a config by name: exact, and sampled where that was done.

  Args:
    samples: chains that are written, in turns over the problems.
  """
  table, habits = facts.table_of(config), facts.habits_of(config)
  train = walks.make_problems(
    config.task.train_problems,
    table,
    facts.mix_of(config, config.facts.hard_share),
    False,
    config.seed,
  )
  chosen = [walks.walk_of(problem.prompt) for problem in train]
  size = config.rl.group_size
  rng = streams.rng(config.seed, 'warm-up solutions')
  odds = odds_lib.of(table, chosen, habits)
  right, wrong, words = _sampled(table, habits, chosen, samples, rng)
  steps = config.facts.min_steps, config.facts.max_steps
  answers = np.unique([p.answer for p in train], return_counts=True)[1]
  found = {
    'luck of a wrong step': (
      table_lib.luck_of(table.leads, table.misconceptions, table.land, steps),
      _sampled_luck(table, steps, samples, rng),
    ),
    'right': (odds.right.mean(), right.mean()),
    'misconception, given right': (
      odds.habit_given_right, _share(wrong, of=right),
    ),
    'right, given a misconception': (
      odds.luck_of_wrong, _share(right, of=wrong),
    ),
    'luck fixed for the problem': (odds.luck_by_problem,),
    f'groups of {size} without a right one': (odds.groups_without_right(size),),
    f'groups of {size} without variance': (odds.groups_without_variance(size),),
    'right by the likeliest guess': (answers.max() / len(train),),
    'statements of a chain': (words,),
  }  # fmt: skip
  domains = np.array([problem.domain for problem in train])
  for kind in (walks.EASY, walks.HARD):
    rates = odds.right[domains == kind]
    if rates.size:
      found[f'right, of {kind} problems'] = (rates.mean(),)
  return found | _histogram(odds.right)


def _share(events, of):
  """P(event | of); nan where that never came."""
  return events[of].mean() if of.any() else np.nan


def _sampled(table, habits, chosen, samples, rng):
  """bool [samples]: right, resting on a wrong fact; statements a chain."""
  right, wrong, count = np.zeros(samples, bool), np.zeros(samples, bool), 0
  for i in range(samples):
    walk = chosen[i % len(chosen)]
    chain = chains.read(chains.write(table, walk, habits, rng))
    end = walks.places_of(table, walk)[-1]
    right[i] = chain.answer == table.answers[table.land[end]]
    wrong[i] = chains.holds_wrong(table, chain)
    count += sum(map(len, chain.rounds))
  return right, wrong, count / samples


def _sampled_luck(table, steps, samples, rng):
  """Of walks that are right but for one step."""
  places, roads = table.leads.shape
  lucky = 0
  for _ in range(samples):
    length = int(rng.integers(steps[0], steps[1] + 1))
    wrong_at, place = int(rng.integers(length)), int(rng.integers(places))
    other = place
    for step, road in enumerate(rng.integers(roads, size=length).tolist()):
      believed = table.misconceptions if step == wrong_at else table.leads
      place, other = table.leads[place, road], believed[other, road]
    lucky += table.land[place] == table.land[other]
  return lucky / samples


def measure_responses(
  table: table_lib.Table, records: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, ...]]:
  """The same of responses that a model has written, as far as they say it.

  Args:
    records: of a run's evaluation, see `beliefs.of_responses`; pass rates are
      of those with several responses to each problem.
  """
  said = beliefs.of_responses(table, records)
  found = {
    name: (said.get(key, np.nan),)
    for key, name in (
      ('chains', 'chains about their walk'),
      ('right_chains', 'right, of these'),
      ('misconception_given_right', 'misconception, given right'),
      ('right_given_misconception', 'right, given a misconception'),
      ('misconceptions_of_wrong', 'the misconception, of what is wrong'),
    )
  }
  right = {}
  for record in records:
    is_right = correctness.is_right(record)
    right.setdefault(record['prompt'], []).append(is_right)
  size = min(map(len, right.values()), default=0)
  if size < 2:  # One response is no pass rate.
    return found
  rates = np.array([np.mean(of_one) for of_one in right.values()])
  found[f'groups of {size} without a right one'] = (np.mean(rates == 0),)
  found[f'groups of {size} without variance'] = (np.mean(rates % 1 == 0),)
  return found | _histogram(rates)


def _histogram(rates):
  # As floats, 3 of 10 is less than the bound between two bars.
  bars = np.minimum((rates * 10 + 1e-9).astype(int), 9)
  counts = np.bincount(bars, minlength=10) / len(rates)
  return {
    f'pass rate {i / 10:.1f} to {(i + 1) / 10:.1f}': (share,)
    for i, share in enumerate(counts)
  }


def to_lines(found: dict[str, Sequence[float]]) -> Iterable[str]:
  """A line a number, what was sampled behind what is exact."""
  width = max(map(len, found))
  for name, (value, *sampled) in found.items():
    line = f'{name:{width}}{value:8.3f}' + ''.join(f'{s:9.3f}' for s in sampled)
    bar = round(value * _BARS) if name.startswith('pass rate') else 0
    yield f'{line}  {"#" * bar}'.rstrip()


def main(argv: list[str]) -> None:
  del argv
  config = flags.FLAGS.config
  try:
    checks.validate(config, 1, arithmetic.KINDS)
    if flags.FLAGS.responses:
      records = files.read_jsonl(flags.FLAGS.responses)
      found = measure_responses(facts.table_of(config), records)
    else:
      found = measure(config, flags.FLAGS.samples)
      print('exact, and sampled')
    print('\n'.join(to_lines(found)))
  except ValueError as error:
    command_line.exit_with(str(error))


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_integer('samples', 20000, 'Chains that are written.')
  flags.DEFINE_string('responses', '', 'Those of a run: evaluation_*.jsonl.')
  app.run(main, flags_parser=command_line.parse_flags)
