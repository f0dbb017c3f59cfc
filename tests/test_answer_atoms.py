"""Numbers, letters and functions."""

import fractions

import pytest

from k15.rewards import answer_parser
from k15.rewards import answer_tokens

X = ('sym', 'x')


def num(value):
  return ('num', fractions.Fraction(value), None)


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
    (r'\sqrt[3]{x}', ('fn', 'root', X, num(3))),
    ('sqrt(x)', ('fn', 'sqrt', X)),
    (r'\sin^2 x', ('pow', ('fn', 'sin', X), num(2))),
    (r'\sin^{-1} x', ('fn', 'arcsin', X)),
    (r'\log_2 x', ('fn', 'log', X, num(2))),
    (r'\gcd(x, 2)', ('fn', 'gcd', X, num(2))),
    (r'\lceil x \rceil', ('fn', 'ceil', X)),
    ('2^{x}', ('pow', num(2), X)),
    ('x^10', ('pow', X, num(10))),
  ],
)
def test_atom(text, tree):
  assert answer_parser.parse(text) == tree


@pytest.mark.parametrize('text', ['52_{100}', r'\gcd(2)', r'\log_', 'word'])
def test_no_atom(text):
  if text == 'word':
    assert answer_parser.parse(text)[0] == 'mul'  # Four letters, multiplied.
    return
  with pytest.raises(answer_tokens.ParseError):
    answer_parser.parse(text)
