"""An answer taken apart, and compared as a text, numeral or time.

One spelling for what looks alike.
"""

import pytest

from k15.rewards.answers import reading


@pytest.mark.parametrize(
  ('answer', 'body'),
  [
    ('f(x)=2x+1', 'y=2x+1'),
    ('P(x)=x, Q(x)=2x', 'P=x, Q=2x'),
    ('seven', '7'),
    (r'\text{half}', r'\frac{1}{2}'),
    (r'\text{90 degrees}', '90'),
    ('The answer is 7', '7'),
    ('x=1or x=2', 'x=1 or  x=2'),
  ],
)
def test_body(answer, body):
  assert reading.read(answer).body == body


@pytest.mark.parametrize(
  ('gold', 'answer', 'same'),
  [
    ('Evelyn', r'\text{evelyn.}', True),
    ('no solution', 'No solutions', True),
    ('red and blue', 'red, blue', True),
    ('C', r'\textbf{(C)}\ 5', True),
    ('C', '(C), (D)', False),
    ('C', '(D) 5', False),
    ('x', 'X', False),
    ('', '', False),
  ],
)
def test_same_text(gold, answer, same):
  readings = map(reading.read, (gold, answer))
  assert reading.same_text(*readings) is same


@pytest.mark.parametrize(
  ('gold', 'answer', 'same'),
  [
    ('52_8', '52', True),
    ('52_8', r'52_{\text{eight}}', True),
    ('52_8', '52_9', False),
    ('52_8', '53', False),
    ('52', '52', None),
    ('52_8', 'x+1', None),
  ],
)
def test_same_numeral(gold, answer, same):
  readings = map(reading.read, (gold, answer))
  assert reading.same_numeral(*readings) is same


@pytest.mark.parametrize(
  ('gold', 'answer', 'same'),
  [
    ('2:30', '2:30 p.m.', True),
    ('2:30 PM', '2:30 am', False),
    ('2:30', '02:30', True),
    ('2:30', '2:31', False),
    ('2:3', '4:6', None),
  ],
)
def test_same_time(gold, answer, same):
  readings = map(reading.read, (gold, answer))
  assert reading.same_time(*readings) is same


def test_commas_group_digits_or_separate():
  grouped, separate = reading.read('1,234').trees
  assert grouped[0] == 'num'
  assert separate[0] == 'list'


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
  assert reading.to_markup(answer).replace(r'\circ ', r'\circ') == markup
