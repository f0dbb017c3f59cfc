"""Domains to rewards."""

import pytest

from k15.config import routes


def test_domains_are_routed_and_the_rest_takes_the_default():
  made = routes.routes_of('exact_answer', ('a:b:exact_answer',))
  assert made == {'': 'exact_answer', 'a:b': 'exact_answer'}


@pytest.mark.parametrize(
  'default, pairs, sentence',
  [
    ('none', (), "no reward 'none'; there are exact_answer"),
    ('exact_answer', ('x:magic',), "no reward 'magic'"),
    ('exact_answer+magic', (), "'magic' cannot be added in"),
    ('math_answers+exact_answer', (), "'exact_answer' cannot be added in"),
    ('r1_format+r1_format+r1_format', (), "'r1_format' cannot be added"),
    ('r1_format+math_answers', (), "'math_answers' cannot be added"),
    ('math_answers+r1_latin+r1_cjk', (), "'r1_cjk' cannot be added"),
    ('math_answers+', (), "'' cannot be added in 'math_answers"),
    ('math_answers+-1*r1_format', (), "'-1' in .* is no weight, a number"),
    ('math_answers+nan*r1_format', (), "'nan' in .* is no weight"),
    ('math_answers+x*r1_format', (), "'x' in .* is no weight"),
    ('exact_answer', ('exact_answer',), "is not 'domain:reward'"),
    (
      'exact_answer',
      ('x:exact_answer', 'x:exact_answer'),
      "the domain 'x' has two rewards",
    ),
  ],
)
def test_what_cannot_be_routed_is_refused(default, pairs, sentence):
  with pytest.raises(ValueError, match=sentence):
    routes.routes_of(default, pairs)


def test_named_texts():
  assert routes.named(('a:x:y', 'b:')) == dict(a='x:y', b='')
  assert routes.named(('data/math500.json', '/x/He.jsonl.gz')) == dict(
    math500='data/math500.json', He='/x/He.jsonl.gz'
  )
  for texts, sentence in (
    (('a:1', 'a:2'), "'a' is there twice"),
    ((':1',), "':1' is not 'name:...' with a plain name"),
    (('a/b:1',), "'a/b:1' is not"),
  ):
    with pytest.raises(ValueError, match=sentence):
      routes.named(texts)


def test_a_route_may_be_a_sum():
  (only,) = routes.terms_of('math_answers')
  assert (only.reward, only.weight, only.part) == (
    'math_answers',
    1,
    'accuracy',
  )
  accuracy, form = routes.terms_of('math_answers + 0.5 * r1_format')
  assert (accuracy.reward, accuracy.weight) == ('math_answers', 1.0)
  assert (form.reward, form.weight, form.part) == ('r1_format', 0.5, 'format')
  made = routes.routes_of('exact_answer', ('math:math_answers+r1_format',))
  assert made == {'': 'exact_answer', 'math': 'math_answers+r1_format'}
  assert routes.terms_of('exact_answer+0*r1_latin')[1].weight == 0
  # What is alone says itself what is right.
  assert routes.terms_of('r1_format')[0].part == 'accuracy'


def test_lengths_by_domain():
  pairs = ('math:4096', 'a:b:12')
  assert routes.lengths_of(pairs) == {'math': 4096, 'a:b': 12}
  assert routes.lengths_of(()) == {}
  for pair in ('math', ':12', 'math:0', 'math:-1', 'math:'):
    with pytest.raises(ValueError, match="is not 'domain:tokens'"):
      routes.lengths_of((pair,))
  with pytest.raises(ValueError, match="'math' is there twice"):
    routes.lengths_of(('math:1', 'math:2'))
  assert routes.starts_of(('chat:0',)) == {'chat': 0}
  with pytest.raises(ValueError, match="is not 'domain:iteration'"):
    routes.starts_of(('chat:-1',))


def test_weights_by_name():
  found = routes.weights_of(('code:2', 'en:zh:0.5', 'x:0'))
  assert found == {'code': 2.0, 'en:zh': 0.5, 'x': 0.0}
  assert routes.weights_of(()) == {}
  for texts, sentence in (
    (('code',), "'code' is not 'domain:weight' with a weight >= 0"),
    (('code:nan',), "'code:nan' is not"),
    (('code:inf',), "'code:inf' is not"),
    (('a:1', 'a:2'), "'a' is there twice"),
    (('a:0', 'b:0'), r"all of \['a', 'b'\] weigh 0"),
  ):
    with pytest.raises(ValueError, match=sentence):
      routes.weights_of(texts)


def test_pictures_have_a_route_of_their_own_behind_that_of_a_domain():
  made = routes.routes_of(
    'exact_answer', ('chart:math_answers', '<image>:r1_format')
  )
  assert made[routes.key_of(made, 'chart', True)] == 'math_answers'
  assert made[routes.key_of(made, 'count', True)] == 'r1_format'
  assert made[routes.key_of(made, 'count', False)] == 'exact_answer'
  plain = routes.routes_of('exact_answer', ())
  assert routes.key_of(plain, 'count', True) == ''
