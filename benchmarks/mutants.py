"""Programs with one planted bug: each place of a program changed once."""

import ast
import copy

_SWAPS = {
  ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv,
  ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Pow: ast.Mult,
  ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
  ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
  ast.BitOr: ast.BitXor, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
  ast.RShift: ast.LShift,
}  # fmt: skip
_NAMES = {'max': 'min', 'min': 'max', 'all': 'any', 'any': 'all'}


def make(source: str) -> list[str]:
  """Programs that differ from this one in an operator, a name or a number."""
  tree, out = ast.parse(source), []
  for place, node in enumerate(ast.walk(tree)):
    for change in _changes(node):
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
