"""Low-rank adapters: Hu et al. 2021, LoRA, arXiv 2106.09685.

A kernel W [D, F] that a policy begins with stays as it is, and beside it two
thin matrices learn, A [D, r] and B [r, F]: y = x W + (alpha / r) x A B.  What
is trained is a tree of these pairs, of the structure of the parameters;
`joined` lays it over them for training, `merged` adds it to them for all that
decodes or is written.  B begins at 0, so that the first policy is the old one.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from k15.model import layers
from k15.model import policy


def boxed(shape: policy.PolicyConfig) -> Any:
  """The pairs as boxed `jax.ShapeDtypeStruct`s, with their logical axes.

  They are float32, whatever the policy is: updates of theirs are small beside
  what is kept of a number in half precision.
  """
  return _pairs(shape, policy.boxed(shape))


def logical_axes(shape: policy.PolicyConfig) -> Any:
  """What each axis of each matrix means; see `policy.logical_axes`."""
  return policy.axes_of(boxed(shape))


def draw(key: jax.Array, like: jax.ShapeDtypeStruct, is_first: bool):
  """A matrix at its beginning, where `like` is to lie.

  A is uniform within 1 / sqrt(D), as in peft, so that learning rates carry
  over; B is 0.

  Args:
    key: of the matrix.
    like: its shape, dtype and sharding.
    is_first: whether it is an A.
  """
  return _drawer(like.shape, like.dtype, like.sharding, is_first)(key)


def joined(frozen: Any, trained: Any) -> Any:
  """One tree of what is frozen and what is trained; no array is copied.

  Args:
    frozen: parameters without what is trained; None: all of them are.
    trained: the rest.
  """
  if frozen is None:
    return trained
  return frozen | {
    key: joined(frozen.get(key), x) for key, x in trained.items()
  }


def merged(shape: policy.PolicyConfig, frozen: Any, trained: Any) -> Any:
  """Parameters as if all had been trained, W + (alpha / r) A B.

  Sums are float32 and then rounded to the kernel's dtype.  What has no adapter
  is the frozen array itself.

  Args:
    shape: of the policy.
    frozen, trained: as of `joined`.
  """
  scale = layers.lora_scale(shape)

  def merge(tree):
    if not isinstance(tree, dict):
      return tree
    pairs = {key: x for key, x in tree.items() if key.endswith(layers.LORA)}
    rest = {key: merge(x) for key, x in tree.items() if key not in pairs}
    for key, pair in pairs.items():
      name = key.removesuffix(layers.LORA)
      add = _adder(rest[name].sharding)
      rest[name] = add(rest[name], pair['a'], pair['b'], scale)
    return rest

  return trained if frozen is None else merge(joined(frozen, trained))


def _pairs(shape, params):
  pairs = {}
  for name, x in params.items():
    if isinstance(x, dict):
      pairs |= {name: inner} if (inner := _pairs(shape, x)) else {}
    elif name in shape.lora_targets:
      *stacked, rows, columns = x.value.shape
      *outer, first, last = x.names
      pairs[name + layers.LORA] = dict(
        a=_box((*stacked, rows, shape.lora_rank), (*outer, first, None)),
        b=_box((*stacked, shape.lora_rank, columns), (*outer, None, last)),
      )
  return pairs


def _box(shape, names):
  return nn.LogicallyPartitioned(
    jax.ShapeDtypeStruct(shape, jnp.float32), names
  )


@functools.cache
def _drawer(shape, dtype, sharding, is_first):
  # Variance 1 / (3 D) of each layer's own matrix.
  uniform = nn.initializers.variance_scaling(
    1 / 3, 'fan_in', 'uniform', batch_axis=range(len(shape) - 2)
  )
  init = uniform if is_first else nn.initializers.zeros
  return jax.jit(lambda key: init(key, shape, dtype), out_shardings=sharding)


@functools.cache
def _adder(sharding):
  def add(kernel, a, b, scale):
    product = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return (kernel.astype(jnp.float32) + scale * product).astype(kernel.dtype)

  return jax.jit(add, out_shardings=sharding)
