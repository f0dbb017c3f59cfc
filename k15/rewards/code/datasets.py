"""HumanEval and MBPP: their asserts, turned into tests a program cannot see.

  python -m k15.rewards.code.datasets mbpp.jsonl mbpp_problems.jsonl

writes a file of problems that `--config.task.train_path` takes.  Files are
JSON lines or one array, packed by gzip or not; which of the two sets it is,
the fields of its first row say.  How an assert becomes a test: `asserts`.
"""

import argparse
import ast
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from k15.rewards.code import asserts as asserts_lib
from k15.rewards.code import programs
from k15.rewards.code import rows as rows_lib

_CHECK = 'check'  # HumanEval's function of tests; it takes the one to be tested
_LONGEST = 300  # characters of a message
_FIELDS = {
  'humaneval': ('entry_point', 'prompt', 'test'),
  'mbpp': ('code', 'test_list'),
}


@dataclasses.dataclass(frozen=True)
class CodeProblem:
  """Attributes:
  id: of the dataset.
  prompt: what a policy is asked.
  reference: a program that passes.
  function: the one to be written; '' where asserts call several.
  tests: see `programs`.
  """

  id: str
  prompt: str
  reference: str
  function: str
  tests: tuple[programs.Test, ...]


def load(path: str | os.PathLike) -> list[CodeProblem]:
  """The problems of a file of either set.

  Raises:
    ValueError: a sentence that names the file, and the row where it is one.
    OSError: it cannot be opened.
  """
  rows = rows_lib.read(path)
  _, first = rows[0]
  for name, fields in _FIELDS.items():
    if first.keys() >= set(fields):
      return _load(rows, _MAKERS[name])
  raise ValueError(
    f'{path}: neither HumanEval nor MBPP: the fields of its first row are'
    f' {sorted(first)}'
  )


def load_humaneval(path: str | os.PathLike) -> list[CodeProblem]:
  """The problems of HumanEval.jsonl.gz, or of the same unpacked; as `load`."""
  return _load(rows_lib.read(path), _humaneval_problem)


def load_mbpp(path: str | os.PathLike) -> list[CodeProblem]:
  """The problems of mbpp.jsonl or sanitized-mbpp.json; as `load`."""
  return _load(rows_lib.read(path), _mbpp_problem)


def _load(rows, make: Callable[[rows_lib.Row], CodeProblem]):
  problems = []
  with _numbers_of_any_length():
    for where, row in rows:
      try:
        problems.append(make(row))
      except ValueError as error:
        raise ValueError(f'{where}: {str(error)[:_LONGEST]}') from None
  return problems


@contextlib.contextmanager
def _numbers_of_any_length() -> Iterator[None]:
  """Asserts may hold integers that Python would not read or write."""
  most = sys.get_int_max_str_digits()
  sys.set_int_max_str_digits(0)
  try:
    yield
  finally:
    sys.set_int_max_str_digits(most)


def _humaneval_problem(row):
  prompt, name = (
    rows_lib.text(row, 'prompt'),
    rows_lib.text(row, 'entry_point'),
  )
  reference = prompt + rows_lib.text(row, 'canonical_solution')
  program = asserts_lib.parse_program(reference)
  if name not in program.defined:
    raise ValueError(f'the program does not define its entry point {name!r}')
  return CodeProblem(
    id=_id(row),
    prompt=prompt,
    reference=reference,
    function=name,
    tests=tuple(_humaneval_tests(rows_lib.text(row, 'test'), name, program)),
  )


def _humaneval_tests(text, name, program):
  """One test per assert, where all of `check` is asserts."""
  tree = asserts_lib.parse(text, "field 'test'")
  asserts_lib.check_all(tree)
  functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
  check = {n.name: n for n in functions}.get(_CHECK)
  if check is None or not check.args.args:
    raise ValueError(f"no function {_CHECK!r} of one argument in field 'test'")
  if check.args.args[0].arg not in asserts_lib.names_in(check):
    raise ValueError(f'{_CHECK!r} does not use its argument')
  # Some tests call the function by its own name too.
  head = '\n'.join([program.definitions([name]), f'{name} = candidate'])
  asserts = [node for node in check.body if not asserts_lib.is_remark(node)]
  if not asserts or not all(isinstance(node, ast.Assert) for node in asserts):
    return [_whole_check(head, text, name)]
  tests = []
  for node in asserts:
    test = asserts_lib.call_test(node, {check.args.args[0].arg: name})
    if test is None:
      check.body = [node]
      test = _whole_check(head, ast.unparse(tree), name)
    tests.append(test)
  return tests


def _whole_check(head, text, name):
  source = f'{head}\n{text}\n{_CHECK}(candidate)'
  missing = sorted(asserts_lib.free_names(source) - {'candidate'})
  if missing:
    raise ValueError(f"field 'test' uses {missing[0]!r}, defined nowhere")
  return programs.JudgeTest(source, (('candidate', name),))


def _mbpp_problem(row):
  code = rows_lib.text(row, 'code')
  setup = rows_lib.optional_text(row, 'test_setup_code')
  program = asserts_lib.parse_program(code)
  imports = program.imports + rows_lib.texts(row, 'test_imports')
  tests, texts = [], rows_lib.texts(row, 'test_list')
  for number, text in enumerate(texts, 1):
    try:
      tests += asserts_lib.make_tests(text, program, imports, setup)
    except ValueError as error:
      raise ValueError(f'test {number}: {error}') from None
  if not tests:
    raise ValueError("no asserts in field 'test_list'")
  called = set()
  for text in texts:
    called |= asserts_lib.called_functions(ast.parse(text), program)
  prompt = rows_lib.optional_text(row, 'text')
  return CodeProblem(
    id=f'mbpp/{_id(row)}',
    prompt=prompt or rows_lib.text(row, 'prompt'),
    reference=code,
    function=called.pop() if len(called) == 1 else '',
    tests=tuple(tests),
  )


def _id(row):
  if row.get('task_id') is None:
    raise ValueError(f"no field 'task_id'; it has {sorted(row)}")
  return str(row['task_id'])


_MAKERS = {'humaneval': _humaneval_problem, 'mbpp': _mbpp_problem}


def to_record(problem: CodeProblem) -> dict[str, Any]:
  """A row of a file of problems; the reference becomes its worked response."""
  name = f' Write the function {problem.function}.' * bool(problem.function)
  return dict(
    id=problem.id,
    domain='code',
    prompt=problem.prompt + name,
    answer=programs.to_text(problem.tests),
    response=f'```python\n{problem.reference}\n```',
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('dataset', type=pathlib.Path, help='MBPP or HumanEval')
  parser.add_argument('problems', type=pathlib.Path, help='JSONL to write')
  args = parser.parse_args()
  try:
    lines = [json.dumps(to_record(p)) + '\n' for p in load(args.dataset)]
    args.problems.write_text(''.join(lines))
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  print(f'{len(lines)} problems')


if __name__ == '__main__':
  main()
