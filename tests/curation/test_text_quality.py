"""Rules of texts by examples, and a classifier that learns words."""

import numpy as np
import pytest

from k15.curation import text_quality

RULES = text_quality.Rules()
GOOD = 'seven and eight is fifteen, so we write five and carry one'


@pytest.mark.parametrize(
  ('text', 'reason', 'detail'),
  [
    ('too few words', 'fewer than 8 words', '3 words'),
    ('a b c d e f g h ' + '~' * 40, 'few letters and digits', '0.17 of all'),
    ('one line of it\n' * 4 + GOOD, 'repeated lines', '0.60 of 5 lines'),
    ('no ' * 8 + 'a b c d', 'one word again and again', "'no', 8 of 12"),
  ],
)
def test_each_rule(text, reason, detail):
  found = text_quality.broken_rule(text, RULES)
  assert found[0] == reason and found[1].startswith(detail)


def test_a_plain_text_breaks_none():
  assert text_quality.broken_rule(GOOD, RULES) is None
  # 8 letters of 48 are 0.167.
  loose = text_quality.Rules(least_written=0.16)
  text = 'a b c d e f g h ' + '~' * 40
  assert text_quality.broken_rule(text, loose) is None


def _texts(words, count, seed):
  rng = np.random.default_rng(seed)
  return [' '.join(rng.choice(words, 20)) for _ in range(count)]


def test_a_classifier_of_words():
  """Half the words of either side are common to both."""
  good = ['sum', 'so', 'carry', 'the', 'and', 'of']
  bad = ['click', 'buy', 'now', 'the', 'and', 'of']
  classifier = text_quality.train(_texts(good, 40, 0), _texts(bad, 60, 1))
  unseen = text_quality.scores(classifier, _texts(good, 50, 2))
  other = text_quality.scores(classifier, _texts(bad, 50, 3))
  assert unseen.min() > 0.5 > other.max()
  assert (unseen > 0).all() and (unseen < 1).all()


def test_the_first_step_by_hand():
  """Of zero weights the gradient is half the features, with either sign.

  One text a side, a word each: its one feature, besides the pair that a single
  word is, is 2 / |2| = 1.  The error is 0.5 * (0.5 - 1) and 0.5 * 0.5, so that
  Adagrad's first step is the rate, up for the good word and down for the other.
  The errors cancel in the bias.
  """
  classifier = text_quality.train(['good'], ['bad'], 64, steps=1, rate=0.5)
  weights = np.sort(classifier.weights[classifier.weights != 0])
  np.testing.assert_allclose(weights, [-0.5, 0.5], rtol=1e-4)
  assert classifier.bias == pytest.approx(0, abs=1e-6)
  expected = 1 / (1 + np.exp(-0.5))
  found = text_quality.scores(classifier, ['good', 'bad', 'neither'])
  np.testing.assert_allclose(found, [expected, 1 - expected, 0.5], rtol=1e-4)


def test_both_sides_are_needed():
  with pytest.raises(ValueError, match='0 good and 1 bad texts'):
    text_quality.train([], ['a'])
