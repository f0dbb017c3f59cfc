"""Tokens and the cursor over them."""

import pytest

from k15.rewards.answers import tokens


def _values(text, thousands=True):
  return [value for _, value in tokens.tokens(text, thousands)[:-1]]


def test_tokens():
  assert _values(r'2\pi x_1 \le 3.5') == ['2', 'pi', 'x', '_', '1', 'le', '3.5']
  assert _values('1,234') == ['1,234']
  assert _values('1,234', thousands=False) == ['1', ',', '234']
  assert _values('(1,234)') == ['(', '1', ',', '234', ')']


def test_powers_of_ten():
  assert _values('2e-07') == ['2', 'cdot', '10', '^', '{', '-', '07', '}']
  assert _values('2e-3') == ['2', 'e', '-', '3']


@pytest.mark.parametrize(
  'text', [r'0.1\overline{6}', r'0.1\bar6', r'0.1\dot{6}', r'0.1666\ldots']
)
def test_repeating_decimals(text):
  # 0.1666... = (16 - 1) / 90.
  assert ''.join(_values(text)) == '{frac{15}{90}}'


def test_refused():
  with pytest.raises(tokens.ParseError, match='unreadable at 1'):
    tokens.tokens('7?', True)
  with pytest.raises(tokens.ParseError):
    tokens.tokens('+1' * tokens.MAX_TOKENS, True)


def test_cursor():
  cursor = tokens.Cursor(tokens.tokens('ab{c d}', True))
  cursor.shorten('b')
  assert (cursor.kind, cursor.value, cursor.previous) == ('word', 'b', '')
  cursor.advance()
  assert cursor.group() == 'cd'
  assert cursor.kind == 'end'
  with pytest.raises(tokens.ParseError, match='expected'):
    cursor.expect(')')


def test_depth():
  cursor = tokens.Cursor([('end', '')])
  for _ in range(tokens.MAX_DEPTH):
    cursor.enter()
  with pytest.raises(tokens.ParseError, match='nested'):
    cursor.enter()
