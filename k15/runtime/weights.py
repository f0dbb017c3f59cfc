"""Parameters and states of a run: as shapes, random, from files, fresh.

Trees of shapes are `jax.ShapeDtypeStruct`s with shardings: they say where every
array is to lie before any of them is there, so that each is made, or read, in
its place.
"""

import pathlib
from typing import Any

import flax.linen as nn
import jax
import optax

from k15 import streams
from k15.checkpoints import hf
from k15.data_types import TrainState
from k15.devices import sharding
from k15.model import policy
from k15.runtime.context import Context
from k15.runtime.context import Layout
from k15.training import optimizer as optimizer_lib


def param_layout(layout: Layout) -> Any:
  """Parameters as `jax.ShapeDtypeStruct`s with their shardings."""
  boxed = jax.eval_shape(
    lambda key: policy.init(layout.shape, key), streams.key_shape()
  )
  return _structs(boxed, layout)


def init_params(layout: Layout, seed: int) -> Any:
  """Random parameters, laid out over the mesh."""
  make_params = jax.jit(
    lambda key: nn.unbox(policy.init(layout.shape, key)),
    out_shardings=jax.tree.map(lambda x: x.sharding, param_layout(layout)),
  )
  return make_params(streams.key(seed, 'weights'))


def load_params(context: Context, directory: pathlib.Path | None) -> Any:
  """Parameters of a model on disk; None draws them.

  Raises:
    ValueError: files that do not fit the policy; before any device work.
  """
  if directory is None:
    return init_params(context.layout, context.config.seed)
  return hf.load(directory, context.shape, param_layout(context.layout))


def make_optimizer(
  config: Any, shape: policy.PolicyConfig, name: str, axes: Any = None
) -> optax.GradientTransformation:
  """The named optimizer with the settings all stages share.

  `axes` names those of the parameters; None: they are the policy's.
  """
  o = config.optimizer
  return optimizer_lib.make(
    name,
    o.beta1,
    o.beta2,
    o.eps,
    o.weight_decay,
    o.clip_norm,
    policy.logical_axes(shape) if axes is None else axes,
    o.muon_adam_share,
    o.muon_embeddings,
  )


def state_layout(
  layout: Layout, optimizer: optax.GradientTransformation
) -> TrainState:
  """A state as `jax.ShapeDtypeStruct`s with their shardings."""

  def init(key):
    return optimizer_lib.init_state(optimizer, policy.init(layout.shape, key))

  return _structs(jax.eval_shape(init, streams.key_shape()), layout)


def init_state(
  layout: Layout, optimizer: optax.GradientTransformation, params: Any
) -> TrainState:
  """A state at step 0, laid out over the mesh; it takes over the params."""
  places = jax.tree.map(lambda x: x.sharding, state_layout(layout, optimizer))
  params = jax.device_put(params, places.params)
  fresh = jax.jit(
    lambda params: optimizer_lib.init_state(optimizer, params).replace(
      params=None
    ),
    out_shardings=places.replace(params=None),
  )
  return fresh(params).replace(params=params)


def _structs(boxed, layout):
  # Without the constraint that unboxing applies under a mesh: there is no array
  # yet that it could hold for.
  shapes = jax.tree.map(
    lambda x: x.unbox(apply_constraint=False) if _is_boxed(x) else x,
    boxed,
    is_leaf=_is_boxed,
  )
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    sharding.param_shardings(layout.mesh, boxed, layout.rules),
  )


def _is_boxed(x):
  return isinstance(x, nn.Partitioned)
