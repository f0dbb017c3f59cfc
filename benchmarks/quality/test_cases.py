"""Test cases from generators, on problems whose programs are known.

    .venv/bin/python -m benchmarks.quality.test_cases

Kimi k1.5, section 2.3.5: of 1,000 contest problems about 614 need no special
judge, 463 get a generator with 40 valid cases or more, 323 are kept.  Here the
generators are written by hand and stand in for the model: the funnel shows that
each problem is kept or dropped for the reason it was made for, and not how good
a model's generators are.  25 problems are MBPP's, turned into stdin/stdout, and
5 are written.  Broken submissions are references with one planted bug that fail
MBPP's own asserts.

Then every such mutant of a kept problem runs against its generated cases: how
many do they refuse that the asserts refuse, and how many that the asserts miss?

Prints the funnel, a line a problem, and a line RESULT with the numbers.
"""

import argparse
import json
import random
import time

from benchmarks.quality import code_sets
from benchmarks.quality import public_data
from benchmarks.quality import test_case_problems
from k15.rewards.code import datasets
from k15.rewards.code import programs as programs_lib
from k15.rewards.code import test_cases
from k15.rewards.sandbox import pool as pool_lib

LIMITS = pool_lib.Limits(seconds=1.0, output_bytes=1 << 18)


def load_entries(data):
  """(entry, MBPP's problem) pairs."""
  path = public_data.need(data / 'mbpp/mbpp.jsonl')
  problems = {p.id: p for p in datasets.load_mbpp(path)}
  return [
    (e, problems[f'mbpp/{e.task_id}']) for e in test_case_problems.ENTRIES
  ]


def split_mutants(pool, problem):
  """Mutants of the reference that MBPP's asserts refuse, and the others."""
  refused, missed = [], []
  programs = code_sets.mutants(problem.reference)
  # Or all broken submissions would have their bug in the first lines.
  random.Random(problem.id).shuffle(programs)
  for program in programs:
    verdict = programs_lib.judge_program(
      pool, 'python', program, problem.tests, LIMITS
    )
    (missed if verdict.kind == 'correct' else refused).append(program)
  return refused, missed


def make_contest(entry, problem, bad):
  """An MBPP problem as one of stdin/stdout, some submissions broken."""
  # Two right programs in turns: copies of one would agree in its mistakes, too.
  good = [problem.reference, entry.other] * 5
  programs = [*good[: 10 - entry.bad], *bad[: entry.bad]]
  return test_cases.ContestProblem(
    id=problem.id,
    statement=f'{problem.prompt}\nInput: {entry.format}.',
    submissions=tuple(
      test_cases.Submission('python', whole(entry, program))
      for program in programs
    ),
    tolerance=entry.tolerance,
  )


def whole(entry, program):
  """A program of stdin and stdout around a function."""
  return f'{test_case_problems.SHOW}\n{program}\n{entry.main}\n'


def make_stand_in(programs):
  """Prompts -> texts: generators written by hand, found by the statement."""

  def generate(prompts):
    texts = []
    for prompt in prompts:
      program = next(g for s, g in programs.items() if s in prompt)
      code = f'```python\n{test_case_problems.HEAD}{program}\n```'
      texts.append(code if program else 'This problem is too hard for me.')
    return texts

  return generate


def refusals(pool, entry, tests, programs):
  """How many of the programs fail a set of tests."""
  kinds = [
    programs_lib.judge_program(
      pool, 'python', whole(entry, program), tests, LIMITS
    ).kind
    for program in programs
  ]
  return sum(kind != 'correct' for kind in kinds)


def measure_strength(pool, entries, split, selections):
  """Over the kept MBPP problems: mutants, and those refused."""
  kept = {s.problem.id: s.tests for s in selections if not s.dropped}
  out = dict(refused=0, of_refused=0, missed=0, of_missed=0)
  for entry, problem in entries:
    if problem.id in kept:
      for name, programs in zip(
        ('refused', 'missed'), split[problem.id], strict=True
      ):
        tests = kept[problem.id]
        out[f'of_{name}'] += len(programs)
        out[name] += refusals(pool, entry, tests, programs)
  return out


def report(selections, expected, strength, seconds):
  """The tables and the RESULT line."""
  print(f'\n{"problem":18}{"expected":16}{"became":16}{"inputs":>7}'
        f'{"valid":>6}{"pass":>5}  errors')  # fmt: skip
  for s in selections:
    errors = ', '.join(f'{" ".join(k)} {n}' for k, n in s.errors.items())
    print(
      f'{s.problem.id:18}{expected[s.problem.id]:16}{s.dropped or "kept":16}'
      f'{s.num_inputs:7}{len(s.tests):6}{s.num_passing:5}  {errors}'
    )
  print(f'\n{test_cases.funnel(selections)}\n')
  right = sum(
    (s.dropped or 'kept') == expected[s.problem.id] for s in selections
  )
  print(
    f'{right} of {len(selections)} problems as expected; generators written by'
    ' hand stand in for the model\n'
    f'of {strength["of_refused"]} mutants that the asserts refuse the cases'
    f' refuse {strength["refused"]}; of {strength["of_missed"]} others'
    f' {strength["missed"]}'
  )
  values = dict(
    funnel=test_cases.funnel_counts(selections),
    paper=test_cases.PAPER,
    as_expected=right,
    mutants=strength,
    seconds=round(seconds, 1),
  )
  print('RESULT', json.dumps(values))


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--seed', type=int, default=0)
  public_data.add_argument(parser)
  args = parser.parse_args()
  start = time.perf_counter()
  with test_cases.make_pool(args.workers) as pool:
    print(f'sandbox: {pool.rung}')
    entries = load_entries(args.data)
    split = {problem.id: split_mutants(pool, problem) for _, problem in entries}
    problems, programs, expected = [], {}, {}
    for entry, problem in entries:
      bad = split[problem.id][0]
      problems.append(make_contest(entry, problem, bad))
      programs[problems[-1].statement] = entry.generator
      expected[problem.id] = entry.expected
    for problem, generator, outcome in test_case_problems.PROBLEMS:
      problems.append(problem)
      programs[problem.statement] = generator
      expected[problem.id] = outcome
    selections = test_cases.select(
      problems, make_stand_in(programs), pool, seed=args.seed, limits=LIMITS
    )
    strength = measure_strength(pool, entries, split, selections)
  report(selections, expected, strength, time.perf_counter() - start)


if __name__ == '__main__':
  main()
