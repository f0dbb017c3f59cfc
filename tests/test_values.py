"""Values as text: every type told apart, nothing of the other side believed."""

import math

import pytest

from k15.rewards import values

VALUES = [
  None, True, 0, -7, 2**80, 10**5000, 1.5, -0.0, float('inf'), '', 'é\ud800',
  [], [1, [2]], (), (1,), set(), {1, 2}, frozenset({3}), {}, {(1, 2): {3.5}},
  b'\x00\xff', 1 - 2j,
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
    '{"t":["x"],"v":1}', '1' * 5000,
  ],
)  # fmt: skip
def test_hostile_text_is_refused_or_differs(text):
  try:
    assert not values.same(values.encode(1), text)
  except ValueError as error:
    assert 'not the text of a value' in str(error)


def test_what_has_no_text_never_agrees():
  text = values.encode(object())
  with pytest.raises(ValueError, match='text of a value'):
    values.same(text, text)
  with pytest.raises(ValueError, match='has no text'):
    values.decode(text)
