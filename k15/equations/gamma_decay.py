"""Rewards that decay by step, as Kimi-Researcher has them; here by token.

Kimi-Researcher (Moonshot AI, 2025; a page of the web, no paper) gives step i of
a trajectory of T steps the reward r gamma^(T - i), so that of two right
trajectories the shorter one earns more for its first steps.  Its steps are
turns with tools; its gamma, and what becomes of a baseline, are not published.

Our reading, for a response of one turn: a step is a token, and what is weighed
is its advantage, A_t = gamma^(N - 1 - t) A for token t of N, from 0.  So the
last token keeps A, no sign changes, and early tokens of long responses, of
wrong ones too, move the policy less.  Eq. 3's pull to the reference stays.
"""

import jax
import jax.numpy as jnp


def token_weights(segment_ids, gamma):
  """gamma to the number of tokens that follow in the same sequence.

  Args:
    segment_ids: int32 [B, T]; a response is the end of its sequence.
    gamma: in (0, 1].

  Returns:
    float32 [B, T], to be multiplied with each token's policy gradient.
  """
  columns = jnp.arange(segment_ids.shape[1])
  next_ids = jnp.pad(segment_ids[:, 1:], ((0, 0), (0, 1)), constant_values=-1)
  ends = jnp.where(segment_ids != next_ids, columns, columns.size)
  # The nearest end at or after each token is that of its own sequence.
  last = jax.lax.cummin(ends, axis=1, reverse=True)
  return jnp.float32(gamma) ** (last - columns)
