"""How good a text looks: rules, and a small classifier of words.

Kimi k1.5, section 2.5.1, joins rule-based filters, FastText classifiers,
near-duplicate detection and scores by language models.  Its rules, thresholds
and training sets are not published, NP: the rules here are the plain ones that
open corpora share (Gopher, C4), and the classifier is FastText's idea without
FastText: words and pairs of neighbours, hashed into buckets, and a logistic
regression on them.
"""

import collections
import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from k15.curation import near_duplicates


@dataclasses.dataclass(frozen=True)
class Rules:
  """Bounds that a text has to keep; all NP.

  Attributes:
    least_words: words, numbers and operators.
    least_written: share of the characters, without white space, that are
      letters or digits.
    most_repeated: share of the lines that have come before in the text.
    most_of_one: share of the words that are one and the same.
  """

  least_words: int = 8
  least_written: float = 0.4
  most_repeated: float = 0.3
  most_of_one: float = 0.4


def broken_rule(text: str, rules: Rules) -> tuple[str, str] | None:
  """The first rule that a text breaks: (reason, what was seen); or None."""
  words = near_duplicates.tokens(text)
  if len(words) < rules.least_words:
    return f'fewer than {rules.least_words} words', f'{len(words)} words'
  letters = [c for c in text if not c.isspace()]
  written = sum(map(str.isalnum, letters)) / len(letters)
  if written < rules.least_written:
    return 'few letters and digits', f'{written:.2f} of all characters'
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  repeated = 1 - len(set(lines)) / len(lines)
  if repeated > rules.most_repeated:
    return 'repeated lines', f'{repeated:.2f} of {len(lines)} lines'
  [(word, count)] = collections.Counter(words).most_common(1)
  if count > rules.most_of_one * len(words):
    return 'one word again and again', f'{word!r}, {count} of {len(words)}'
  return None


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
  """A logistic regression.

  Attributes:
    weights: float64 [buckets], of hashed words and pairs.
    bias: of every text.
  """

  weights: np.ndarray
  bias: float


def train(
  good: Sequence[str],
  bad: Sequence[str],
  buckets: int = 1 << 16,
  steps: int = 100,
  rate: float = 0.5,
) -> Classifier:
  """Learns to tell two sets of texts apart; both weigh the same.

  Whole-batch Adagrad on the mean log-loss: rare words take large steps from the
  start, and nothing is random.

  Args:
    good, bad: texts.
    buckets: of the hash.  Two words of one bucket are one word.
    steps, rate: of the descent.

  Raises:
    ValueError: one of the sets is empty.
  """
  if not good or not bad:
    raise ValueError(
      f'{len(good)} good and {len(bad)} bad texts; both are needed'
    )
  rows, columns, values = _features([*good, *bad], buckets)
  is_good = np.arange(len(good) + len(bad)) < len(good)
  share = np.where(is_good, 0.5 / len(good), 0.5 / len(bad))
  weights, squares = np.zeros(buckets + 1), np.full(buckets + 1, 1e-8)
  for _ in range(steps):
    logits = _logits(weights, rows, columns, values, len(is_good))
    error = share * (_sigmoid(logits) - is_good)
    gradient = np.bincount(columns, values * error[rows], minlength=buckets + 1)
    gradient[-1] = error.sum()
    squares += gradient**2
    weights -= rate * gradient / np.sqrt(squares)
  return Classifier(weights[:-1], float(weights[-1]))


def scores(classifier: Classifier, texts: Sequence[str]) -> np.ndarray:
  """How likely each text is of the good ones, float64 [N] in (0, 1)."""
  weights = np.append(classifier.weights, classifier.bias)
  features = _features(texts, len(classifier.weights))
  return _sigmoid(_logits(weights, *features, len(texts)))


def _features(texts, buckets):
  """Rows, buckets and counts; the counts of a text have the norm 1."""
  rows, columns, values = [], [], []
  for row, text in enumerate(texts):
    words = near_duplicates.tokens(text)
    found = collections.Counter(
      zlib.crc32(word.encode()) % buckets
      for word in [*words, *sorted(near_duplicates.shingles(words))]
    )
    counts = np.array([*found.values()], float)
    rows += [row] * len(found)
    columns += found
    values += (counts / np.linalg.norm(counts)).tolist()
  return np.array(rows, int), np.array(columns, int), np.array(values, float)


def _logits(weights, rows, columns, values, size):
  sums = np.bincount(rows, values * weights[columns], minlength=size)
  return sums + weights[-1]


def _sigmoid(x):
  return 0.5 * (1 + np.tanh(x / 2))
