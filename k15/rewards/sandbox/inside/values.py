"""Python values as text and back, every type told apart.

A program under judgement hands its return value out as text; the trusted side
compares texts and builds no objects of it: nothing can override __eq__, and
crafted hashes collide with nothing.  Runs on both sides of the sandbox: it
needs nothing but the standard library.

The text is JSON.  None, booleans, integers, floats, strings and lists are
themselves; everything else is an object {"t": type, "v": content}:
tuple, set, frozenset, deque (lists), keys, items, values (views of a dict, as
lists), iterator (a list: what it had left), dict (pairs), range (three
integers), bytes, bytearray (hex), complex (two floats), fraction (two
integers), decimal (text), int (hex, where decimals would be long), ndarray
(type, nested lists), other (a type without a text).  Scalars of numpy are
the Python numbers they stand for.
"""

import collections
import decimal
import fractions
import importlib
import itertools
import json
import math
from collections import abc
from typing import Any

MAX_DECIMAL_BITS = 4096  # longer integers are written in hex
_NUMBERS = bool | int | float | fractions.Fraction | decimal.Decimal
# Larger ones could keep the trusted side busy; no right answer is one.
_MAX_FRACTION_BITS, _MAX_DECIMAL_DIGITS = 1 << 16, 10_000
_MAX_ITERATED = 1 << 16  # an iterator may be endless
_SEQUENCES = {
  'tuple': tuple, 'set': set, 'frozenset': frozenset,
  'deque': collections.deque,
}  # fmt: skip
_VIEWS = {
  'keys': abc.KeysView, 'items': abc.ItemsView, 'values': abc.ValuesView,
}  # fmt: skip
# Equal to each other where their items are, as Python's == has it.
_FAMILIES = {
  'frozenset': 'set', 'keys': 'set', 'items': 'set', 'bytearray': 'bytes',
}  # fmt: skip
_UNORDERED = ('set', 'frozenset', 'keys', 'items', 'dict')
_WITH_ITEMS = (*_SEQUENCES, *_VIEWS, 'iterator', 'dict')


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
  if isinstance(value, bytes | bytearray):
    name = 'bytes' if isinstance(value, bytes) else 'bytearray'
    return {'t': name, 'v': value.hex()}
  if isinstance(value, complex):
    return {'t': 'complex', 'v': [value.real, value.imag]}
  if isinstance(value, fractions.Fraction):
    pair = value.numerator, value.denominator
    return {'t': 'fraction', 'v': [_tree(number) for number in pair]}
  if isinstance(value, decimal.Decimal):
    if not value.is_finite():
      return math.nan if value.is_nan() else float(value)
    return {'t': 'decimal', 'v': str(value)}
  if isinstance(value, range):
    bounds = value.start, value.stop, value.step
    return {'t': 'range', 'v': [_tree(number) for number in bounds]}
  return _rare_tree(value)


def _rare_tree(value):
  for name, kind in _VIEWS.items():
    if isinstance(value, kind):
      return {'t': name, 'v': [_tree(item) for item in value]}
  if isinstance(value, abc.Iterator):
    items = list(itertools.islice(value, _MAX_ITERATED + 1))
    if len(items) <= _MAX_ITERATED:
      return {'t': 'iterator', 'v': [_tree(item) for item in items]}
  if type(value).__module__ == 'numpy' and hasattr(value, 'dtype'):
    if type(value).__name__ == 'ndarray' and value.dtype.kind in 'biufc':
      return {'t': 'ndarray', 'v': [str(value.dtype), _tree(value.tolist())]}
    if value.ndim == 0 and type(value.item()).__module__ != 'numpy':
      return _tree(value.item())
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
    if name in _WITH_ITEMS:
      return _collection(name, [_value(item) for item in content])
    if name in ('bytes', 'bytearray'):
      data = bytes.fromhex(content)
      return data if name == 'bytes' else bytearray(data)
    if name == 'complex':
      return complex(*content)
    if name == 'range':
      return range(*map(_value, content))
    if name == 'ndarray':
      kind, items = content
      return importlib.import_module('numpy').array(_value(items), kind)
    if name in ('int', 'fraction', 'decimal'):
      return _number(name, content)
  except (TypeError, ValueError, ArithmeticError, ImportError) as error:
    raise ValueError(f'not a {name}: {str(content)[:40]}') from error
  raise ValueError(f'a value of type {content!r} has no text')


def _collection(name, items):
  if name in _SEQUENCES:
    return _SEQUENCES[name](items)
  if name == 'iterator':
    return iter(items)
  if name == 'keys':
    return dict.fromkeys(items).keys()
  if name == 'values':
    return dict(enumerate(items)).values()
  pairs = dict(items)
  return pairs.items() if name == 'items' else pairs


def _number(name, content):
  """An integer, fraction or decimal of no more digits than a real one has.

  Raises:
    ValueError, TypeError, ArithmeticError: it is none.
  """
  if name == 'int':
    return int(content, 16)
  if name == 'fraction':
    above, below = (int.__index__(_value(number)) for number in content)
    if max(above.bit_length(), below.bit_length()) > _MAX_FRACTION_BITS:
      raise ValueError(f'a fraction of more than {_MAX_FRACTION_BITS} bits')
    return fractions.Fraction(above, below)
  if len(content) > _MAX_DECIMAL_DIGITS:
    raise ValueError(f'{len(content)} digits')
  number = decimal.Decimal(content)
  if not number.is_finite() or abs(number.adjusted()) > _MAX_DECIMAL_DIGITS:
    raise ValueError(f'a decimal beyond 1e{_MAX_DECIMAL_DIGITS}')
  return number


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
    by_value: numbers are the same whatever their type, and so are sets and
      bytes, as Python's == has it.

  Raises:
    ValueError: one is not the text of a value.
  """
  try:
    left, right = (_ordered(_load(t), {}) for t in (expected, actual))
    return _same(left, right, tolerance, by_value)
  except (RecursionError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(f'not the text of a value: {actual[:40]!r}') from error


def _ordered(tree, ranks):
  """The same tree, sets and dicts in the order of their items.

  Numbers that have objects become Python's own: nothing in them can override
  a comparison.  `ranks` holds what `_rank` has said of lists and objects.
  """
  if isinstance(tree, list):
    return [_ordered(item, ranks) for item in tree]
  if not isinstance(tree, dict):
    return 0.0 if isinstance(tree, float) and tree == 0 else tree
  name, content = tree['t'], tree['v']
  if name == 'other':
    raise TypeError(f'a value of type {content!r} has no text')
  if name in ('int', 'fraction', 'decimal'):
    try:
      return _number(name, content)
    except (ValueError, ArithmeticError) as error:
      raise TypeError(f'not a {name}') from error
  if name == 'complex' and [type(part) for part in content] != [float, float]:
    raise TypeError('not a complex')
  if name in _WITH_ITEMS:
    content = [_ordered(item, ranks) for item in content]
    if name in _UNORDERED:
      content.sort(key=lambda item: _rank(item, ranks))
  return {'t': name, 'v': content}


def _rank(tree, ranks):
  """Sorts numbers by size, so that near ones meet their partners."""
  if tree is None:
    return (0,)
  if isinstance(tree, _NUMBERS):
    return (2, tree) if tree == tree else (1,)
  if isinstance(tree, str):
    return (3, tree)
  if id(tree) not in ranks:  # Once each, however deep sets are nested.
    if isinstance(tree, list):
      rank = (4, [_rank(item, ranks) for item in tree])
    else:
      name = tree['t']
      rank = (5, _FAMILIES.get(name, name), _rank(tree['v'], ranks))
    ranks[id(tree)] = rank
  return ranks[id(tree)]


def _same(left, right, tolerance, by_value):
  if by_value:
    left, right = _plain(left), _plain(right)
    if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
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


def _plain(tree):
  """One type for those whose values can be equal."""
  if not isinstance(tree, dict):
    return tree
  name, content = tree['t'], tree['v']
  if name == 'complex' and content[1] == 0:
    return content[0]
  return {'t': _FAMILIES.get(name, name), 'v': content}


def _close(left, right, tolerance):
  if left == right or (left != left and right != right):
    return True
  if tolerance <= 0 or max(abs(left), abs(right)) > 1e300:
    return False
  return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
