"""The levels of binding."""

import fractions

import pytest

from k15.rewards import answer_parser
from k15.rewards import answer_tokens

X, Y = ('sym', 'x'), ('sym', 'y')


def num(value):
  return ('num', fractions.Fraction(value), None)


@pytest.mark.parametrize(
  ('text', 'tree'),
  [
    ('-x', ('neg', X)),
    ('1-x', ('add', num(1), ('neg', X))),
    ('2x', ('mul', num(2), X)),
    ('x/2y', ('mul', ('div', X, num(2)), Y)),
    ('x^2y', ('mul', ('pow', X, num(2)), Y)),
    ('-x^2', ('neg', ('pow', X, num(2)))),
    (r'2\frac{1}{3}', ('add', num(2), ('div', num(1), num(3)))),
    (r'2\frac{x}{3}', ('mul', num(2), ('div', X, num(3)))),
    (r'\pm x', ('pm', 1, X)),
    ('x!', ('fn', 'factorial', X)),
    (r'x\circ', ('deg', X)),
    ('x%', ('pct', X)),
    ('x:y', ('ratio', X, Y)),
    ('x=y', ('rel', [X, Y], ['='])),
    (r'1 \le x < y', ('rel', [num(1), X, Y], ['<=', '<'])),
    ('x, y', ('list', [X, Y], [','])),
    ('x or y', ('list', [X, Y], ['or'])),
    (r'x \pmod{7}', ('mod', X, num(7))),
    ('x (mod 7)', ('mod', X, num(7))),
    (r'x \choose y', ('fn', 'binomial', X, Y)),
    (r'x \cup y', ('op', 'cup', X, Y)),
  ],
)
def test_parse(text, tree):
  assert answer_parser.parse(text) == tree


@pytest.mark.parametrize(
  'text', ['', '1+', '(1', '1)', '=2', r'\foo', 'abcdef', '1 2', '{' * 100]
)
def test_unreadable(text):
  with pytest.raises(answer_tokens.ParseError):
    answer_parser.parse(text)
