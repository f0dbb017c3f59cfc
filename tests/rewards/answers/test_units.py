"""Units taken off and converted."""

import fractions

import pytest

from k15.rewards.answers import units

Fraction = fractions.Fraction


@pytest.mark.parametrize(
  ('text', 'split'),
  [
    ('10', ('10', '', 1)),
    (r'10\text{ cm}^2', ('10', 'cm', 2)),
    ('10 square feet', ('10', 'feet', 2)),
    (r'10\text{ cubic inches}', ('10', 'inch', 3)),
    ('60 miles per hour', ('60', 'mile/hour', 1)),
    (r'\$12.50', ('12.50', 'money', 1)),
    ('5 million dollars', ('5', 'million dollar', 1)),
    ('10 apples', ('10', 'apple', 1)),
    ('10 units', ('10', 'unit', 1)),
    ('10x', ('10x', '', 1)),
    (r'2\pi cm', (r'2\pi', 'cm', 1)),
    (r'2\pi r', (r'2\pi r', '', 1)),
    ('2x cm^2', ('2x', 'cm', 2)),
    ('2 m g h', ('2 m g h', '', 1)),
    (r'60 \text{ km} / \text{h}', ('60', 'km/h', 1)),
    (r'9.8 \text{ m} / \text{s}^{2}', ('9.8', 'm/s^2', 1)),
    ('9.8 m/s^2', ('9.8', 'm/s^2', 1)),
    (r'2 \text{ hours } 30 \text{ minutes}', (r'\frac{5}{2}', 'hour', 1)),
    ('5 ft 6 in', (r'\frac{11}{2}', 'ft', 1)),
    ('2 kg 3 h', ('2 kg 3', 'h', 1)),
    ('7 or 8', ('7 or 8', '', 1)),
    (r'7 \text{ is wrong}', (r'7 \text{ is wrong}', '', 1)),
  ],
)
def test_split(text, split):
  assert units.split(text) == split


@pytest.mark.parametrize(
  ('gold', 'answer', 'factors'),
  [
    (('', 1), ('cm', 1), [1]),
    (('cm', 1), ('mm', 1), [Fraction(1, 10)]),
    (('cm', 2), ('mm', 2), [Fraction(1, 100)]),
    (('hour', 1), ('minute', 1), [Fraction(1, 60)]),
    (('cm', 1), ('kg', 1), []),
    (('cm', 2), ('cm', 3), []),
    (('', 1), ('million', 1), [1, 10**6]),
    (('million', 1), ('', 1), [1, Fraction(1, 10**6)]),
    (('red marble', 1), ('marble', 1), [1]),
    (('boy', 1), ('girl', 1), []),
    (('mph', 1), ('mile/hour', 1), [1]),
    (('m/s', 1), ('km/h', 1), [Fraction(5, 18)]),
    (('g/cm^3', 1), ('kg/m^3', 1), [Fraction(1, 1000)]),
    (('m/s^2', 1), ('m/s', 1), []),
    (('mL', 1), ('cm', 3), [1]),
  ],
)
def test_factors(gold, answer, factors):
  assert units.factors(gold, answer) == factors
