"""Rotary positions: frequencies, their scalings to longer texts, the rotation.

Frequencies are float64 numpy, computed once while a program is traced.  h is
the head width; frequency i turns the pair (i, i + h / 2) of a head.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def base_frequencies(head_dim: int, theta: float) -> np.ndarray:
  """theta^(-2 i / h), radians per position.

  Args:
    head_dim: h, even.
    theta: base, above 0.

  Returns:
    float64 [h / 2].
  """
  return float(theta) ** (-np.arange(0, head_dim, 2) / head_dim)


def llama3_frequencies(
  frequencies: np.ndarray,
  factor: float,
  original_length: int,
  low_freq_factor: float,
  high_freq_factor: float,
) -> np.ndarray:
  """Llama 3.1's scaling: slow turns slowed by `factor`, fast ones kept.

  With t = original_length * frequency / (2 pi), the turns within the original
  length, and s = (t - low) / (high - low) clipped to [0, 1]:
  frequency * (s + (1 - s) / factor).

  Args:
    frequencies: [h / 2], of `base_frequencies`.
    factor: above 0.
    original_length: of the texts before scaling, in tokens.
    low_freq_factor: turns up to which a frequency is divided.
    high_freq_factor: turns from which it is kept, above low_freq_factor.

  Returns:
    float64 [h / 2].
  """
  turns = original_length * frequencies / (2 * math.pi)
  smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
  smooth = np.clip(smooth, 0, 1)
  return frequencies * (smooth + (1 - smooth) / factor)


def yarn_frequencies(
  frequencies: np.ndarray,
  theta: float,
  factor: float,
  original_length: int,
  beta_fast: float,
  beta_slow: float,
  truncate: bool = True,
) -> np.ndarray:
  """YaRN, arXiv 2309.00071, section 3.2, with the ramp over the index i.

  i(b) = h ln(original_length / (2 pi b)) / (2 ln theta) is the index whose
  frequency turns b times within the original length.  From i(beta_fast) to
  i(beta_slow) a ramp r goes from 0 to 1; the result is
  frequency * (1 - r + r / factor).

  Args:
    frequencies: [h / 2], of `base_frequencies`.
    theta: their base, not 1.
    factor: above 0.
    original_length: of the texts before scaling, in tokens.
    beta_fast: turns from which a frequency is kept.
    beta_slow: turns up to which it is divided.
    truncate: whether the ends of the ramp are rounded outwards.

  Returns:
    float64 [h / 2].
  """
  half = len(frequencies)
  low, high = (
    half * math.log(original_length / (2 * math.pi * b)) / math.log(theta)
    for b in (beta_fast, beta_slow)
  )
  if truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, 2 * half - 1)
  if low == high:
    high += 0.001  # A step: no division by zero.
  ramp = np.clip((np.arange(half) - low) / (high - low), 0, 1)
  return frequencies * (1 - ramp + ramp / factor)


def yarn_magnitude(factor: float, mscale: float = 1.0) -> float:
  """0.1 mscale ln(factor) + 1, by which queries and keys grow; 1 below 1.

  YaRN, arXiv 2309.00071, section 3.3, eq. 22: the square root of 1 / t, which
  has an mscale of 1.
  """
  return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def turns_of(config: Any) -> tuple[np.ndarray, float]:
  """Frequencies float64 [h / 2] and magnitude of a `PolicyConfig`.

  Raises:
    ValueError: an unknown `rope_scaling`.
  """
  c = config
  frequencies = base_frequencies(c.head_dim, c.rope_theta)
  scaling = c.rope_factor, c.rope_original_length
  if c.rope_scaling == 'none':
    return frequencies, 1.0
  if c.rope_scaling == 'llama3':
    bounds = c.rope_low_freq_factor, c.rope_high_freq_factor
    return llama3_frequencies(frequencies, *scaling, *bounds), 1.0
  if c.rope_scaling == 'yarn':
    bounds = c.rope_beta_fast, c.rope_beta_slow, c.rope_truncate
    frequencies = yarn_frequencies(frequencies, c.rope_theta, *scaling, *bounds)
    magnitude = c.rope_attention_factor or yarn_magnitude(c.rope_factor)
    return frequencies, magnitude
  raise ValueError(
    f"rope_scaling is {c.rope_scaling!r}, not 'none', 'llama3' or 'yarn'"
  )


def axes_of(config: Any) -> np.ndarray | None:
  """Which of time, row and column turns each frequency: M-RoPE.

  Qwen2-VL (arXiv 2409.12191, section 2.1) gives the slowest frequencies to the
  columns, `mrope_section` [t, h, w] of them one kind after the other; Qwen3-VL
  mixes them, t h w t h w ..., as far as there are so many of each kind.

  Args:
    config: a `PolicyConfig`.

  Returns:
    int [h / 2], or None: a token has one position.
  """
  sections = config.mrope_section
  if not sections:
    return None
  if not config.mrope_interleaved:
    return np.repeat(np.arange(3), sections)
  axes = np.zeros(config.head_dim // 2, np.int64)
  for axis in (1, 2):
    axes[axis : 3 * sections[axis] : 3] = axis
  return axes


def rotate(
  x: jax.Array,
  positions: jax.Array,
  frequencies: np.ndarray,
  magnitude: float = 1.0,
  axes: np.ndarray | None = None,
) -> jax.Array:
  """Turns halves of each head, not neighbours, by position * frequency.

  Args:
    x: [B, T, heads, h].
    positions: int32 [B, T]; or [B, T, A], several of each token.
    frequencies: [h / 2], radians per position.
    magnitude: of the result, relative to x.
    axes: int [h / 2], which of several positions turns each frequency.

  Returns:
    The type and shape of x.
  """
  if positions.ndim == 3:
    angles = positions.astype(jnp.float32)[..., axes]
    angles = (angles * jnp.asarray(frequencies, jnp.float32))[..., None, :]
    return turn(x, jnp.sin(angles) * magnitude, jnp.cos(angles) * magnitude)
  sin, cos = sines(positions[..., None], frequencies, magnitude)
  return turn(x, sin, cos)


def sines(
  positions: jax.Array,
  frequencies: np.ndarray,
  magnitude: float = 1.0,
  axis: int = -1,
) -> tuple[jax.Array, jax.Array]:
  """Sines and cosines of position * frequency.

  Args:
    positions: int32 of any shape.
    frequencies: [h / 2], radians per position.
    magnitude: a factor.
    axis: where in the results the frequencies are.

  Returns:
    Two float32 arrays with an axis more than the positions.
  """
  positions = jnp.expand_dims(positions.astype(jnp.float32), axis)
  sizes = [1] * positions.ndim
  sizes[axis] = -1
  angles = positions * jnp.asarray(frequencies, jnp.float32).reshape(sizes)
  return jnp.sin(angles) * magnitude, jnp.cos(angles) * magnitude


def turn(
  x: jax.Array, sin: jax.Array, cos: jax.Array, axis: int = -1
) -> jax.Array:
  """Turns the halves of x along an axis, by angles of these sines."""
  a, b = jnp.split(x.astype(jnp.float32), 2, axis=axis)
  out = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=axis)
  return out.astype(x.dtype)
