"""HumanEval and MBPP: their asserts, turned into tests a program cannot see.

`assert f(arguments) == literal` becomes a call whose value the trusted side
compares.  Arguments that are no literals (1.0 / 3, an object of the program's
own class) are an expression that the program's process evaluates; the
literal still stays outside.  All other assertions run unchanged in a trusted
process, which asks the program for each call.

  python -m k15.rewards.code_datasets mbpp.jsonl mbpp_problems.jsonl

writes a file of problems that `--config.task.train_path` takes.
"""

import argparse
import ast
import contextlib
import dataclasses
import gzip
import json
import pathlib
from typing import Any

from k15.rewards import code_tests
from k15.rewards import sandbox
from k15.rewards import values


@dataclasses.dataclass(frozen=True)
class CodeProblem:
  """Attributes:
  id: of the dataset.
  prompt: what a policy is asked.
  reference: a program that passes.
  function: the one to be written; '' where asserts call several.
  tests: see code_tests.
  """

  id: str
  prompt: str
  reference: str
  function: str
  tests: tuple[code_tests.Test, ...]


def load_humaneval(path: pathlib.Path) -> list[CodeProblem]:
  """The problems of HumanEval.jsonl.gz, or of the same unpacked."""
  open_text = gzip.open if path.suffix == '.gz' else open
  with open_text(path, 'rt') as file:
    records = [json.loads(line) for line in file if line.strip()]
  return [
    CodeProblem(
      id=record['task_id'],
      prompt=record['prompt'],
      reference=record['prompt'] + record['canonical_solution'],
      function=record['entry_point'],
      tests=tuple(_humaneval_tests(record)),
    )
    for record in records
  ]


def load_mbpp(path: pathlib.Path) -> list[CodeProblem]:
  """The problems of mbpp.jsonl or sanitized-mbpp.json."""
  text = path.read_text()
  if path.suffix == '.jsonl':
    records = [json.loads(line) for line in text.splitlines() if line]
  else:
    records = json.loads(text)
  return [_mbpp_problem(record) for record in records]


def _humaneval_tests(record):
  """One test per assert, where all of `check` is asserts."""
  name = record['entry_point']
  # Some tests call the function by its own name too, which the prompt defines
  # without a body.
  head = f'{record["prompt"]}\n{name} = candidate\n'
  whole = code_tests.JudgeTest(
    f'{head}{record["test"]}\ncheck(candidate)', (('candidate', name),)
  )
  tree = ast.parse(record['test'])
  check = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
  asserts = [n for n in check.body if not _is_docstring(n)]
  if not all(isinstance(node, ast.Assert) for node in asserts):
    return [whole]
  tests = []
  for node in asserts:
    if isinstance(node.test, ast.Constant) and node.test.value:
      continue  # assert True, 'a remark'
    test = _call_test(node, {'candidate': name})
    if test is None:
      source = head + ast.unparse(node)
      test = code_tests.JudgeTest(source, whole.functions)
    tests.append(test)
  return tests


def _is_docstring(node):
  return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _mbpp_problem(record):
  code = record['code'].replace('\r\n', '\n')
  setup = (record.get('test_setup_code') or '').replace('\r\n', '\n')
  tree = ast.parse(code)
  imports = [ast.unparse(n) for n in tree.body if _is_import(n)]
  imports += record.get('test_imports', [])
  defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
  tests, called = [], set()
  for text in record['test_list']:
    node = ast.parse(text).body[0]
    names = [n for n in defined if n in _names(node)]
    called.update(names)
    test = _call_test(node, {name: name for name in names}, setup)
    if test is None:
      source = '\n'.join([*imports, setup, text])
      pairs = tuple((name, name) for name in names)
      test = code_tests.JudgeTest(source, pairs)
    tests.append(test)
  return CodeProblem(
    id=f'mbpp/{record["task_id"]}',
    prompt=record.get('text') or record['prompt'],
    reference=code,
    function=called.pop() if len(called) == 1 else '',
    tests=tuple(tests),
  )


def _is_import(node):
  return isinstance(node, ast.Import | ast.ImportFrom)


def _names(tree):
  return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _call_test(node, functions, setup=''):
  """The test of `assert left == literal`, `assert left`, `assert not left`.

  Numbers are compared by value, as the assert would: solutions of both sets
  return 240.0 where 240 is expected, and 0 where False is.

  Args:
    node: of the assert.
    functions: name in the assert -> function of the program.
    setup: statements that come first.

  Returns:
    None for any other assert.
  """
  left, expected = _sides(node.test, functions)
  if expected is None or not _names(left) & set(functions):
    return None
  call = None if setup else _literal_call(left, functions)
  if call is None:
    for name in ast.walk(left):
      if isinstance(name, ast.Name):
        name.id = functions.get(name.id, name.id)
    call = sandbox.Call(expression=ast.unparse(left), setup=setup)
  return code_tests.CallTest(call, expected, by_value=True)


def _sides(test, functions):
  """The expression of the program and the text of the value expected."""
  if isinstance(test, ast.Compare):
    if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
      with contextlib.suppress(ValueError):
        value = values.encode(ast.literal_eval(test.comparators[0]))
        # An expression with a comparison might hold what is expected.
        is_plain = not any(
          isinstance(n, ast.Compare) for n in ast.walk(test.left)
        )
        return test.left, value if is_plain else None
    return test, None
  is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
  call = test.operand if is_negated else test
  if isinstance(call, ast.Call) and _names(call.func) & set(functions):
    truth = ast.Call(ast.Name('bool', ast.Load()), [call], [])
    return truth, values.encode(not is_negated)
  return test, None


def _literal_call(left, functions):
  """The call, where its arguments are literals; else None."""
  if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name)):
    return None
  if left.func.id not in functions:
    return None
  try:
    arguments = [ast.literal_eval(a) for a in left.args]
    keywords = {k.arg: ast.literal_eval(k.value) for k in left.keywords}
  except ValueError:
    return None
  return sandbox.Call(
    functions[left.func.id], values.encode([arguments, keywords])
  )


def to_record(problem: CodeProblem) -> dict[str, Any]:
  """A row of a file of problems; the reference becomes its worked response."""
  name = f' Write the function {problem.function}.' * bool(problem.function)
  return dict(
    id=problem.id,
    domain='code',
    prompt=problem.prompt + name,
    answer=code_tests.to_text(problem.tests),
    response=f'```python\n{problem.reference}\n```',
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('dataset', type=pathlib.Path, help='MBPP or HumanEval')
  parser.add_argument('problems', type=pathlib.Path, help='JSONL to write')
  args = parser.parse_args()
  load = load_humaneval if args.dataset.suffix == '.gz' else load_mbpp
  problems = load(args.dataset)
  lines = [json.dumps(to_record(problem)) + '\n' for problem in problems]
  args.problems.write_text(''.join(lines))
  print(f'{len(lines)} problems')


if __name__ == '__main__':
  main()
