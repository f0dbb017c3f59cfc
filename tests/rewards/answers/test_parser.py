"""The levels of binding.

Numbers, letters and functions.
"""

import fractions

import pytest

from k15.rewards.answers import parser
from k15.rewards.answers import tokens

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
  assert parser.parse(text) == tree


@pytest.mark.parametrize(
  'text', ['', '1+', '(1', '1)', '=2', r'\foo', 'abcdef', '1 2', '{' * 100]
)
def test_unreadable(text):
  with pytest.raises(tokens.ParseError):
    parser.parse(text)


X_ANSWER_ATOMS = ('sym', 'x')


@pytest.mark.parametrize(
  ('text', 'tree'),
  [
    ('2.50', ('num', fractions.Fraction(5, 2), 2)),
    ('x_{10}', ('sym', 'x_10')),
    ("f'", ('sym', "f'")),
    (r'\alpha', ('sym', 'alpha')),
    (r'\infty', ('inf',)),
    ('52_8', ('based', '52', 8)),
    (r'\frac12', ('div', num(1), num(2))),
    (r'\sqrt[3]{x}', ('fn', 'root', X_ANSWER_ATOMS, num(3))),
    ('sqrt(x)', ('fn', 'sqrt', X_ANSWER_ATOMS)),
    (r'\sin^2 x', ('pow', ('fn', 'sin', X_ANSWER_ATOMS), num(2))),
    (r'\sin^{-1} x', ('fn', 'arcsin', X_ANSWER_ATOMS)),
    (r'\log_2 x', ('fn', 'log', X_ANSWER_ATOMS, num(2))),
    (r'\gcd(x, 2)', ('fn', 'gcd', X_ANSWER_ATOMS, num(2))),
    (r'\lceil x \rceil', ('fn', 'ceil', X_ANSWER_ATOMS)),
    ('2^{x}', ('pow', num(2), X_ANSWER_ATOMS)),
    ('x^10', ('pow', X_ANSWER_ATOMS, num(10))),
  ],
)
def test_atom(text, tree):
  assert parser.parse(text) == tree


@pytest.mark.parametrize('text', ['52_{100}', r'\gcd(2)', r'\log_', 'word'])
def test_no_atom(text):
  if text == 'word':
    assert parser.parse(text)[0] == 'mul'  # Four letters, multiplied.
    return
  with pytest.raises(tokens.ParseError):
    parser.parse(text)
