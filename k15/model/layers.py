"""What the layers of the policy and of its tower are made of.

Axes: D width, F another width.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from k15.model import chunked_attention

# Behind the name of a kernel: its adapter, a pair of matrices.
LORA = '_lora'


class RMSNorm(nn.Module):
  """x / rms(x) * scale over the last axis, computed in float32."""

  eps: float
  param_dtype: str
  axis_name: str = 'norm'

  @nn.compact
  def __call__(self, x):
    scale = self.param(
      'scale',
      nn.with_logical_partitioning(nn.initializers.ones, (self.axis_name,)),
      (x.shape[-1],),
      jnp.dtype(self.param_dtype),
    )
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


def initializer() -> Any:
  """Of kernels: 1 / fan_in is the variance."""
  return nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')


def lora_scale(shape: Any) -> float:
  """Of the product that an adapter of a `PolicyConfig` adds."""
  return shape.lora_alpha / max(shape.lora_rank, 1)


def product(module: Any, x: jax.Array, name: str, kernel: jax.Array) -> Any:
  """x @ kernel, and what the adapter of this name adds, if there is one."""
  y = matmul(x, kernel.astype(x.dtype))
  if not module.has_variable('params', name + LORA):
    return y
  pair = module.get_variable('params', name + LORA)
  a, b = pair['a'].astype(x.dtype), pair['b'].astype(x.dtype)
  return y + matmul(matmul(x, a) * lora_scale(module.shape), b)


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
    y = jnp.dot(x, module.get_variable('params', fused).astype(x.dtype))
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
      ys[i] += bias.astype(x.dtype)
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
