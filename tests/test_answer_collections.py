"""Equality of lists, tuples, sets, matrices."""

import pytest

from k15.rewards import answer_collections
from k15.rewards import answer_equality
from k15.rewards import answer_parser

ROW = r'\begin{pmatrix} 1 & 2 \end{pmatrix}'
COLUMN = r'\begin{pmatrix} 1 \\ 2 \end{pmatrix}'


def _trees(*texts):
  return [answer_parser.parse(text) for text in texts]


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
  said = answer_collections.equal(*trees, answer_equality.equal)
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
  said = answer_collections.matrices_equal(*trees, answer_equality.equal)
  assert said is equal
