"""Partial rollouts on a simulated clock: 1,000 slots, responses up to 131,072.

    python -m benchmarks.speed.schedule [--slots 1000] \\
        [--picture docs/schedule.png]

What the rollout's continuous batching does with lengths this machine cannot
sample: events in place of tokens, so that a run of 156 iterations takes
seconds.  As in k15, all live slots decode in lockstep; a slot takes the next
response as soon as its own stops; an iteration opens new groups, lets every
unfinished response grow by at most the token budget, oldest draw first, then
longest first, and ends when the last one stops; groups are trained on when
they are complete.

From the paper (Kimi k1.5, Fig. 5): mean response lengths of its math run, by
benchmark, in the first and the last of about 156 iterations, and that of all
responses; from section 2.5: a context of 131,072 tokens.  Ours: all else.  A
benchmark's lengths are log-normal with sigma 1, cut at 131,072; benchmarks are
drawn equally often and scaled to the mean over all; means rise linearly; 500
problems an iteration of 8 responses each.  Machine: a decode step takes 15 ms
and 15 us per live slot; a token of a resumed response takes 2 us of prefill,
during which nothing decodes; prompts and training take no time.  Groups never
expire (`rl.max_group_age` is out of reach).

  steps         decode steps of an iteration, free of any model of the machine
  of bound      max(longest growth, total growth / slots) / steps
  utilisation   of all slot-seconds, those in which a slot decodes
  segments      policy versions a response that is trained on was written by
  bias          largest difference of the distribution functions of lengths
                trained on and lengths sampled, after the transient: the
                iterations the longest response takes at least
"""

import argparse
import dataclasses
import heapq
import pathlib

import numpy as np
from matplotlib.figure import Figure

from benchmarks import together
from k15 import files
from k15.report import figures

MAX_LENGTH = 131072
ITERATIONS = 156
# Mean tokens in the first and the last iteration: OMNI-MATH500, MATH500,
# AIMO2024, AIME2024, ChatGLMMath, GAOKAO, GPQA, Biology, Chemistry, Physics,
# KAOYAN.  Then of all responses.
FIRST = 1908, 986, 2211, 3332, 1184, 1127, 868, 722, 904, 1049, 1840
LAST = 14736, 7607, 19132, 17795, 9193, 7727, 11099, 4739, 7031, 8866, 10962
FIRST_OF_ALL, LAST_OF_ALL = 1259, 9607
SIGMA = 1.0


@dataclasses.dataclass(frozen=True)
class Machine:
  """How many slots, and the seconds that decoding and prefilling take."""

  slots: int
  seconds_per_step: float
  seconds_per_slot: float  # more, for each live slot of a step
  seconds_per_prefill: float  # of a token


@dataclasses.dataclass(frozen=True)
class Phase:
  """One rollout phase; `curve` has (seconds, live slots) at every change."""

  steps: int
  seconds: float
  busy: float  # slot-seconds in which a slot decodes
  tokens: int
  bound: float  # steps that no order of the responses could beat
  curve: list[tuple[float, int]]


def rollout(machine: Machine, growths, contexts) -> Phase:
  """Decodes responses in this order.

  Args:
    machine: see there.
    growths: int [N], tokens each grows, at least 1.
    contexts: int [N], tokens each has already, to be prefilled.
  """
  live, steps, seconds, busy, curve = [], 0, 0.0, 0.0, [(0.0, 0)]

  def finish_one():
    nonlocal steps, seconds, busy
    per_step = machine.seconds_per_step + machine.seconds_per_slot * len(live)
    spent = (live[0] - steps) * per_step
    busy += spent * len(live)
    seconds += spent
    steps = heapq.heappop(live)
    curve.append((seconds, len(live)))

  for growth, context in zip(growths, contexts, strict=True):
    if len(live) == machine.slots:
      finish_one()
    seconds += context * machine.seconds_per_prefill
    heapq.heappush(live, steps + int(growth))
    curve.append((seconds, len(live)))
  while live:
    finish_one()
  total = int(np.sum(growths))
  bound = max(int(np.max(growths)), total / machine.slots)
  return Phase(steps, seconds, busy, total, bound, curve)


def run(machine: Machine, sampled, budget: int, group_size: int):
  """Iterations with partial rollouts.

  Args:
    machine: see there.
    sampled: int [iterations, N], lengths of the responses each iteration
      opens, group after group.
    budget: tokens a response may grow in an iteration.
    group_size: divides N.

  Yields:
    (Phase, lengths trained on, segments of each) of each iteration.
  """
  # Of the groups not trained on yet: lengths wanted, reached, segments.
  wanted = done = segments = np.zeros((0, group_size), np.int64)
  opened = np.zeros(0, np.int64)
  for iteration, lengths in enumerate(sampled):
    new = np.asarray(lengths, np.int64).reshape(-1, group_size)
    wanted = np.concatenate([wanted, new])
    done = np.concatenate([done, np.zeros_like(new)])
    segments = np.concatenate([segments, np.zeros_like(new)])
    opened = np.concatenate([opened, np.full(len(new), iteration)])
    rows, columns = np.nonzero(done < wanted)
    order = np.lexsort((-done[rows, columns], opened[rows]))
    at = rows[order], columns[order]
    growths = np.minimum(wanted[at] - done[at], budget)
    phase = rollout(machine, growths, done[at])
    done[at] += growths
    segments[at] += 1
    complete = (done == wanted).all(axis=1)
    yield phase, wanted[complete].ravel(), segments[complete].ravel()
    wanted, done = wanted[~complete], done[~complete]
    segments, opened = segments[~complete], opened[~complete]


def draw_lengths(rng, progress, count: int) -> np.ndarray:
  """Lengths of an iteration, int [count]; progress 0 is Fig. 5's first."""
  means = np.array(FIRST) + progress * np.subtract(LAST, FIRST)
  of_all = FIRST_OF_ALL + progress * (LAST_OF_ALL - FIRST_OF_ALL)
  means = rng.choice(means * of_all / means.mean(), count)
  # The mean of a log-normal is exp(mu + sigma^2 / 2).
  lengths = rng.lognormal(np.log(means) - SIGMA**2 / 2, SIGMA)
  return np.clip(np.ceil(lengths), 1, MAX_LENGTH).astype(np.int64)


def distance(left, right) -> float:
  """Largest difference of two samples' distribution functions, in [0, 1]."""
  points = np.concatenate([left, right])
  shares = [
    np.searchsorted(np.sort(values), points, 'right') / len(values)
    for values in (left, right)
  ]
  return float(np.abs(shares[0] - shares[1]).max())


def summarize(machine, iterations, sampled, budget) -> dict[str, float]:
  """Means over the iterations after the transient."""
  # Before that the longest responses cannot have ended, and those trained on
  # are too short.
  skip = -(-int(np.max(sampled)) // budget)
  if skip >= len(iterations):
    raise ValueError(f'{len(iterations)} iterations, transient of {skip}')
  phases = [phase for phase, _, _ in iterations[skip:]]
  trained = np.concatenate([lengths for _, lengths, _ in iterations[skip:]])
  segments = np.concatenate([count for _, _, count in iterations[skip:]])
  first = iterations[0][1]
  seconds = sum(phase.seconds for phase in phases)
  return dict(
    seconds=seconds / len(phases),
    steps=float(np.mean([phase.steps for phase in phases])),
    bound_ratio=float(np.mean([p.bound / p.steps for p in phases])),
    utilisation=sum(p.busy for p in phases) / seconds / machine.slots,
    tokens_per_second=float(trained.sum()) / seconds,
    segments_mean=float(segments.mean()),
    segments_max=int(segments.max()),
    transient=skip,
    first_mean=float(first.mean()) if len(first) else 0.0,
    trained_mean=float(trained.mean()),
    bias=distance(trained, np.ravel(sampled[skip:])),
  )


def draw(curves, phases, slots) -> Figure:
  """Iteration time over a whole run, and the live slots of one iteration."""
  figure = Figure(figsize=(10, 3.6), layout='constrained')
  left, right = figure.subplots(1, 2)
  for (name, minutes), color in zip(
    curves.items(), figures.COLORS[3:1:-1], strict=True
  ):
    x = np.arange(len(minutes))
    left.plot(x, minutes, color=color, linewidth=0.8, alpha=0.35)
    left.plot(x, figures.running_mean(minutes, 9), color=color, linewidth=2)
    phase = phases[name]
    time, live = np.array(phase.curve).T
    share = phase.busy / phase.seconds / slots
    label = f'{name}: slots decode {100 * share:.0f} % of the time'
    right.fill_between(time / 60, live, step='post', color=color, alpha=0.3)
    right.plot(
      time / 60, live, drawstyle='steps-post', color=color, label=label
    )
  for axes, x, y in (
    (left, 'iteration', 'rollout phase, minutes'),
    (right, 'minutes since the last iteration began', 'live slots'),
  ):
    axes.set(xlabel=x, ylabel=y)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(color='#e6e9ee', linewidth=0.8)
    axes.set_axisbelow(True)
  figure.legend(loc='outside upper center', ncols=2, frameon=False)
  return figure


def budgets_at_the_end(args, machine):
  """Prints a row per budget at the last lengths; returns {budget: row}."""
  rng = np.random.default_rng(args.seed)
  count = args.problems * args.group_size
  longest = -(-MAX_LENGTH // min(args.budgets))
  sampled = [draw_lengths(rng, 1, count) for _ in range(longest + 12)]
  print(
    f'\nlast lengths, {count} new responses an iteration, mean sampled'
    f' {np.mean(sampled):,.0f}\n{"budget":>8}{"seconds":>9}{"steps":>9}'
    f'{"of bound":>10}{"utilisation":>13}{"tokens/s":>10}{"segments":>10}'
    f'{"transient":>11}{"trained mean":>14}{"at first":>10}{"bias":>7}'
  )
  rows = {}
  for budget in (MAX_LENGTH, *args.budgets):
    iterations = list(run(machine, sampled, budget, args.group_size))
    r = rows[budget] = summarize(machine, iterations, sampled, budget)
    name = f'{budget}' if budget < MAX_LENGTH else 'none'
    print(
      f'{name:>8}{r["seconds"]:>9.0f}{r["steps"]:>9.0f}'
      f'{r["bound_ratio"]:>10.3f}{r["utilisation"]:>13.3f}'
      f'{r["tokens_per_second"]:>10.0f}{r["segments_mean"]:>10.2f}'
      f'{r["transient"]:>11}{r["trained_mean"]:>14.0f}'
      f'{r["first_mean"]:>10.0f}{r["bias"]:>7.3f}',
      flush=True,
    )
  return rows


def whole_run(args, machine):
  """All iterations along the curve: {name: minutes}, {name: last Phase}."""
  rng = np.random.default_rng(args.seed)
  count = args.problems * args.group_size
  sampled = [
    draw_lengths(rng, i / (ITERATIONS - 1), count) for i in range(ITERATIONS)
  ]
  minutes, last = {}, {}
  for name, budget in (
    ('whole responses', MAX_LENGTH),
    (f'partial, budget {args.budget:,}', args.budget),
  ):
    phases = [p for p, _, _ in run(machine, sampled, budget, args.group_size)]
    minutes[name] = np.array([phase.seconds for phase in phases]) / 60
    last[name] = phases[-1]
  return minutes, last


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--slots', type=int, default=1000)
  add('--problems', type=int, default=500, help='opened in an iteration')
  add('--group_size', type=int, default=8)
  add('--budget', type=int, default=8192, help='tokens, of RESULT and picture')
  sweep = [32768, 16384, 8192, 4096]
  add('--budgets', type=int, nargs='+', default=sweep, help='tokens, tried')
  add('--seconds_per_step', type=float, default=15e-3)
  add('--seconds_per_slot', type=float, default=15e-6)
  add('--seconds_per_prefill', type=float, default=2e-6)
  add('--seed', type=int, default=0)
  add('--picture', type=pathlib.Path, help='PNG to write')
  args = parser.parse_args(argv)
  args.budgets = sorted({*args.budgets, args.budget}, reverse=True)
  machine = Machine(
    args.slots,
    args.seconds_per_step,
    args.seconds_per_slot,
    args.seconds_per_prefill,
  )
  rows = budgets_at_the_end(args, machine)
  minutes, last = whole_run(args, machine)
  hours = {name: float(m.sum() / 60) for name, m in minutes.items()}
  shown = ', '.join(f'{name} {h:.1f} h' for name, h in hours.items())
  print(f'\nrollout time of the {ITERATIONS} iterations: {shown}')
  if args.picture:
    png = figures.to_png(draw(minutes, last, args.slots), dpi=150)
    files.replace_file(args.picture, png)
  off, on = rows[MAX_LENGTH], rows[args.budget]
  whole, partial = hours.values()
  result = dict(budget=args.budget, speedup=off['seconds'] / on['seconds'])
  result |= dict(run_speedup=whole / partial)
  for key in ('bound_ratio', 'utilisation', 'tokens_per_second', 'seconds'):
    result |= {f'{key}_off': off[key], f'{key}_on': on[key]}
  for key in ('segments_mean', 'segments_max', 'transient', 'bias'):
    result[key] = on[key]
  together.print_result(result)


if __name__ == '__main__':
  main()
