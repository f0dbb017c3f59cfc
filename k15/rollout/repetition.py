"""Catches responses that run in a loop: Kimi k1.5, section 2.6.2.

The paper ends such responses early and does not publish its rule.  Here it
is: for some period p <= max_period, the last n tokens each equal the token p
before them, and the repeated stretch of n + p tokens is at least
max(count * p, min_tokens) long; in words, a block of p tokens has come
`count` times in a row and covers `min_tokens` tokens.

The decode loop carries, per response, one run length n for each period and
the last max_period tokens, newest first.  Both can be rebuilt from stored
tokens, so a resumed response is judged as if it had never been cut.
Tokens are >= 0, and those of the response alone; count is >= 2, or 0: off.
"""

import jax.numpy as jnp
import numpy as np

NO_TOKEN = -1


def recent_tokens(tokens, max_period):
  """Returns the last `max_period` tokens, newest first.

  Args:
    tokens: int [T], a response so far, perhaps empty.
    max_period: P.

  Returns:
    int32 [P], NO_TOKEN beyond the first token.
  """
  padding = np.full(max_period, NO_TOKEN, np.int32)
  padded = np.concatenate([padding, tokens])
  return padded[: -max_period - 1 : -1].astype(np.int32)


def run_lengths(tokens, max_period):
  """Counts, per period p, the last tokens that equal the one p before them.

  Args:
    tokens: int [T], a response so far, perhaps empty.
    max_period: P.

  Returns:
    int32 [P], run lengths of the periods 1 to P.
  """
  newest_first = np.asarray(tokens, np.int32)[::-1]
  padding = np.full(max_period, NO_TOKEN, np.int32)
  padded = np.concatenate([newest_first, padding])
  past = np.lib.stride_tricks.sliding_window_view(padded, max_period)[1:]
  differs = past != newest_first[:, None]  # [T, P]
  ends = np.concatenate([differs, np.ones((1, max_period), bool)])
  return ends.argmax(axis=0).astype(np.int32)


def update_runs(runs, recent, token):
  """Takes in one more token per response; pure, for use inside a decode loop.

  Args:
    runs: int32 [B, P], as from `run_lengths`.
    recent: int32 [B, P], as from `recent_tokens`.
    token: int32 [B].

  Returns:
    The new (runs, recent).
  """
  token = token[:, None]
  runs = jnp.where(recent == token, runs + 1, 0)
  return runs, jnp.concatenate([token, recent[:, :-1]], axis=1)


def is_repeating(runs, count, min_tokens):
  """Applies the rule to run lengths, of numpy or jax.

  Args:
    runs: int32 [..., P].
    count: repetitions, >= 2, or 0 to find none.
    min_tokens: shortest stretch that counts.

  Returns:
    bool [...].

  Raises:
    ValueError: if count is 1 or negative; one block repeats nothing.
  """
  if count < 0 or count == 1:
    raise ValueError(f'repetition count must be 0 or at least 2, not {count}')
  is_long = runs >= _needed(runs.shape[-1], count, min_tokens)
  return is_long.any(-1) & (count > 0)


def _needed(max_period, count, min_tokens):
  """int [P], the run length from which each period is a loop."""
  periods = np.arange(1, max_period + 1)
  return np.maximum(count * periods, min_tokens) - periods
