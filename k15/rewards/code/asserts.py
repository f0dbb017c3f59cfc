"""Asserts of trusted files, turned into tests that a program cannot see.

`assert f(arguments) == literal` becomes a call whose value the trusted side
compares.  Arguments that are no literals (1.0 / 3, an object of the program's
own class) are an expression that the program's process evaluates; the
literal still stays outside.  All other asserts run unchanged in a trusted
process, which asks the program for each call.

Every assert counts.  What cannot fail, or uses a name that nothing defines, is
refused: it would find every program right, or every program wrong.
"""

import ast
import builtins
import contextlib
import dataclasses
import symtable
import warnings
from collections.abc import Iterable, Sequence

from k15.rewards.code import programs
from k15.rewards.sandbox import pool
from k15.rewards.sandbox.inside import values

_BUILTINS = frozenset(dir(builtins))
_DEFINITIONS = (
  ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef,
  ast.ClassDef, ast.Assign, ast.AnnAssign,
)  # fmt: skip
_IMPORTS = ast.Import | ast.ImportFrom
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Program:
  """The reference, as far as asserts name what is in it.

  Attributes:
    tree: of its source.
    defined: names it binds, other than imports and classes.
    functions: those of them that are defined as functions.
    classes: names of its classes.
  """

  tree: ast.Module
  defined: frozenset[str]
  functions: frozenset[str]
  classes: frozenset[str]

  @property
  def imports(self) -> list[str]:
    """Its imports, for judges."""
    nodes = [n for n in self.tree.body if isinstance(n, _IMPORTS)]
    return [ast.unparse(n) for n in nodes if not _is_future(n)]

  def definitions(self, but: Iterable[str]) -> str:
    """What it defines besides some names."""
    nodes = [
      node
      for node in self.tree.body
      if isinstance(node, _DEFINITIONS)
      and not _is_future(node)
      and not _bound([node]) & set(but)
    ]
    return '\n'.join(map(ast.unparse, nodes))


def parse_program(source: str) -> Program:
  """Reads a reference.

  Raises:
    ValueError: it is not Python.
  """
  tree = parse(source, 'the program')
  nodes = tree.body
  classes = {n.name for n in nodes if isinstance(n, ast.ClassDef)}
  imported = _bound([n for n in nodes if isinstance(n, _IMPORTS)])
  functions = {n.name for n in nodes if isinstance(n, _FUNCTIONS)}
  lambdas = [
    n
    for n in nodes
    if isinstance(n, ast.Assign) and isinstance(n.value, ast.Lambda)
  ]
  functions |= _bound(lambdas)
  defined = _bound(nodes) - classes - (imported - functions)
  return Program(tree, *map(frozenset, (defined, functions, classes)))


def parse(source: str, name: str) -> ast.Module:
  """The tree of a source, `name` of which stands in the message.

  Raises:
    ValueError: it is not Python.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Asserts like `f(x) is 3`.
      compile(source, name, 'exec', dont_inherit=True)  # More than the parser.
      return ast.parse(source)
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise ValueError(f'{name} is not Python: {error}') from None


def _bound(nodes):
  """Names that statements bind in their own scope."""
  if not nodes:
    return set()
  source = '\n'.join(map(ast.unparse, nodes))
  symbols = symtable.symtable(source, 'code', 'exec').get_symbols()
  return {s.get_name() for s in symbols if _is_bound(s)}


def _is_bound(symbol):
  return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def free_names(source: str) -> set[str]:
  """Names that a module uses and neither binds nor finds built in.

  Raises:
    ValueError: it is not Python.
  """
  if any(
    isinstance(node, ast.ImportFrom) and node.names[0].name == '*'
    for node in ast.walk(parse(source, 'what judges would run'))
  ):
    return set()  # Whatever is in it.
  top = symtable.symtable(source, 'code', 'exec')
  bound, used, tables = {'__name__', '__file__'}, set(), [top]
  while tables:
    table = tables.pop()
    tables += table.get_children()
    for symbol in table.get_symbols():
      if table is top or symbol.is_global():
        bound |= {symbol.get_name()} if _is_bound(symbol) else set()
        used |= {symbol.get_name()} if symbol.is_referenced() else set()
  return used - bound - _BUILTINS


def _is_future(node):
  """Such imports have to come first, and mean nothing to a judge."""
  return isinstance(node, ast.ImportFrom) and node.module == '__future__'


def names_in(tree: ast.AST) -> set[str]:
  """Names in a tree, whatever is done with them."""
  return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def called_in(tree: ast.AST) -> set[str]:
  """Names that are called in a tree."""
  calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
  return {c.func.id for c in calls if isinstance(c.func, ast.Name)}


def check_all(tree: ast.AST):
  """Refuses statements that cannot fail where they look as if they could.

  Raises:
    ValueError: there is no assert, or one is always true.
  """
  nodes = list(ast.walk(tree))
  for node in nodes:
    if not isinstance(node, ast.Assert):
      continue
    if isinstance(node.test, ast.Tuple) and node.test.elts:
      raise ValueError(f'{_quoted(ast.unparse(node))} is always true: a tuple')
    if isinstance(node.msg, ast.Compare | ast.BoolOp):
      raise ValueError(
        f'{_quoted(ast.unparse(node))} does not test what follows its comma'
      )
  can_fail = any(
    (isinstance(node, ast.Assert) and not is_remark(node))
    or isinstance(node, ast.Raise)
    or (isinstance(node, ast.Attribute) and node.attr.startswith('assert'))
    for node in nodes
  )
  if not can_fail:
    raise ValueError('no assert that could fail')


def _quoted(text):
  return repr(text if len(text) <= 100 else f'{text[:97]}...')


def _has_assert(tree):
  return any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def is_remark(node: ast.stmt) -> bool:
  """Whether a statement says something only: 'text', assert True, 'text'."""
  if isinstance(node, ast.Expr):
    return isinstance(node.value, ast.Constant)
  return (
    isinstance(node, ast.Assert)
    and isinstance(node.test, ast.Constant)
    and bool(node.test.value)
  )


def make_tests(
  text: str, program: Program, imports: Sequence[str] = (), setup: str = ''
) -> list[programs.Test]:
  """The tests of some lines: one an assert, or one where there is more.

  Args:
    text: trusted Python, which calls functions of the program.
    imports: statements for judges.

  Raises:
    ValueError: they are not Python, cannot fail, or could not pass.
  """
  tree = parse(text, _quoted(text))
  check_all(tree)
  functions = [node for node in tree.body if isinstance(node, _FUNCTIONS)]
  for node in filter(_has_assert, functions):
    if node.name not in names_in(tree):
      raise ValueError(f'{_quoted(text)} never calls {node.name!r}')
  if not all(isinstance(node, ast.Assert) for node in tree.body):
    return [_judge_test(text, tree, program, imports, setup)]
  known, tests = _bound(parse(setup, 'the setup').body) | program.classes, []
  for node in tree.body:
    if is_remark(node):
      continue
    names = called_functions(node, program) | (names_in(node) & program.classes)
    test = call_test(node, {name: name for name in names}, setup, known)
    if test is None:
      source = text if len(tree.body) == 1 else ast.unparse(node)
      test = _judge_test(source, node, program, imports, setup)
    tests.append(test)
  return tests


def called_functions(tree: ast.AST, program: Program) -> set[str]:
  """Functions of a program that a tree names, or names that it calls."""
  return (names_in(tree) & program.functions) | (
    called_in(tree) & program.defined
  )


def _judge_test(text, tree, program, imports, setup):
  called = called_functions(tree, program)
  called |= called_functions(parse(setup, 'the setup'), program)
  if not called:
    raise ValueError(f'{_quoted(text)} calls no function of the program')
  source = '\n'.join([*imports, setup, text])
  missing = free_names(source) - called
  if own := sorted(missing & program.classes):
    raise ValueError(
      f"{_quoted(text)} compares objects of the program's own class {own[0]!r}"
    )
  if missing & program.defined:
    source = '\n'.join([program.definitions(called), source])
    missing = free_names(source) - called
  if missing:
    raise ValueError(
      f'{_quoted(text)} uses {sorted(missing)[0]!r}, defined nowhere'
    )
  return programs.JudgeTest(source, tuple((n, n) for n in sorted(called)))


def call_test(
  node: ast.Assert,
  functions: dict[str, str],
  setup: str = '',
  known: set[str] | frozenset[str] = frozenset(),
) -> programs.CallTest | None:
  """The test of `assert left == literal`, `assert left`, `assert not left`.

  Numbers are compared by value, as the assert would: solutions of both sets
  return 240.0 where 240 is expected, and 0 where False is.

  Args:
    node: of the assert; names in it are changed.
    functions: name in the assert -> function of the program.
    known: other names that the program's process knows.

  Returns:
    None for any other assert.
  """
  left, expected = _sides(node.test, functions)
  names = names_in(left)
  if expected is None or not names & set(functions):
    return None
  # The program's process knows its own names and those of the setup, and
  # nothing of the file's other helpers.
  if free_names(ast.unparse(left)) - set(functions) - known:
    return None
  call = None if setup else _literal_call(left, functions)
  if call is None:
    for name in ast.walk(left):
      if isinstance(name, ast.Name):
        name.id = functions.get(name.id, name.id)
    call = pool.Call(expression=ast.unparse(left), setup=setup)
  return programs.CallTest(call, expected, by_value=True)


def _sides(test, functions):
  """The expression of the program and the text of the value expected."""
  if isinstance(test, ast.Compare):
    if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
      with contextlib.suppress(ValueError, TypeError):
        value = values.encode(ast.literal_eval(test.comparators[0]))
        is_plain = not any(_tells(n, functions) for n in ast.walk(test.left))
        return test.left, value if is_plain else None
    return test, None
  is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
  call = test.operand if is_negated else test
  if isinstance(call, ast.Call) and names_in(call.func) & set(functions):
    truth = ast.Call(ast.Name('bool', ast.Load()), [call], [])
    return truth, values.encode(not is_negated)
  return test, None


def _tells(node, functions):
  """Whether an expression might hold what is expected: f(1) - 3 == 0."""
  is_offset = isinstance(node, ast.BinOp) and names_in(node) & set(functions)
  return isinstance(node, ast.Compare) or bool(is_offset)


def _literal_call(left, functions):
  """The call, where its arguments are literals; else None."""
  if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name)):
    return None
  if left.func.id not in functions:
    return None
  try:
    arguments = [ast.literal_eval(a) for a in left.args]
    keywords = {k.arg: ast.literal_eval(k.value) for k in left.keywords}
  except (ValueError, TypeError):
    return None
  if None in keywords:  # **{...}
    return None
  return pool.Call(
    functions[left.func.id], values.encode([arguments, keywords])
  )
