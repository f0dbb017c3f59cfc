"""The rule of k15/rollout/repetition.py for a whole response at once."""

import numpy as np


def first_repetition(tokens, count, max_period, min_tokens):
  """How many tokens the response has when it is stopped; -1: it never is."""
  tokens = np.asarray(tokens)
  stops = []
  for period in range(1, max_period + 1) if count else ():
    # A stretch of so many tokens, of which the first block repeats nothing.
    need = max(count * period, min_tokens) - period
    same = tokens[period:] == tokens[:-period]
    sums = np.concatenate([[0], np.cumsum(same)])
    hits = np.flatnonzero(sums[need:] - sums[:-need] == need)
    if len(hits):
      stops.append(period + int(hits[0]) + need)
  return min(stops, default=-1)
