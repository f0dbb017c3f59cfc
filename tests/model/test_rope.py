"""Rotary positions by hand."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from k15.model import policy
from k15.model import rope


def test_rotation_by_hand():
  # One pair: position p turns (1, 0) by p radians, whatever theta.
  x = jnp.array([1.0, 0.0]).reshape(1, 1, 1, 2)
  out = rope.rotate(x, jnp.array([[2]]), rope.base_frequencies(2, 10000.0))
  np.testing.assert_allclose(out.ravel(), [np.cos(2), np.sin(2)], atol=1e-6)
  # Four numbers: halves make the pairs (0, 2) and (1, 3); the second turns by
  # p * theta ** -0.5 = 2 / 100.
  x = jnp.array([0.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
  turns = rope.base_frequencies(4, 10000.0)
  out = rope.rotate(x, jnp.array([[2]]), turns)
  expected = np.array([0, np.cos(0.02), 0, np.sin(0.02)])
  np.testing.assert_allclose(out.ravel(), expected, atol=1e-6)
  out = rope.rotate(x, jnp.array([[2]]), turns, magnitude=1.5)
  np.testing.assert_allclose(out.ravel(), 1.5 * expected, atol=1e-6)


def test_base_frequencies_fall_from_one_to_almost_one_over_theta():
  # theta^(-2 i / h) with h = 8 and theta = 10^4: 10^-i.
  np.testing.assert_allclose(
    rope.base_frequencies(8, 1e4), [1, 0.1, 0.01, 0.001], rtol=1e-12
  )


def test_llama3_by_hand():
  # Frequencies of 8, 4, 2.5, 1 and 0.5 turns in 8192 tokens.  Between 1 and 4
  # turns s = (t - 1) / 3: 1, 1, 1/2, 0, 0, and s + (1 - s) / 8 is below.
  turns = np.array([8, 4, 2.5, 1, 0.5])
  frequencies = 2 * math.pi * turns / 8192
  scaled = rope.llama3_frequencies(frequencies, 8, 8192, 1, 4)
  np.testing.assert_allclose(
    scaled / frequencies, [1, 1, 0.5625, 0.125, 0.125], rtol=1e-12
  )


@pytest.mark.parametrize(
  'fast, slow, truncate, ramp',
  [
    # With theta = 10^4, h = 8 and 2 pi 10^4 tokens, index i turns 10^(4 - i)
    # times.  10^3 and 10 turns are the indices 1 and 3.
    (1e3, 10, True, [0, 0, 1 / 2, 1]),
    # The indices 0.8 and 3.2, outwards 0 and 4: the ramp is i / 4.
    (10**3.2, 10**0.8, True, [0, 1 / 4, 1 / 2, 3 / 4]),
    # The same as they are: (i - 0.8) / 2.4.
    (10**3.2, 10**0.8, False, [0, 1 / 12, 1 / 2, 11 / 12]),
    # Both are index 2: a step after it.
    (100, 100, False, [0, 0, 0, 1]),
  ],
)
def test_yarn_by_hand(fast, slow, truncate, ramp):
  frequencies = rope.base_frequencies(8, 1e4)
  length = 2 * math.pi * 1e4
  scaled = rope.yarn_frequencies(
    frequencies, 1e4, 4, length, fast, slow, truncate
  )
  expected = 1 - 0.75 * np.array(ramp)
  np.testing.assert_allclose(scaled / frequencies, expected, atol=1e-9)


def test_yarn_magnitude_by_hand():
  # ln 4 = 1.386294.
  assert rope.yarn_magnitude(4) == pytest.approx(1.1386294)
  assert rope.yarn_magnitude(1) == 1
  assert rope.yarn_magnitude(0.5) == 1


def test_time_row_and_column_take_turns_or_parts():
  # Qwen2-VL: 2 frequencies of time, then 3 and 3; Qwen3-VL: t h w t h w ...
  # as far as there are 3 rows and 2 columns.
  config = policy.PolicyConfig(8, 1, 16, 1, 1, 16, 8, mrope_section=(2, 3, 3))
  np.testing.assert_array_equal(rope.axes_of(config), [0, 0, 1, 1, 1, 2, 2, 2])
  mixed = dataclasses.replace(
    config, mrope_section=(3, 3, 2), mrope_interleaved=True
  )
  np.testing.assert_array_equal(rope.axes_of(mixed), [0, 1, 2, 0, 1, 2, 0, 1])
  assert rope.axes_of(dataclasses.replace(config, mrope_section=())) is None


def test_each_frequency_turns_by_its_own_position():
  x = np.random.default_rng(0).normal(size=(1, 1, 1, 4)).astype(np.float32)
  frequencies, positions = np.array([1.0, 0.5]), np.array([[[2, 7]]])
  found = rope.rotate(x, positions, frequencies, axes=np.array([1, 0]))
  # 7 * 1 and 2 * 0.5 radians.
  cos, sin = np.cos([7.0, 1.0]), np.sin([7.0, 1.0])
  a, b = x[0, 0, 0, :2], x[0, 0, 0, 2:]
  expected = np.concatenate([a * cos - b * sin, b * cos + a * sin])
  np.testing.assert_allclose(found[0, 0, 0], expected, rtol=1e-5)
