"""Tests of k15/curation/near_duplicates.py."""

import pytest

from k15.curation import near_duplicates
from k15.data_types import ImageRef, Problem

STORY = (
  'Josie received $50 as a gift. She plans to buy two tapes that cost $9 each'
  ' and a headphone set that costs $25. How much money will she have left?'
)
OTHER_NAME = STORY.replace('Josie', 'Amanda')
OTHER_NUMBER = STORY.replace('$25', '$24')


def _problems(*pairs):
  return [Problem(str(i), *pair) for i, pair in enumerate(pairs)]


@pytest.mark.parametrize(
  ('a', 'b'),
  [
    ('Evaluate $\\log_82$.', 'evaluate  $\\log_8 2$'),
    ('Find $\\dfrac12 x$', 'Find \\frac{1}{2}x.'),
    ('What is $\\left( 1 \\right)\\!$?', 'What is (1)?'),
    ('Find $x$ if \\[x=1.\\]', 'Find \\(x\\) if $$x = 1.$$'),
    ('ＡＢＣ　１', 'abc 1'),  # Full-width forms, by NFKC.
  ],
)
def test_normal_forms_are_equal(a, b):
  assert near_duplicates.normal_form(a) == near_duplicates.normal_form(b)


@pytest.mark.parametrize(
  ('a', 'b'),
  [
    ('What is $88 \\div (4 \\div 2)$?', 'What is $88 \\div 4 \\div 2$?'),
    ('What is $12 + 3$?', 'What is $1 + 23$?'),
    ('Find $x^2$', 'Find $x_2$'),
  ],
)
def test_normal_forms_keep_what_matters(a, b):
  assert near_duplicates.normal_form(a) != near_duplicates.normal_form(b)


def test_tokens_read_numbers_figures_and_scripts():
  read = near_duplicates.tokens
  assert read('4,\\!989,\\!600 at (1,2)') == [
    '4989600', 'at', '(', '1', '2', ')',
  ]  # fmt: skip
  assert read('\\dfrac12 = \\frac{1}{2}') == [
    'frac', '1', '2', '=', 'frac', '1', '2',
  ]  # fmt: skip
  assert read('[asy] draw((0,0)--(9,9)); label("$12$",(0,0)); [/asy] area') == [
    '12', 'area',
  ]  # fmt: skip
  assert read('三角形 ABC') == ['三', '角', '形', 'abc']
  assert read('37^\\circ') == read('37')
  assert read('\\mathbf{2340}') == read('2340')


def test_similarity_is_of_sets_of_pairs():
  a = near_duplicates.shingles(['a', 'b', 'c', 'd'])
  b = near_duplicates.shingles(['a', 'b', 'c', 'e'])
  # {ab, bc, cd} and {ab, bc, ce}: 2 in common of 4.
  assert near_duplicates.similarity(a, b) == 0.5
  assert near_duplicates.similarity(frozenset(), frozenset()) == 0
  assert near_duplicates.shingles(['x']) == {'x'}
  assert near_duplicates.shingles([]) == frozenset()


def test_a_duplicate_has_the_same_numbers_and_answer():
  (first,) = _problems((STORY, '7'))
  find = near_duplicates.find

  def kind(prompt, answer, variant=0.0):
    match = find([Problem('n', prompt, answer)], [first], 0.55, variant).get(0)
    return match and (match.kind, match.other.id)

  assert kind(STORY.upper(), '7') == ('exact', '0')
  assert kind(OTHER_NAME, '7') == ('duplicate', '0')
  assert kind(OTHER_NAME, '7.') == ('duplicate', '0')
  assert kind(OTHER_NAME, '8') is None
  assert kind(OTHER_NAME, '') == ('duplicate', '0')  # Nothing speaks against.
  assert kind(OTHER_NUMBER, '8') is None
  assert kind(OTHER_NUMBER, '8', variant=0.8) == ('variant', '0')
  assert kind('Something else altogether, is it?', '7', variant=0.8) is None


def test_the_most_similar_is_named_and_of_equals_the_first():
  near = STORY.replace('plans', 'wants')
  known = _problems((near, '7'), (STORY, '7'), (STORY, '7'))
  match = near_duplicates.find(
    [Problem('n', OTHER_NAME, '7')], known, 0.55, 0.0
  )[0]
  assert match.other.id == '1' and 0.9 < match.similarity < 1


def test_within_a_set_the_first_stays():
  problems = _problems((STORY, '7'), ('1+1?', '2'), (OTHER_NAME, '7'))
  matches = near_duplicates.find_within(problems, 0.55)
  assert list(matches) == [2] and matches[2].other is problems[0]


def test_nothing_repeats_what_left_itself():
  words = [x + y for x in 'abcdefgh' for y in 'mnopq']
  # 29 pairs each; a and b share 24 of 34 (0.71), a and c 19 of 39 (0.49).
  a, b, c = (' '.join(words[i : i + 30]) for i in (0, 5, 10))
  problems = _problems((a, '1'), (b, '1'), (c, '1'))
  assert list(near_duplicates.find_within(problems, 0.6)) == [1]
  assert list(near_duplicates.find_within(problems[1:], 0.6)) == [1]


LONG = 'What is the remainder when $2^{100}$ is divided by 7'
SHORT = 'Compute $\\sin 60^\\circ$.'


@pytest.mark.parametrize(
  ('text', 'kind'),
  [
    (LONG, 'exact'),
    (' what is the  remainder when 2^{100} is divided by $7$?', 'exact'),
    (f'Solve it step by step.\n\n{LONG}?\nBox the answer.', 'extension'),
    (f'{LONG}? Explain.', 'extension'),
    (f'{LONG}3?', None),  # divided by 73
    (f'1{LONG}', 'extension'),
    (SHORT, 'exact'),
    (f'{SHORT} Please reason step by step.', 'extension'),
    (f'Question:\n{SHORT}\nAnswer:', 'extension'),
    ('Compute $2\\sin 60^\\circ + 1$.', None),
    ('7+1', 'exact'),
    ('What is 7+1?', None),  # Too short to be looked for within others.
    ('', None),
  ],
)
def test_word_for_word_with_other_words_around(text, kind):
  known = near_duplicates.Known(
    _problems((LONG + '?', '2'), (SHORT, ''), ('7 + 1', '8'), ('$$', ''))
  )
  match = known.find(text)
  assert (match and match.kind) == kind


def test_texts_without_words_repeat_nothing():
  problems = _problems(('???', '1'), ('!!...', '1'))
  assert near_duplicates.find_within(problems, 0.55) == {}


def test_hashing_finds_what_its_numbers_promise():
  # At similarity s a pair is found with 1 - (1 - s^3)^42: 0.9995 at 0.55.
  promise = 1 - (1 - 0.55**3) ** near_duplicates.BANDS
  assert near_duplicates.ROWS == 3 and promise > 0.999


def _seen(prompt, answer, *digests):
  images = tuple(ImageRef(digest, 8, 8, '') for digest in digests)
  return Problem(f'{prompt} {digests}', prompt, answer, images=images)


ASKED = 'How many red circles are there in this picture of shapes?'


def test_other_pictures_are_other_problems():
  problems = [
    _seen(ASKED, '2', 'a'), _seen(ASKED, '2', 'b'), _seen(ASKED, '2'),
    _seen(ASKED, '2', 'a', 'b'), _seen(f'Now: {ASKED}', '2', 'a'),
  ]  # fmt: skip
  assert list(near_duplicates.find_within(problems, 0.55)) == [4]
  evaluated = [_seen(ASKED, '9', 'b')]
  found = near_duplicates.find(problems, evaluated, 0.55, 0.8)
  assert {i: match.kind for i, match in found.items()} == {1: 'exact'}
  known = near_duplicates.Known(evaluated)
  assert known.find(ASKED) is None and known.find(ASKED, ('a',)) is None
  assert known.find(f'{ASKED} Think first.', ('b',)).kind == 'extension'
