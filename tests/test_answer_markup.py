"""One spelling for what looks alike."""

import pytest

from k15.rewards import answer_markup


@pytest.mark.parametrize(
  ('answer', 'markup'),
  [
    (r'\dfrac{1}{2}', r'\frac{1}{2}'),
    (r'\left(3,\,4\right)', '(3, 4)'),
    (r'1{,}234', '1234'),
    (r'1\,234', '1234'),
    (r'1,\!234', '1234'),
    ('1 234 567', '1234567'),
    ('3 1/2', r'3\frac{1}{2}'),
    ('¾', r'\frac{3}{4}'),
    ('x²⁰', 'x^{20}'),
    ('٤٢', '42'),
    ('４２', '42'),
    ('−3', '-3'),
    (r'60^\circ', r'60\circ'),
    ('60°', r'60\circ'),
    (r'30\%', '30%'),
    ('30 percent', '30%'),
    (r'\mathbb{R}', r'\reals'),
    (r'\mathbb{Z}', 'Z'),
    (r'\\frac{1}{2}', r'\frac{1}{2}'),
    (r'**7**', '7'),
    ('7.', '7'),
    ('$5', r'\$5'),
    ('$5$', '5'),
    (r'\therefore 7', '7'),
    ('0.333...', r'0.333\ldots'),
  ],
)
def test_markup(answer, markup):
  assert answer_markup.markup(answer).replace(r'\circ ', r'\circ') == markup
