"""Sets of real numbers."""

import fractions
import math

import pytest

from k15.rewards.answers import parser
from k15.rewards.answers import regions
from k15.rewards.answers import values

INF = math.inf


def _region(text):
  return regions.region(parser.parse(text))


@pytest.mark.parametrize(
  ('text', 'pieces'),
  [
    ('[1, 2)', [(1, True, 2, False)]),
    ('x > 3', [(3, False, INF, False)]),
    ('2x + 6 > 0', [(-3, False, INF, False)]),
    ('-2x > 6', [(-INF, False, -3, False)]),
    (r'1 \le x < 2', [(1, True, 2, False)]),
    (r'x \ne 0', [(-INF, False, 0, False), (0, False, INF, False)]),
    (
      r'\reals \setminus \{0\}',
      [(-INF, False, 0, False), (0, False, INF, False)],
    ),
    (r'[1, 2] \cup (2, 3)', [(1, True, 3, False)]),
    (r'[1, 3] \cap (2, 4)', [(2, False, 3, True)]),
    ('x < 1 or x > 3', [(-INF, False, 1, False), (3, False, INF, False)]),
    ('x > 1 and x < 3', [(1, False, 3, False)]),
    ('|x - 1| < 2', [(-1, False, 3, False)]),
    (r'|x| \ge 2', [(-INF, False, -2, True), (2, True, INF, False)]),
    (r'\{1, 2\}', [(1, True, 1, True), (2, True, 2, True)]),
  ],
)
def test_region(text, pieces):
  assert _region(text) == pieces


@pytest.mark.parametrize('text', ['x^2 > 4', '[2, 1]', 'x > y', '(1, 2, 3)'])
def test_no_region(text):
  assert _region(text) is None


def test_same():
  half = fractions.Fraction(1, 2)
  assert regions.same(_region(r'[\frac12, 1)'), [(half, True, 1, False)])
  assert not regions.same(_region('[0, 1)'), _region('[0, 1]'))


def test_pieces_are_bounded():
  text = r' \cup '.join(f'[{i},{i}.5]' for i in range(40))
  with pytest.raises(values.TooLarge):
    _region(text)
