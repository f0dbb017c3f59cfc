"""Judges the reference programs of HumanEval and MBPP, honest and with a bug.

  python -m benchmarks.quality.code_sets [--workers 2] [--every 1] [--data DIR]

All references have to be found correct.  Each is then judged again with a bug
planted: what its function returns is off by a little, of the same type (floats
by a tenth: some asserts allow a thousandth).  None of these may be found
correct.  Prints a line per set and `RESULT {json}`; exits with 1 when anything
did not hold.
"""

import argparse
import ast
import collections
import concurrent.futures
import copy
import json
import pathlib
import sys
import time

from benchmarks.quality import public_data
from k15.rewards.code import datasets
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib

FILES = {
  'humaneval': ('humaneval', 'HumanEval.jsonl.gz'),
  'mbpp': ('mbpp', 'mbpp.jsonl'),
  'mbpp_sanitized': ('mbpp', 'sanitized-mbpp.json'),
}
# Some references take seconds, and many on a machine that does more than this.
LIMITS = pool_lib.Limits(seconds=60.0)
_BUG = """
def _off(value):
  if isinstance(value, bool): return not value
  if isinstance(value, int): return value + 1
  if isinstance(value, (float, complex)): return value * 1.1 + 1
  if isinstance(value, str): return value + 'x'
  if isinstance(value, list): return value + [None]
  if isinstance(value, tuple): return value + (None,)
  if isinstance(value, (set, frozenset)): return value | {None}
  if isinstance(value, dict): return {**value, 'x': None}
  return 0 if value is None else None
def _buggy(honest): return lambda *a, **k: _off(honest(*a, **k))
"""
_SWAPS = {
  ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv,
  ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Pow: ast.Mult,
  ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
  ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
  ast.BitOr: ast.BitXor, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
  ast.RShift: ast.LShift,
}  # fmt: skip
_NAMES = {'max': 'min', 'min': 'max', 'all': 'any', 'any': 'all'}


def load(data: pathlib.Path) -> dict[str, list[datasets.CodeProblem]]:
  """The problems of each set that is there."""
  sets = {}
  for name, (folder, file) in FILES.items():
    for path in sorted((data / folder).rglob(file)):
      loader = (
        datasets.load_humaneval if name == 'humaneval' else datasets.load_mbpp
      )
      sets[name] = loader(path)
      break
  return sets


def plant_bug(problem: datasets.CodeProblem) -> str:
  """The reference, with a bug in the function that tests call."""
  names = [problem.function] if problem.function else []
  tree = ast.parse(problem.reference)
  names = names or [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
  planted = [f'{name} = _buggy({name})' for name in names]
  return '\n'.join([problem.reference, _BUG, *planted])


def judge(pool, problems, source_of) -> list[str]:
  """The kind of each problem's verdict."""

  def one(problem):
    verdict = programs.judge_program(
      pool, 'python', source_of(problem), problem.tests, LIMITS
    )
    return verdict.kind

  with concurrent.futures.ThreadPoolExecutor(pool.workers) as threads:
    return list(threads.map(one, problems))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--every', type=int, default=1)
  public_data.add_argument(parser)
  args = parser.parse_args()
  sets, result, ok = load(args.data), {}, True
  if not sets:
    sys.exit(f'none of {", ".join(FILES)} is below {args.data}')
  with pool_lib.Pool(args.workers) as pool:
    for name, problems in sets.items():
      problems, start = problems[:: args.every], time.monotonic()
      honest = judge(pool, problems, lambda problem: problem.reference)
      buggy = judge(pool, problems, plant_bug)
      for problem, right, wrong in zip(problems, honest, buggy, strict=True):
        if right != 'correct' or wrong == 'correct':
          print(f'  {problem.id}: honest {right}, with a bug {wrong}')
      correct, missed = honest.count('correct'), buggy.count('correct')
      ok &= correct == len(problems) and not missed
      print(
        f'{name:15} honest: {correct} of {len(problems)} correct; with a bug:'
        f' {dict(collections.Counter(buggy))};'
        f' {time.monotonic() - start:.0f} s on {pool.rung}',
        flush=True,
      )
      result[name] = [correct, len(problems), missed]
  print('RESULT', json.dumps({'rung': pool.rung, **result}))
  sys.exit(not ok)


def mutants(source: str) -> list[str]:
  """Programs that differ from this one in an operator, a name or a number."""
  tree, out = ast.parse(source), []
  for place, node in enumerate(ast.walk(tree)):
    for change in _changes(node):
      # Found again by its place in a copy, for a change is in place and every
      # mutant has one alone.
      mutant = copy.deepcopy(tree)
      twin = next(n for i, n in enumerate(ast.walk(mutant)) if i == place)
      change(twin)
      out.append(ast.unparse(mutant))
  return [text for text in dict.fromkeys(out) if text != ast.unparse(tree)]


def _changes(node):
  """Functions that each change a node in place."""
  if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
    if type(node.op) in _SWAPS:
      yield lambda n: setattr(n, 'op', _SWAPS[type(n.op)]())
  elif isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
    yield lambda n: n.ops.__setitem__(0, _SWAPS[type(n.ops[0])]())
  elif isinstance(node, ast.Name) and node.id in _NAMES:
    yield lambda n: setattr(n, 'id', _NAMES[n.id])
  elif isinstance(node, ast.Constant) and type(node.value) is int:
    yield lambda n: setattr(n, 'value', n.value + 1)
    yield lambda n: setattr(n, 'value', n.value - 1)


if __name__ == '__main__':
  main()
