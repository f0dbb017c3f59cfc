"""Parameters and states of a run: as shapes, random, from files, fresh.

Trees of shapes are `jax.ShapeDtypeStruct`s with shardings: they say where every
array is to lie before any of them is there, so that each is made, or read, in
its place.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax

from k15 import streams
from k15.checkpoints import hf
from k15.data_types import TrainState
from k15.devices import sharding
from k15.model import lora
from k15.model import parts
from k15.model import policy
from k15.model import precision
from k15.runtime.context import Context
from k15.runtime.context import Layout
from k15.training import optimizer as optimizer_lib


def param_layout(layout: Layout) -> Any:
  """Parameters as `jax.ShapeDtypeStruct`s with their shardings."""
  return _structs(policy.boxed(layout.shape), layout)


def param_layout_in(layout: Layout, dtype: str) -> Any:
  """The same of parameters that were cast; '': as they are."""
  like = param_layout(layout)
  if not dtype:
    return like
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding), like
  )


def init_params(layout: Layout, seed: int) -> Any:
  """Random parameters, laid out over the mesh."""
  # Each device draws its own part; drawn whole and then cut, the largest
  # models would not fit the first device.
  places = jax.tree.map(lambda x: x.sharding, param_layout(layout))
  places, tree = jax.tree.flatten(places)
  make_params = _init(layout.shape, tuple(places), tree)
  return make_params(streams.key(seed, 'weights'))


@functools.lru_cache(4)
def _init(shape, places, tree):
  return jax.jit(
    lambda key: nn.unbox(policy.init(shape, key)),
    out_shardings=jax.tree.unflatten(tree, places),
  )


def load_params(context: Context, directory: pathlib.Path | None) -> Any:
  """Parameters of a model on disk; None draws them.

  Raises:
    ValueError: files that do not fit the policy; before any device work.
  """
  if directory is None:
    return init_params(context.layout, context.config.seed)
  return hf.load(directory, context.shape, param_layout(context.layout))


def make_optimizer(
  config: Any,
  shape: policy.PolicyConfig,
  name: str,
  axes: Any = None,
  trains: str = parts.ALL,
) -> optax.GradientTransformation:
  """The named optimizer with the settings all stages share.

  `axes` names those of what is trained; None: the part of the policy that is,
  or its adapters.
  """
  o = config.optimizer
  numbers = o.beta1, o.beta2, o.eps, o.weight_decay, o.clip_norm
  of_muon = o.muon_adam_share, o.muon_embeddings
  if axes is None:
    return _optimizer(shape, trains, name, numbers, of_muon)
  return optimizer_lib.make(name, *numbers, axes, *of_muon)


@functools.lru_cache(16)
def _optimizer(shape, trains, name, numbers, of_muon):
  """Of the same settings the same one, and so the same programs."""
  axes = trained_axes(shape, trains)
  return optimizer_lib.make(name, *numbers, axes, *of_muon)


def trained_axes(
  shape: policy.PolicyConfig, trains: str = parts.ALL
) -> Any:
  """What each axis of what is trained means; see `policy.logical_axes`."""
  if shape.lora_rank:
    return lora.logical_axes(shape)
  return parts.split(policy.logical_axes(shape), trains)[0]


def state_layout(
  layout: Layout,
  optimizer: optax.GradientTransformation,
  trains: str = parts.ALL,
) -> TrainState:
  """A state as `jax.ShapeDtypeStruct`s with their shardings."""
  # Shapes alone: a state of 72B, moments included, fits no host, and is not
  # needed to say where its arrays lie.
  boxed = policy.boxed(layout.shape)
  trained, frozen = parts.split(boxed, trains)
  if layout.shape.lora_rank:
    trained, frozen = lora.boxed(layout.shape), boxed
  state = jax.eval_shape(
    lambda params: optimizer_lib.init_state(optimizer, params), trained
  )
  return _structs(state.replace(frozen=frozen), layout)


def init_state(
  layout: Layout,
  optimizer: optax.GradientTransformation,
  params: Any,
  seed: int,
  stage: str,
  trains: str = parts.ALL,
) -> TrainState:
  """A state at step 0, laid out over the mesh; it takes over the params.

  Args:
    layout: of training.
    optimizer: of `make_optimizer`.
    params: the policy's.  They are trained, or frozen beside new adapters.
    seed, stage: of which adapters are drawn.
    trains: the part of the policy that is trained.
  """
  like = state_layout(layout, optimizer, trains)
  places = jax.tree.map(lambda x: x.sharding, like)
  params, frozen = parts.split(params, trains)
  if layout.shape.lora_rank:
    params, frozen = init_adapters(layout, seed, stage), params
  if frozen is not None:
    frozen = jax.device_put(frozen, places.frozen)
  params = jax.device_put(params, places.params)
  places, tree = jax.tree.flatten(places.replace(params=None, frozen=None))
  fresh = _fresh(optimizer, tuple(places), tree)
  return fresh(params).replace(params=params, frozen=frozen)


@functools.lru_cache(4)
def _fresh(optimizer, places, tree):
  """A state without the parameters, which as outputs would be copied.

  For a moment the devices would hold them twice.
  """
  return jax.jit(
    lambda params: optimizer_lib.init_state(optimizer, params).replace(
      params=None
    ),
    out_shardings=jax.tree.unflatten(tree, places),
  )


def init_adapters(layout: Layout, seed: int, stage: str) -> Any:
  """Adapters that change nothing yet, laid out over the mesh.

  A stage draws its own: where one follows the other, it looks elsewhere.
  """
  like = _structs(lora.boxed(layout.shape), layout)
  paths, tree = jax.tree_util.tree_flatten_with_path(like)
  drawn = [
    lora.draw(
      streams.key(seed, 'adapters', stage, i), x, is_first=path[-1].key == 'a'
    )
    for i, (path, x) in enumerate(paths)
  ]
  return jax.tree.unflatten(tree, drawn)


def frozen_of(
  layout: Layout, make_params: Callable[[], Any], trains: str = parts.ALL
) -> Any:
  """What a state has frozen that goes on, for no checkpoint holds it.

  It is the model a stage began with, of which `stage_inputs` keeps path and
  fingerprint, made anew; None where all parameters are trained.
  """
  if layout.shape.lora_rank:
    return make_params()
  return None if trains == parts.ALL else parts.split(make_params(), trains)[1]


def joined(state: TrainState, trained: Any) -> Any:
  """What the state has frozen, with what is trained; see `lora.joined`."""
  return lora.joined(state.frozen, trained)


def whole(
  shape: policy.PolicyConfig, state: TrainState, dtype: str = ''
) -> Any:
  """The policy's parameters, adapters added; see `lora.merged`.

  A dtype casts them, before they move, and without a second copy of what moved.
  """
  params = lora.merged(shape, state.frozen, state.params)
  return precision.cast(params, dtype) if dtype else params


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
