"""Names, letters and values of parsed answers."""

import pytest

from k15.rewards import answer_numbers
from k15.rewards import answer_parser
from k15.rewards import answer_shapes


def _spread(text):
  return answer_shapes.spread(answer_parser.parse(text))


@pytest.mark.parametrize(
  ('text', 'values'),
  [
    (r'\pm 7', ['7', '-7']),
    ('x = 2, x = 3', ['2', '3']),
    ('x_1 = 2, x_2 = 3', ['2', '3']),
    ('x = 2, 3', ['2', '3']),
    (r'1 \pm x', ['1+x', '1-x']),
  ],
)
def test_spread(text, values):
  assert _spread(text)[1] == [answer_parser.parse(value) for value in values]


def test_values_of_two_letters_stay():
  tree = answer_parser.parse('x = 2, y = 3')
  assert answer_shapes.spread(tree) == tree


def test_too_many_values():
  with pytest.raises(answer_numbers.TooLarge):
    _spread(','.join(['x'] * (answer_shapes.MAX_ITEMS + 1)))


@pytest.mark.parametrize(
  ('text', 'is_name'),
  [('x', True), ('AB/CD', True), ('(x,y)', True), ('2', False), ('e', False)],
)
def test_is_name(text, is_name):
  assert answer_shapes.is_name(answer_parser.parse(text)) is is_name


def test_symbols():
  tree = answer_parser.parse(r'x_1 + \pi e^{i \alpha} = (2, y)')
  assert answer_shapes.symbols(tree) == {'x_1', 'alpha', 'y'}


@pytest.mark.parametrize(
  ('text', 'is_region'),
  [
    ('x > 3', True),
    (r'[1,2] \cup [3,4]', True),
    ('x = 3', False),
    ('3', False),
  ],
)
def test_is_region(text, is_region):
  assert answer_shapes.is_region(answer_parser.parse(text)) is is_region
