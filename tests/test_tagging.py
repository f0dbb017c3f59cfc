"""Tests of k15/tagging.py."""

import pytest

from k15 import tagging


@pytest.mark.parametrize(
  ('prompt', 'tag'),
  [
    ('What is the remainder when $7^{100}$ is divided by 13?', 'number theory'),
    ('In how many ways can 3 cards be chosen at random?', 'counting &'),
    ('A circle has radius 3. What is its area?', 'geometry'),
    ('Compute $\\sin 30^\\circ + \\cos 60^\\circ$.', 'precalculus'),
    ('Find the derivative of $x^2$.', 'calculus'),
    ('Solve the equation $x^2 - 5x + 6 = 0$.', 'algebra'),
    ('She buys 3 pens for 2 dollars each. How much is left?', 'word problems'),
    ('求三角形 ABC 的面积。', 'geometry'),
  ],
)
def test_disciplines_of_mathematics(prompt, tag):
  domain, discipline = tagging.by_rules(prompt)
  assert domain == 'mathematics' and discipline.startswith(tag)


@pytest.mark.parametrize(
  ('prompt', 'domain'),
  [
    ('A force of 5 N accelerates a mass of 2 kg. Friction is 1 N.', 'physics'),
    ('How many moles of acid react in this reaction?', 'chemistry'),
    ('Which allele does the DNA of the gene show?', 'biology'),
    ('Write a function in Python. assert f(1) == 2', 'coding'),
    ('Of knights and knaves, knaves always lie. Who is the knave?', 'logic'),
    ('Who wrote the Iliad?', 'general reasoning'),
    ('12 oranges', 'mathematics'),
  ],
)
def test_domains(prompt, domain):
  assert tagging.by_rules(prompt)[0] == domain


def test_a_model_is_asked_with_the_known_names():
  asked = tagging.question('What is 2+2?')
  assert 'physics' in asked and 'number theory' in asked
  assert asked.endswith('Problem: What is 2+2?\nAnswer:')


@pytest.mark.parametrize(
  ('text', 'tag'),
  [
    ('mathematics / algebra', ('mathematics', 'algebra')),
    (' **Physics / Optics**.\nBecause ...', ('physics', 'optics')),
    ('Sure!\ncoding / strings', ('coding', 'strings')),
    ('astrology / stars', None),
    ('mathematics', None),
    ('', None),
  ],
)
def test_what_a_model_says_is_read_or_refused(text, tag):
  assert tagging.read_tag(text) == tag
