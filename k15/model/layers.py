"""What the layers of the policy and of its tower are made of.

Axes: D width, F another width.
"""

import contextlib
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from k15.model import chunked_attention
from k15.model import precision

# Behind the name of a kernel: its adapter, a pair of matrices.
LORA = '_lora'


class RMSNorm(nn.Module):
  """x / rms(x) * scale over the last axis, computed in float32.

  `product_dtype` rounds the scale, see `rounded`.
  """

  eps: float
  param_dtype: str
  axis_name: str = 'norm'
  product_dtype: str = ''

  @nn.compact
  def __call__(self, x):
    scale = self.param(
      'scale',
      nn.with_logical_partitioning(nn.initializers.ones, (self.axis_name,)),
      (x.shape[-1],),
      jnp.dtype(self.param_dtype),
    )
    scale = rounded(scale, self.product_dtype)
    x32 = x.astype(jnp.float32)
    x32 *= jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
    return (x32 * jnp.broadcast_to(scale, x.shape)).astype(x.dtype)


@jax.custom_vjp
def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x @ kernel, [..., D] and [D, F] -> [..., F].

  The gradients are written out because XLA derives that of the kernel as a
  transpose, for which it rereads x by columns: a sixth of a training step on
  CPU.
  """
  return jnp.dot(x, kernel)


def _matmul_forward(x, kernel):
  return matmul(x, kernel), (x, kernel)


def _matmul_backward(residuals, dy):
  x, kernel = residuals
  axes = tuple(range(x.ndim - 1))
  return jnp.dot(dy, kernel.T), jnp.tensordot(x, dy, (axes, axes))


matmul.defvjp(_matmul_forward, _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul_of(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
  """x @ kernel in two products of `dtype`, for float32 x, in float32.

  The kernel is rounded to `dtype`; x is the sum of two arrays of it, which for
  bfloat16 hold 16 of its bits.  One alone would hold 8: where two programs sum
  up in another order, an activation between two numbers of 8 bits is rounded to
  one by the one and to the other by the other, and what follows differs by as
  much.  For the gradient, which the rollout has none of, one has to do.
  """
  kernel = precision.rounded(kernel, dtype)
  first = precision.rounded(x, dtype)
  second = precision.rounded(x - first.astype(x.dtype), dtype)
  return _sums(jnp.dot, first, kernel) + _sums(jnp.dot, second, kernel)


def _matmul_of_forward(x, kernel, dtype):
  # An empty array: of the kernel's own dtype nothing else is left.
  kept = (precision.rounded(y, dtype) for y in (x, kernel))
  return matmul_of(x, kernel, dtype), (*kept, jnp.zeros((0,), kernel.dtype))


def _matmul_of_backward(dtype, residuals, dy):
  x, kernel, like = residuals
  axes, dy = tuple(range(x.ndim - 1)), precision.rounded(dy, dtype)
  d_kernel = _sums(jnp.tensordot, x, dy, (axes, axes))
  return _sums(jnp.dot, dy, kernel.T), d_kernel.astype(like.dtype)


matmul_of.defvjp(_matmul_of_forward, _matmul_of_backward)


def _sums(product, *operands):
  return product(*operands, preferred_element_type=jnp.float32)


def full_products(shape: Any) -> contextlib.AbstractContextManager:
  """Within it products of float32 are not of fewer bits, as on TPUs they are.

  Of a policy whose products have a dtype of their own, the others, attention's.
  """
  if shape.product_dtype:
    return jax.default_matmul_precision('highest')
  return contextlib.nullcontext()


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def rounded(x: jax.Array, dtype: str) -> jax.Array:
  """Numbers as `dtype` has them, in their own; '': as they are.

  What the rollout's copy of a weight is in `dtype`, the trainer's then is too.
  The gradient is not rounded: what it changes has more bits.
  """
  return precision.rounded(x, dtype).astype(x.dtype) if dtype else x


rounded.defvjp(
  lambda x, dtype: (rounded(x, dtype), None),
  lambda dtype, residuals, dy: (dy,),
)


def initializer() -> Any:
  """Of kernels: 1 / fan_in is the variance."""
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')


def lora_scale(shape: Any) -> float:
  """Of the product that an adapter of a `PolicyConfig` adds."""
  return shape.lora_alpha / max(shape.lora_rank, 1)


def product(module: Any, x: jax.Array, name: str, kernel: jax.Array) -> Any:
  """x @ kernel, and what the adapter of this name adds, if there is one."""
  times = _matmul_in(module.shape.product_dtype)
  y = times(x, kernel)
  if not module.has_variable('params', name + LORA):
    return y
  pair = module.get_variable('params', name + LORA)
  return y + times(times(x, pair['a']) * lora_scale(module.shape), pair['b'])


def _matmul_in(product_dtype):
  """(x, kernel) -> their product, in x's dtype unless products have another."""
  if product_dtype:
    return lambda x, kernel: matmul_of(x, kernel, product_dtype)
  return lambda x, kernel: matmul(x, kernel.astype(x.dtype))


def projections(
  module: Any,
  x: jax.Array,
  widths: dict[str, tuple[int, str]],
  use_bias: bool = False,
) -> list[jax.Array]:
  """x @ kernel for every name -> (width, logical axis), as one if fused."""
  c = module.shape
  fused = '_'.join(widths)
  if module.has_variable('params', fused):
    joined = module.get_variable('params', fused)
    if c.product_dtype:
      y = matmul_of(x, joined, c.product_dtype)
    else:
      y = jnp.dot(x, joined.astype(x.dtype))
    ends = np.cumsum([width for width, _ in widths.values()])
    ys = jnp.split(y, ends[:-1], axis=-1)
  else:
    ys = []
    for name, (width, axis) in widths.items():
      kernel = module.param(
        name,
        nn.with_logical_partitioning(initializer(), ('embed', axis)),
        (x.shape[-1], width),
        jnp.dtype(c.param_dtype),
      )
      ys.append(product(module, x, name, kernel))
  if use_bias:
    for i, (name, (width, axis)) in enumerate(widths.items()):
      bias = module.param(
        f'{name}_bias',
        nn.with_logical_partitioning(nn.initializers.zeros, (axis,)),
        (width,),
        jnp.dtype(c.param_dtype),
      )
      ys[i] += rounded(bias, c.product_dtype).astype(x.dtype)
  return ys


def remat(block: Any, mode: str) -> Any:
  """A module whose activations are computed again where `mode` says so."""
  if mode == 'none':
    return block
  policies = jax.checkpoint_policies
  policy = policies.save_only_these_names(chunked_attention.SAVED)
  if mode == 'dots':
    policy = policies.save_from_both_policies(
      policy, policies.dots_with_no_batch_dims_saveable
    )
  return nn.remat(block, policy=policy, prevent_cse=False)
