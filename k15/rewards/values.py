"""Python values as text and back, every type told apart.

A program under judgement hands its return value out as text; the trusted side
compares texts and builds no objects of it: nothing can override __eq__, and
crafted hashes collide with nothing.  Runs on both sides of the sandbox: it
needs nothing but the standard library.

The text is JSON.  None, booleans, integers, floats, strings and lists are
themselves; everything else is an object {"t": type, "v": content}:
tuple, set, frozenset (lists), dict (pairs), bytes (hex), complex (two floats),
int (hex, where decimals would be long), other (a type without a text).
"""

import json
import math
from typing import Any

_NUMBERS = bool | int | float
MAX_DECIMAL_BITS = 4096  # longer integers are written in hex
_SEQUENCES = {
  'tuple': tuple, 'set': set, 'frozenset': frozenset,
}  # fmt: skip


def encode(value: Any) -> str:
  """The text of a value; subclasses count as the builtin they extend.

  Raises:
    RecursionError: the value is nested too deeply, or holds itself.
  """
  return json.dumps(_tree(value), separators=(',', ':'))


def _tree(value):
  if value is None or isinstance(value, bool):
    return value
  if isinstance(value, int):
    value = int.__index__(value)
    if value.bit_length() <= MAX_DECIMAL_BITS:
      return int(value)
    return {'t': 'int', 'v': hex(value)}
  if isinstance(value, float):
    return float.__add__(value, 0.0)
  if isinstance(value, str):
    return str.__str__(value)
  if isinstance(value, list):
    return [_tree(item) for item in list.__iter__(value)]
  for name, kind in _SEQUENCES.items():
    if isinstance(value, kind):
      return {'t': name, 'v': [_tree(v) for v in kind.__iter__(value)]}
  if isinstance(value, dict):
    return {
      't': 'dict', 'v': [[_tree(k), _tree(v)] for k, v in dict.items(value)]
    }  # fmt: skip
  if isinstance(value, bytes):
    return {'t': 'bytes', 'v': value.hex()}
  if isinstance(value, complex):
    return {'t': 'complex', 'v': [value.real, value.imag]}
  return {'t': 'other', 'v': type(value).__name__}


def decode(text: str) -> Any:
  """The value of a text; for hostile text only where a hang hurts nobody.

  Raises:
    ValueError: it is not the text of a value.
  """
  return _value(_load(text))


def _load(text):
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'not the text of a value: {text[:40]!r}') from error


def _value(tree):
  if isinstance(tree, list):
    return [_value(item) for item in tree]
  if not isinstance(tree, dict):
    return tree
  name, content = tree.get('t'), tree.get('v')
  try:
    if name in _SEQUENCES:
      return _SEQUENCES[name]([_value(item) for item in content])
    if name == 'dict':
      return {_value(key): _value(value) for key, value in content}
    if name == 'bytes':
      return bytes.fromhex(content)
    if name == 'complex':
      return complex(*content)
    if name == 'int':
      return int(content, 16)
  except TypeError as error:
    raise ValueError(f'not a {name}: {str(content)[:40]}') from error
  raise ValueError(f'a value of type {content!r} has no text')


def same(
  expected: str, actual: str, tolerance: float = 0.0, by_value: bool = False
) -> bool:
  """Whether two texts are the same value, types included.

  1, 1.0 and True differ; so do lists and tuples.  Sets and dicts have no
  order, 0.0 is -0.0 and nan is nan.

  Args:
    expected: a trusted text.
    actual: any text, hostile ones included.
    tolerance: of floats, absolute and relative, >= 0.
    by_value: numbers are the same whatever their type, as Python's == has it.

  Raises:
    ValueError: one is not the text of a value.
  """
  try:
    left, right = _ordered(_load(expected)), _ordered(_load(actual))
    return _same(left, right, tolerance, by_value)
  except (RecursionError, TypeError, KeyError) as error:
    raise ValueError(f'not the text of a value: {actual[:40]!r}') from error


def _ordered(tree):
  """The same tree, sets and dicts in the order of their items' texts."""
  if isinstance(tree, list):
    return [_ordered(item) for item in tree]
  if not isinstance(tree, dict):
    return 0.0 if isinstance(tree, float) and tree == 0 else tree
  name, content = tree['t'], tree['v']
  if name == 'other':
    raise TypeError(f'a value of type {content!r} has no text')
  if name in ('tuple', 'set', 'frozenset', 'dict'):
    content = [_ordered(item) for item in content]
    if name != 'tuple':
      content.sort(key=_order)
  return {'t': name, 'v': content}


def _order(tree):
  """Sorts numbers by size, so that near floats meet their partners."""
  key = tree[0] if isinstance(tree, list) and tree else tree
  if isinstance(key, int | float) and key == key:
    return (0, float(max(-1e300, min(1e300, key))), json.dumps(tree))
  return (1, 0.0, json.dumps(tree))


def _same(left, right, tolerance, by_value):
  if by_value and isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
    return _close(left, right, tolerance)
  if type(left) is not type(right):
    return False
  if isinstance(left, float):
    return _close(left, right, tolerance)
  if isinstance(left, list):
    return len(left) == len(right) and all(
      _same(a, b, tolerance, by_value) for a, b in zip(left, right, strict=True)
    )
  if isinstance(left, dict):
    return left['t'] == right['t'] and _same(
      left['v'], right['v'], tolerance, by_value
    )
  return left == right


def _close(left, right, tolerance):
  if left == right or (left != left and right != right):
    return True
  if tolerance <= 0 or max(abs(left), abs(right)) > 1e300:
    return False
  return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
