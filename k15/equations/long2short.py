"""From long chains of thought to short ones: Kimi k1.5, section 2.4.

Equations of its four methods: the mean of two models' weights, the shortest
correct of n responses, pairs for DPO, and which model long2short RL begins
with.  Host side, numpy.
"""

import numpy as np


def merged(long, short, short_share):
  """(1 - a) long + a short, in float32: Kimi k1.5, section 2.4.

  The paper takes the plain mean.  At a = 0 and a = 1 one of the two comes back
  to the bit.

  Args:
    long: array, a weight of the long-CoT model.
    short: the same weight of the short-CoT model.
    short_share: a in [0, 1].

  Returns:
    An array of their shape and dtype.

  Raises:
    ValueError: shapes or dtypes differ, whole numbers that are not the same,
      or a is outside [0, 1].
  """
  if long.shape != short.shape or long.dtype != short.dtype:
    raise ValueError(
      f'{long.dtype}{list(long.shape)} and {short.dtype}{list(short.shape)}'
      ' cannot be merged'
    )
  if not 0 <= short_share <= 1:
    raise ValueError(f'the share {short_share} is outside [0, 1]')
  if np.issubdtype(long.dtype, np.integer):
    if not np.array_equal(long, short):
      raise ValueError('whole numbers that differ cannot be merged')
    return long
  # Not by the formula: it loses the sign of zeros.
  if short_share in (0, 1):
    return short if short_share else long
  a, b = np.float32(1 - short_share), np.float32(short_share)
  mean = a * long.astype(np.float32) + b * short.astype(np.float32)
  return mean.astype(long.dtype)


def shortest_correct(lengths_K, is_correct_K) -> int | None:
  """Shortest rejection sampling of section 2.4: which response to learn from.

  Args:
    lengths_K: int [K], tokens of the responses to one problem.
    is_correct_K: bool [K].

  Returns:
    Index of the shortest correct one, the first of several; None: none is.
  """
  correct = np.flatnonzero(is_correct_K)
  if not len(correct):
    return None
  return int(correct[np.argmin(np.asarray(lengths_K)[correct])])


def preference_pairs(
  lengths_K, is_correct_K, longer=1.5
) -> list[tuple[int, int]]:
  """DPO pairs of section 2.4, (preferred, rejected).

  The shortest correct response is preferred to every longer wrong one, and to
  every correct one at least `longer` times as long.

  Args:
    lengths_K: int [K], tokens of the responses to one problem.
    is_correct_K: bool [K].
    longer: above 1.

  Returns:
    Pairs of indices, by the second; none without a correct response.
  """
  best = shortest_correct(lengths_K, is_correct_K)
  if best is None:
    return []
  lengths_K = np.asarray(lengths_K)
  least = lengths_K[best]
  rejected_K = np.where(
    is_correct_K, lengths_K >= longer * least, lengths_K > least
  )
  return [(best, int(i)) for i in np.flatnonzero(rejected_K) if i != best]


def best_balance(accuracies_N, tokens_N, token_price) -> int:
  """Which of N models balances accuracy and tokens best: section 2.4.

  The paper starts long2short RL from such a model and does not say how it was
  chosen.  Here it is the one with the highest
  accuracy - token_price tokens / (tokens of the most accurate model):
  a price of 0.1 gives up one point of accuracy for a tenth of the tokens.  It
  lies on the frontier: none has fewer tokens and at least its accuracy.

  Args:
    accuracies_N: in [0, 1].
    tokens_N: mean length of their responses, above 0.
    token_price: above 0.

  Returns:
    Its index; of equal scores the one with fewer tokens, then the first.
  """
  accuracies_N = np.asarray(accuracies_N, np.float64)
  tokens_N = np.asarray(tokens_N, np.float64)
  most_accurate = np.lexsort((tokens_N, -accuracies_N))[0]
  scores_N = accuracies_N - token_price * tokens_N / tokens_N[most_accurate]
  return int(np.lexsort((tokens_N, -scores_N))[0])
