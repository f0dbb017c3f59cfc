"""Domains to rewards."""

import pytest

from k15.rewards import routes


def test_domains_are_routed_and_the_rest_takes_the_default():
  made = routes.routes_of('exact_answer', ('a:b:exact_answer',))
  assert made == {'': 'exact_answer', 'a:b': 'exact_answer'}


@pytest.mark.parametrize(
  'default, pairs, sentence',
  [
    ('none', (), "no reward 'none'; there are exact_answer"),
    ('exact_answer', ('x:magic',), "no reward 'magic'"),
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
