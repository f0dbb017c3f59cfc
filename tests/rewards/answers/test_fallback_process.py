"""What a worker does with a question, and what it refuses."""

import pytest

from k15.rewards.answers import fallback_process


@pytest.mark.parametrize(
  ('gold', 'answer', 'outcome'),
  [
    (r'\frac{1}{2}', '0.5', 'correct'),
    ('7', '8', 'wrong'),
    (r'\int_0^1 2x dx', '1', 'correct'),
    ('', '7', 'error: unparsable: reference'),
    ('7', '', 'error: unparsable: answer'),
  ],
)
def test_answer_to(gold, answer, outcome):
  assert fallback_process.answer_to(gold, answer) == outcome


@pytest.mark.parametrize(
  ('event', 'arguments'),
  [
    ('os.system', ('touch mark',)),
    ('subprocess.Popen', ('touch', [], None, None)),
    ('open', ('mark', 'w', 0)),
    ('compile', (b'__import__("os")', '<string>')),
    ('compile', ('1', '<lambdifygenerated-1>')),
    ('compile', (None, '<unknown>')),
  ],
)
def test_forbidden(event, arguments):
  with pytest.raises(fallback_process.Refused):
    fallback_process.forbid(event, arguments)


def test_allowed():
  source = b'def monomial_mul(A, B):\n    return ()\n'
  fallback_process.forbid('compile', (source, '<string>'))
  fallback_process.forbid('compile', (None, '/lib/sympy/module.py'))
  fallback_process.forbid('open', ('module.py', 'rb', 0))
  fallback_process.forbid('open', ('module.py', None, 0))


def test_numerals_are_all_that_stands_for_parse_expr():
  assert fallback_process.numeral('-12') == -12
  assert fallback_process.numeral('0.5') == 0.5
  for text in ('__import__("os")', '1+1', 'x', '１'):
    with pytest.raises(ValueError, match='not a numeral'):
      fallback_process.numeral(text)
