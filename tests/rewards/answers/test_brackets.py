"""Tuples, intervals, sets, absolute values, matrices."""

import fractions

import pytest

from k15.rewards.answers import parser
from k15.rewards.answers import tokens

X = ('sym', 'x')
ONE, TWO = (('num', fractions.Fraction(i), None) for i in (1, 2))


@pytest.mark.parametrize(
  ('text', 'tree'),
  [
    ('(1,2]', ('seq', '(', ']', [ONE, TWO])),
    (']1,2[', ('seq', '(', ')', [ONE, TWO])),
    (r'\langle 1, 2 \rangle', ('seq', '(', ')', [ONE, TWO])),
    (r'\{1\}', ('seq', '{', '}', [ONE])),
    (r'\{\}', ('seq', '{', '}', [])),
    (r'\emptyset', ('seq', '{', '}', [])),
    (r'\{x | x > 1\}', ('rel', [X, ONE], ['>'])),
    (r'\{x \in \reals : x > 1\}', ('rel', [X, ONE], ['>'])),
    ('|x|', ('fn', 'abs', X)),
    ('(x)', X),
    (r'\begin{pmatrix} 1 & 2 \end{pmatrix}', ('matrix', [[ONE, TWO]])),
    (r'\begin{array}{c} 1 \\ 2 \\ \end{array}', ('matrix', [[ONE], [TWO]])),
  ],
)
def test_brackets(text, tree):
  assert parser.parse(text) == tree


@pytest.mark.parametrize(
  'text',
  [
    '(1]', '|x', r'\{1', '(1,2', r'\begin{pmatrix} 1 & 2 \\ 3 \end{pmatrix}',
    r'\begin{pmatrix} 1 \end{matrix}', r'\begin{verbatim} 1 \end{verbatim}',
  ],
)  # fmt: skip
def test_unreadable(text):
  with pytest.raises(tokens.ParseError):
    parser.parse(text)
