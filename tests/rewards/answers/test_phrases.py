"""Words around an answer, taken off or read."""

import pytest

from k15.rewards.answers import phrases


@pytest.mark.parametrize(
  ('text', 'left'),
  [
    ('12th', '12'),
    ('1st', '1'),
    (r'12^{\text{th}}', '12'),
    (r'12^\text{th}', '12'),
    ('12^{th} term', '12  term'),
    (r'12\text{-th}', '12'),
    (r'n^{\text{th}}', 'n'),
    ('thin', 'thin'),
    ('5theta', '5theta'),
  ],
)
def test_without_ordinals(text, left):
  assert phrases.without_ordinals(text).strip() == left


@pytest.mark.parametrize(
  ('text', 'left', 'integer'),
  [
    (r'k\pi (k\in Z)', r'k\pi', 'k'),
    (r'k\pi, k \in N^{*}', r'k\pi', 'k'),
    (r'k\pi \text{ where } k \text{ is an integer}', r'k\pi', 'k'),
    (r'\{x|x=n\pi, n\in Z\}', r'\{x|x=n\pi\}', 'n'),
    (r'f(x)=0 \text{ for all } x', 'f(x)=0', ''),
    (r'f(x)=x, x\in \reals', 'f(x)=x', ''),
    (r'f(x)=0 \text{ for all } x > 0', None, ''),
    (r'x>1, x\in Z', None, ''),
    (r'x\in Z', None, ''),
    (r'\{x|x\in Z\}', None, ''),
    ('x, y', None, ''),
    ('(a, b)', None, ''),
  ],
)
def test_without_condition(text, left, integer):
  expected = (text if left is None else left), integer
  assert phrases.without_condition(text) == expected


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('(1) 5; (2) 7', ['5', '7']),
    ('(1)5 (2)7', ['5', '7']),
    ('1) 5, 2) 7, 3) 9', ['5', '7', '9']),
    ('Part (a): 5; Part (b): 7', ['5', '7']),
    (r'\text{(i)} x=1, 2; \text{(ii)} 7', ['x=1, 2', '7']),
    ('(1) 5', []),
    ('(1) 5; (3) 7', []),
    ('(1)(2)', []),
    ('(a) + (b) + c', []),
    ('5; 7', []),
  ],
)
def test_parts(text, parts):
  assert phrases.parts(text) == parts


@pytest.mark.parametrize(
  ('text', 'choice', 'content'),
  [
    ('(C)', ('C', True), ''),
    ('Option E', ('E', True), ''),
    ('B. 12', ('B', False), '12'),
    (r'\text{(B) }12', ('B', False), '12'),
    ('E - some text', ('E', False), 'some text'),
    ('B: A dog', ('B', False), 'A dog'),
    ('E - 5', ('', False), ''),
    ('A. or B.', ('', False), None),
    ('12', ('', False), ''),
  ],
)
def test_choice(text, choice, content):
  plain = text.replace(r'\text{', '').replace('}', '')
  assert phrases.choice(plain) == choice
  if content is not None and not choice[1]:
    assert phrases.without_choice(text) == content


@pytest.mark.parametrize(
  ('words', 'number'),
  [
    ('seven', '7'),
    ('twenty-one', '21'),
    ('one hundred and five', '105'),
    ('two thousand twenty', '2020'),
    ('half', r'\frac{1}{2}'),
    ('one third', r'\frac{1}{3}'),
    ('two-thirds', r'\frac{2}{3}'),
    ('one and a half', r'1\frac{1}{2}'),
    ('third', '3'),
    ('twenty-first', '21'),
    ('one two', None),
    ('and', None),
    ('even', None),
    ('', None),
  ],
)
def test_spelled_number(words, number):
  assert phrases.spelled_number(words) == number
