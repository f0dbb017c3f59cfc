"""Equality of lists, tuples, sets, matrices.

Names, letters and values of parsed answers.
"""

import pytest

from k15.rewards.answers import equality
from k15.rewards.answers import parser
from k15.rewards.answers import parts
from k15.rewards.answers import values as values_lib

ROW = r'\begin{pmatrix} 1 & 2 \end{pmatrix}'
COLUMN = r'\begin{pmatrix} 1 \\ 2 \end{pmatrix}'


def _trees(*texts):
  return [parser.parse(text) for text in texts]


@pytest.mark.parametrize(
  ('gold', 'answer', 'equal'),
  [
    ('2, 3', '3, 2', True),
    ('2, 3', '2, 3, 3', True),
    ('2, 3', '2, 4', False),
    ('2, 3', r'\{3, 2\}', True),
    ('2', '2, 2.0', True),
    ('2, 2.0', '2', True),
    ('2', '2, 3', False),
    ('2, 3', '2', False),
    ('(2, 3)', '(3, 2)', False),
    ('(2, 3)', '[2, 3]', False),
    ('(2, 3)', '2, 3', True),
    ('(2, 3]', '2, 3', False),
    ('(2, 3)', r'\{2, 3\}', False),
    ('(2, 3)', 'x = 2, y = 3', True),
    ('(2, 3)', 'x = 3, y = 2', False),
    ('x = 2, y = 3', 'y = 3, x = 2', True),
    ('x = 2, y = 3', '2, 3', True),
    ('x = 2, y = 3', '3, 2', False),
    (r'\{2\}', '2', True),
    (ROW, '(1, 2)', True),
    (COLUMN, '(1, 2)', True),
    (COLUMN, '(2, 1)', False),
  ],
)
def test_equal(gold, answer, equal):
  trees = _trees(gold, answer)
  said = parts.equal(*trees, equality.equal)
  assert said is equal


@pytest.mark.parametrize(
  ('gold', 'answer', 'equal'),
  [
    (ROW, COLUMN, False),
    (ROW, r'\frac{1}{2} \begin{pmatrix} 2 & 4 \end{pmatrix}', True),
    (ROW, r'-\begin{pmatrix} -1 & -2 \end{pmatrix}', True),
    (ROW, r'2 \begin{pmatrix} 2 & 4 \end{pmatrix}', False),
    (ROW, '1', False),
  ],
)
def test_matrices(gold, answer, equal):
  trees = _trees(gold, answer)
  said = parts.matrices_equal(*trees, equality.equal)
  assert said is equal


def _spread(text):
  return parts.spread(parser.parse(text))


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
  assert _spread(text)[1] == [parser.parse(value) for value in values]


def test_values_of_two_letters_stay():
  tree = parser.parse('x = 2, y = 3')
  assert parts.spread(tree) == tree


def test_too_many_values():
  with pytest.raises(values_lib.TooLarge):
    _spread(','.join(['x'] * (parts.MAX_ITEMS + 1)))


@pytest.mark.parametrize(
  ('text', 'is_name'),
  [('x', True), ('AB/CD', True), ('(x,y)', True), ('2', False), ('e', False)],
)
def test_is_name(text, is_name):
  assert parts.is_name(parser.parse(text)) is is_name


def test_symbols():
  tree = parser.parse(r'x_1 + \pi e^{i \alpha} = (2, y)')
  assert parts.symbols(tree) == {'x_1', 'alpha', 'y'}


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
  assert parts.is_region(parser.parse(text)) is is_region
