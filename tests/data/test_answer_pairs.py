"""Labels against arithmetic done another way; steps that are true.

The labelled set: balanced, distinct, split for good, reproducible.
"""

import collections
import fractions
import itertools
import re

import numpy as np
import pytest

from k15 import files
from k15.config import keys
from k15.data import answer_pairs

# Lengths in mm, times in s, weights in g, volumes in ml.
SIZES = dict(
  mm=1, cm=10, dm=100, m=1000, km=10**6, s=1, min=60, h=3600, days=86400,
  week=7 * 86400, g=1, kg=1000, t=10**6, ml=1, l=1000,
)  # fmt: skip
DIMENSIONS = ('mm cm dm m km', 's min h days week', 'g kg t', 'ml l')


def draw(kind, is_correct, count=300):
  rng = np.random.default_rng([len(kind), is_correct])
  return [answer_pairs.make_pair(kind, is_correct, rng) for _ in range(count)]


def rational(text):
  return fractions.Fraction(text.rstrip('.'))


def quantity(text):
  number, unit = text.split(' ')
  (dimension,) = [d for d in DIMENSIONS if unit in d.split(' ')]
  return int(number) * SIZES[unit], dimension


def polynomial(text):
  """x^2+sx+p at six points: two quadratics that agree there are equal."""
  text = re.sub(r'(\d)x', r'\1*x', text).replace('x^2', 'x*x')
  text = text.replace(')(', ')*(')
  assert re.fullmatch(r'[x\d+*()-]+', text)
  return [eval(text, {'x': x}) for x in range(-3, 4)]  # our own text


def meaning(pair, text):
  """What an answer stands for, read without the page's own arithmetic."""
  if pair.kind in ('fraction', 'decimal'):
    return rational(text)
  if pair.kind == 'unit':
    return quantity(text)
  if pair.kind == 'expression':
    return polynomial(text)
  numbers = re.findall(r'\d+', text)
  return numbers if pair.question == 'in this order' else sorted(numbers)


@pytest.mark.parametrize('kind', answer_pairs.KINDS)
@pytest.mark.parametrize('is_correct', [True, False])
def test_labels(kind, is_correct):
  for pair in draw(kind, is_correct):
    same = meaning(pair, pair.reference) == meaning(pair, pair.response)
    assert same == is_correct == pair.is_correct, pair


@pytest.mark.parametrize('kind', answer_pairs.KINDS)
@pytest.mark.parametrize('is_correct', [True, False])
def test_every_step_is_true_and_the_last_one_decides(kind, is_correct):
  for pair in draw(kind, is_correct, 100):
    *before, last = pair.reasoning.split('\n')
    assert last.endswith(' yes' if is_correct else ' no'), pair
    assert not any(step.endswith(' no') for step in before), pair
    for step in [*before, last]:
      _check_step(step)


def _check_step(step):
  """a*b=c+d=e, a/b=c rd, a+b=c, comparisons of texts and digits: all ours."""
  if match := re.fullmatch(r'(.+) is (.+) (yes|no)', step):
    assert (match[1] == match[2]) == (match[3] == 'yes'), step
  elif match := re.fullmatch(r'((?:[-+.\d_]{2} )+)(yes|no)', step):
    pairs = match[1].split()
    assert all(left == right for left, right in pairs[:-1]), step
    left, right = pairs[-1]
    assert (left == right) == (match[2] == 'yes'), step
  elif match := re.fullmatch(r'(\d+)/(\d+)=(\d+) r(\d+)', step):
    a, b, quotient, rest = map(int, match.groups())
    assert divmod(a, b) == (quotient, rest), step
  elif re.fullmatch(r'[-+*\d]+(=[-+\d]+)+', step):
    # 4*6=24+3=27 states 4*6=24 and 24+3=27.
    sides = step.split('=')
    for left, right in zip(sides, sides[1:], strict=False):
      assert eval(left) == int(re.match(r'[-+]?\d+', right)[0]), step
  else:
    assert re.fullmatch(r'\d+ (yes|no)|so \d+|1 \w+=\d+ \w+', step), step


def test_product_steps_by_hand():
  # 47 * 60: 7*6 = 42, carry 4; 4*6 = 24, with the carry 28: 282, then the 0
  # of 60 makes 2820.
  assert answer_pairs._times(47, 60) == ['7*6=42+0=42', '4*6=24+4=28', 'so 282']
  assert answer_pairs._times(12, 1000) == []


@pytest.mark.parametrize(
  ('left', 'right', 'step'),
  [
    (180, 186, '11 88 06 no'),
    (18, 18, '11 88 yes'),
    ('+1', '-1', '+- no'),
    (12, 120, '11 22 _0 no'),
    ('0.25', '0.2', '00 .. 22 5_ no'),
  ],
)
def test_comparisons_by_hand(left, right, step):
  assert answer_pairs._compare(left, right) == step


def test_slips_look_alike_and_differ():
  rng = np.random.default_rng(0)
  for number in range(1, 500):
    slip = answer_pairs._slip(number, rng)
    assert slip != number
    assert 0 < slip <= 10 * number + 9


def first(count, seed=0, **kwargs):
  rng = np.random.default_rng(seed)
  pairs = answer_pairs.stream(answer_pairs.KINDS, rng, **kwargs)
  return list(itertools.islice(pairs, count))


def test_kinds_and_labels_take_turns():
  pairs = first(20)
  turns = [(pair.kind, pair.is_correct) for pair in pairs]
  once = list(itertools.product(answer_pairs.KINDS, (True, False)))
  assert turns == once * 2


def test_held_out_and_training_pairs_never_meet():
  train, held_out = first(3000), first(300, seed=1, held_out=True)
  assert not {p.case for p in train} & {p.case for p in held_out}
  assert not any(map(answer_pairs.is_held_out, train))
  assert all(map(answer_pairs.is_held_out, held_out))


def test_about_one_pair_in_sixteen_is_held_out():
  rng = np.random.default_rng(0)
  share = np.mean([
    answer_pairs.is_held_out(answer_pairs.make_pair('ordering', False, rng))
    for _ in range(4000)
  ])  # fmt: skip
  # The standard deviation is sqrt(15) / 16 / sqrt(4000) = 0.004.
  assert abs(share - 1 / 16) < 0.015


def test_a_set_is_distinct_and_balanced():
  pairs = answer_pairs.make_pairs(103, answer_pairs.KINDS, True, 0)
  assert len({pair.case for pair in pairs}) == 103
  counts = collections.Counter((p.kind, p.is_correct) for p in pairs)
  # 103 = 10 turns of 10, and three more.
  assert sorted(counts.values()) == [10] * 7 + [11] * 3


def test_draws_are_reproducible_and_differ_by_seed():
  draw = (20, answer_pairs.KINDS, False)
  assert answer_pairs.make_pairs(*draw, 3) == answer_pairs.make_pairs(*draw, 3)
  assert answer_pairs.make_pairs(*draw, 3) != answer_pairs.make_pairs(*draw, 4)


def test_a_judge_sees_neither_label_nor_reasoning():
  (pair,) = first(1)
  assert pair.case == (pair.question, pair.reference, pair.response)


def test_refuses_what_it_does_not_know_or_have(monkeypatch):
  with pytest.raises(ValueError, match="unknown kind 'matrix'"):
    answer_pairs.make_pair('matrix', True, np.random.default_rng(0))
  # There are some 560; it need not look for long to find that they are few.
  monkeypatch.setattr(answer_pairs, '_DRAWS_IN_VAIN', 100)
  with pytest.raises(ValueError, match='of 2000 distinct pairs'):
    answer_pairs.make_pairs(2000, ('decimal',), True, 0)


def test_problems_are_apart_and_have_several_right_forms():
  train, held_out = answer_pairs.make_problems(64, 16, seed=3)
  assert len({p.prompt for p in train + held_out}) == 80
  assert {p.domain for p in train} == {'fraction', 'decimal'}
  rng = np.random.default_rng(0)
  for problem in train[:16]:
    right = {answer_pairs.answer(problem, True, rng) for _ in range(20)}
    assert len(right) > 1
    reference = fractions.Fraction(problem.answer)
    assert set(map(_value, right)) == {reference}
    wrong = [answer_pairs.answer(problem, False, rng) for _ in range(20)]
    assert reference not in map(_value, wrong)
  with pytest.raises(ValueError, match='of 4096 training'):
    answer_pairs.make_problems(4096, 16, seed=3)


def _value(text):
  top, _, bottom = text.partition('/')
  return fractions.Fraction(top) / fractions.Fraction(bottom or '1')


def test_pairs_of_a_file(tmp_path):
  path = tmp_path / 'pairs.jsonl'
  row = dict(question='q', reference='3/4', response='6/8', correct=True)
  files.replace_jsonl(path, [row, row | dict(reasoning='2*4=8', domain='x')])
  bare, whole = answer_pairs.read(str(path))
  assert bare == answer_pairs.Pair('', 'q', '3/4', '6/8', True, '')
  assert (whole.kind, whole.reasoning) == ('x', '2*4=8')
  for wrong in (dict(correct=1), dict(response=None), dict(reasoning=3)):
    files.replace_jsonl(path, [row | wrong])
    with pytest.raises(ValueError, match='pairs.jsonl'):
      answer_pairs.read(str(path))


def test_the_kinds_are_those_of_the_config():
  assert answer_pairs.KINDS == keys.PAIR_KINDS
