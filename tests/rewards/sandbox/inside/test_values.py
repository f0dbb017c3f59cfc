"""Values as text: every type told apart, nothing of the other side believed."""

import collections
import decimal
import fractions
import math

import pytest

from k15.rewards.sandbox.inside import values

Decimal, Fraction = decimal.Decimal, fractions.Fraction
VALUES = [
  None, True, 0, -7, 2**80, 10**5000, 1.5, -0.0, float('inf'), '', 'é\ud800',
  [], [1, [2]], (), (1,), set(), {1, 2}, frozenset({3}), {}, {(1, 2): {3.5}},
  b'\x00\xff', 1 - 2j, bytearray(b'a'), Fraction(1, 3), Fraction(2**9000, 3),
  Decimal('0.10'), Decimal('-1e30'), collections.deque([1, 'a']),
  range(1, 9, 2),
]  # fmt: skip


@pytest.mark.parametrize('value', VALUES, ids=lambda v: type(v).__name__)
def test_a_value_comes_back_as_it_was(value):
  back = values.decode(values.encode(value))
  assert back == value and type(back) is type(value)


@pytest.mark.parametrize(
  ('left', 'right'),
  [
    (1, 1.0), (1, True), (0, False), (1.0, True), ('1', 1), ([1], (1,)),
    ({1}, frozenset({1})), ({1}, [1]), ({}, set()), (b'a', 'a'), (None, 0),
    ('', None), ((1, 2), [1, 2]), ({1: 2}, {1: 2.0}), (1 + 0j, 1.0),
    ([1, 2], [2, 1]), ([1], [1, 1]), ('a', 'a '), (2**80, 2**80 + 1),
  ],
)  # fmt: skip
def test_types_and_values_are_told_apart(left, right):
  left, right = values.encode(left), values.encode(right)
  assert not values.same(left, right) and not values.same(right, left)
  assert values.same(left, left) and values.same(right, right)


def test_order_counts_only_where_there_is_one():
  assert values.same(
    values.encode({1: 'a', 2: 'b'}), values.encode({2: 'b', 1: 'a'})
  )
  assert values.same('{"t":"set","v":[3,1,2]}', '{"t":"set","v":[2,3,1]}')


def test_nan_is_nan_and_zero_is_minus_zero():
  assert values.same(values.encode(math.nan), values.encode(math.nan))
  assert values.same(values.encode(0.0), values.encode(-0.0))
  assert values.encode(Decimal('-Infinity')) == values.encode(-math.inf)
  assert values.encode(Decimal('sNaN')) == values.encode(math.nan)
  assert not values.same(values.encode(0.0), values.encode(math.nan))


def test_tolerance_is_of_floats_alone():
  def same(left, right, tolerance=1e-6, **options):
    texts = values.encode(left), values.encode(right)
    return values.same(*texts, tolerance, **options)

  assert same(1.0, 1.0 + 9e-7) and not same(1.0, 1.0 + 2e-6)
  assert same([{2.0: 'a'}], [{2.0 + 1e-7: 'a'}])
  assert same({1.0, 2.0}, {2.0 + 1e-7, 1.0 - 1e-7})
  assert not same(10**7, 10**7 + 1)
  assert not same(math.inf, 1e308) and not same(math.inf, -math.inf)
  assert not same(1.0, math.nan) and same(math.inf, math.inf)
  assert not same(1, 1.0) and same(1, 1.0, by_value=True)
  assert same(1, True, 0.0, by_value=True)
  assert not same('1', 1, by_value=True)


def views(pairs):
  return [dict(pairs).keys(), dict(pairs).items(), dict(pairs).values()]


@pytest.mark.parametrize(
  ('returned', 'plain'),
  [
    (Fraction(1, 2), 0.5), (Fraction(4, 2), 2), (Fraction(1, 10), 0.1),
    (Fraction(1), True), (Decimal(3), 3), (Decimal('3.0'), 3.0),
    (Decimal('0.1'), 0.1), (Decimal('0.5'), 0.5), (Decimal('1e400'), 10**400),
    (Fraction(1, 3), 1 / 3), (Decimal('-0'), 0),
    (2 + 0j, 2), (2 + 1j, 2), ([2**19999], [2**19999]), ([2**5000], [2**5001]),
    (frozenset({1, 2.0}), {1.0, 2}), (frozenset(), set()), ({1}, [1]),
    ({1: 2, 3: 4}.keys(), {3, 1}), ({1: 2}.keys(), {2}), ({1: 2}.keys(), [1]),
    ({1: 2}.items(), {(1, 2)}), ({1: 2}.items(), {(1, 3)}),
    ({1: 2}.values(), [2]), ({1: 2}.values(), {2}),
    (bytearray(b'ab'), b'ab'), (bytearray(b'ab'), 'ab'),
    (collections.deque([1]), [1]), (collections.deque([1]), (1,)),
    (range(3), [0, 1, 2]), (map(int, '12'), [1, 2]), (iter([1]), [1]),
    ([Fraction(1, 2), {Decimal(2)}], [0.5, {2}]),
    ({Fraction(1, 2): Decimal(1)}, {0.5: 1.0}), ((Decimal(1),), [1]),
    ({Fraction(5, 2), Decimal(2), 1e30, 3}, {10.0**30, 2.5, 2, 3.0}),
    ({(10, 1.0), (9.0, 2)}, {(9, 2.0), (10.0, 1)}),
    (collections.Counter('aab'), {'a': 2, 'b': 1}),
    (collections.OrderedDict({1: 2}), {1: 2}), ('1', 1), (None, 0),
  ],
  ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_by_value_is_what_python_holds_equal(returned, plain):
  equal = returned == plain  # Of plain values: what an assert would say.
  texts = values.encode(plain), values.encode(returned)
  assert values.same(*texts, by_value=True) is equal
  assert values.same(*texts[::-1], by_value=True) is equal
  if type(returned) is not type(plain) and not isinstance(returned, dict):
    assert not values.same(*texts)  # Types are told apart elsewhere.


def test_views_and_iterators_come_back_with_what_they_held():
  keys, items, held = (
    values.decode(values.encode(v)) for v in views([(1, [2]), (3, [4])])
  )
  assert keys == {1, 3} and list(items) == [(1, [2]), (3, [4])]
  assert sorted(held) == [[2], [4]]
  assert list(values.decode(values.encode(x * x for x in (2, 3)))) == [4, 9]
  endless = values.encode(iter(int, 1))
  assert endless == '{"t":"other","v":"callable_iterator"}'


def test_numbers_of_numpy_are_numbers():
  numpy = pytest.importorskip('numpy')
  for value, plain in (
    (numpy.int64(3), 3), (numpy.float32(0.5), 0.5), (numpy.bool_(True), True),
    (numpy.float64(2), 2.0), (numpy.complex64(1j), 1j),
  ):  # fmt: skip
    assert values.encode(value) == values.encode(plain)
  array = numpy.arange(4).reshape(2, 2)
  back = values.decode(values.encode(array))
  assert back.dtype == array.dtype and (back == array).all()
  assert not values.same('[[0,1],[2,3]]', values.encode(array), by_value=True)


def test_what_overrides_comparison_counts_as_what_it_extends():
  class Liar(int):
    def __eq__(self, other):
      return True

    def __hash__(self):
      return 42

    def __index__(self):
      return 42

    def __repr__(self):
      return '42'

  class Text(str):
    def __eq__(self, other):
      return True

    def __hash__(self):
      return 1

    def __str__(self):
      return 'right'

  assert not values.same(values.encode(42), values.encode(Liar(7)))
  assert not values.same(values.encode('right'), values.encode(Text('wrong')))


@pytest.mark.parametrize(
  'text',
  [
    '', 'passed', '{"kind": "correct"}', '{"t":"set"}', '{"t":"dict","v":[1]}',
    '{"t":"other","v":"Any"}', '[' * 100_000, '{"t":"tuple","v":7}',
    '{"t":["x"],"v":1}', '1' * 5000, '{"t":"decimal","v":"1e999999999"}',
    '{"t":"decimal","v":"nan"}', '{"t":"decimal","v":1}', '{"t":"decimal"}',
    '{"t":"fraction","v":[1,0]}', '{"t":"fraction","v":[1.0,"2"]}',
    '{"t":"fraction","v":[1]}', '{"t":"complex","v":[1.0]}',
    '{"t":"complex","v":[[],{}]}', '{"t":"int","v":"x"}', '{"t":"int","v":[]}',
    '{"t":"set","v":[1,{"t":7,"v":1},{"t":[],"v":2}]}',
    '{"t":"range","v":{"a":1}}', '{"t":"keys","v":7}', '{"t":"items","v":[7]}',
    '{"t":"fraction","v":[1,{"t":"int","v":"0x1%s"}]}' % ('0' * 20_000),
  ],
)  # fmt: skip
def test_hostile_text_is_refused_or_differs(text):
  for plain in (1, 1.0, {1}, (1,), 1j):
    for by_value in (True, False):
      try:
        assert not values.same(values.encode(plain), text, 0.0, by_value)
      except ValueError as error:
        assert 'not the text of a value' in str(error)


def test_sets_in_sets_take_no_longer_than_their_text():
  deep = '1'
  for level in range(90):
    deep = f'{{"t":"frozenset","v":[{deep},{level}]}}'
  text = deep.replace(':[1,', f':[{"1," * 5_000}', 1)
  assert values.same(text, text) and not values.same(deep, text)


def test_what_has_no_text_never_agrees():
  text = values.encode(object())
  with pytest.raises(ValueError, match='text of a value'):
    values.same(text, text)
  with pytest.raises(ValueError, match='has no text'):
    values.decode(text)
