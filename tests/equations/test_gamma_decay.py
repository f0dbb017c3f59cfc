"""Weights of tokens by hand, wherever their sequence lies."""

import jax.numpy as jnp
import numpy as np

from k15.equations import gamma_decay
from k15.equations import losses


def test_weights_by_hand_wherever_a_response_lies():
  # Two sequences of 2 prompt tokens and responses of 3 and 1, and padding:
  # with gamma = 1/2 they weigh 1/4, 1/2, 1 and 1.
  ids = jnp.array([[1, 1, 1, 1, 1, 2, 2, 2, 0, 0]], jnp.int32)
  found = gamma_decay.token_weights(ids, 0.5)
  np.testing.assert_array_equal(found[0, 2:5], [0.25, 0.5, 1])
  assert found[0, 7] == 1 and np.isfinite(found).all()
  # A row alone, without padding or with more, before it or behind.
  for before, behind in ((0, 0), (3, 0), (0, 6)):
    alone = jnp.pad(ids[:, :5], ((0, 0), (before, behind)))
    found = gamma_decay.token_weights(alone, 0.5)
    response = found[0, before + 2 : before + 5]
    np.testing.assert_array_equal(response, [0.25, 0.5, 1])
  # J = -w A sum_t gamma^(2 - t) log pi_t = -0.5 * 2 * (-1/4 - 1 - 3).
  logprobs = jnp.array([[0, 0, -1.0, -2, -3, 0, 0, 0, 0, 0]])
  mask = jnp.array([[0, 0, 1.0, 1, 1, 0, 0, 0, 0, 0]])
  loss, _ = losses.policy_mirror_descent(
    logprobs, logprobs, ids, mask, jnp.array([[2.0, 0]]),
    jnp.array([[0.5, 0]]), jnp.zeros((1, 2)), 0.1,
    gamma_decay.token_weights(ids, 0.5),
  )  # fmt: skip
  assert loss == 4.25
