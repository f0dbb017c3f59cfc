"""The optimizer, its reset, and the learning-rate schedules.

Moments live in the optimizer's state; the learning rate does not.  It is a
function of `TrainState.step`, so that resetting the moments at the start of an
iteration (Kimi k1.5, section 2.3.2) leaves the schedule where it was.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from k15.data_types import TrainState

# Axes of what is looked up or read out: tokens, and a value head's value.
_VOCAB, _VALUE = 'vocab', 'value'
# Of the input of a tower: pixels, and a table of places.  No hidden matrices.
_SEEN = {'pixels', 'places'}
# Matrices lie beside each other along these.
_STACKED = ('layers', 'qkv')

Schedule = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the rule of an optimizer may need; see `make`."""

  beta1: float
  beta2: float
  eps: float
  muon_adam_share: float
  muon_embeddings: bool
  axes: Any


def _adam(settings):
  s = settings
  return [optax.scale_by_adam(b1=s.beta1, b2=s.beta2, eps=s.eps)]


def _muon(settings):
  """By Muon what `_muon_axes` says, the rest by Adam."""
  muon = optax.contrib.muon(
    # The rate comes in `apply`, for what is Muon's and what is Adam's alike;
    # here is only how they are to each other.
    learning_rate=1.0,
    adam_learning_rate=settings.muon_adam_share,
    adam_b1=settings.beta1,
    adam_b2=settings.beta2,
    eps=settings.eps,
    muon_weight_dimension_numbers=_of_each(
      functools.partial(_muon_axes, settings.muon_embeddings), settings.axes
    ),
  )
  return [muon, optax.scale(-1.0)]  # which undoes optax's descending sign.


def _sgd(settings):
  return [optax.identity()]  # A chain needs a link.


# Name of an optimizer -> the links of a chain from gradients to directions,
# between clipping and decay.  A further one is a function and a row here, and
# its name among those that the config may say.
RULES = dict(adam=_adam, muon=_muon, sgd=_sgd)


def make(
  name: str,
  beta1: float,
  beta2: float,
  eps: float,
  weight_decay: float,
  clip_norm: float,
  axes: Any,
  muon_adam_share: float = 1.0,
  muon_embeddings: bool = False,
) -> optax.GradientTransformation:
  """Gradients -> directions of descent, before the learning rate.

  What is a matrix is read from the names of its axes, never from their number:
  layers stacked along an axis 'layers' are so many matrices, norms and biases.

  Args:
    name: one of `RULES`.
    beta1, beta2, eps: of Adam.
    weight_decay: decoupled, of matrices only.
    clip_norm: global gradient norm; 0 is off.
    axes: tree of the parameters with the names of their axes, a tuple each,
      as `policy.logical_axes` makes it.
    muon_adam_share: of 'muon', the learning rate of what is Adam's, over that
      of Muon; > 0.
    muon_embeddings: of 'muon', whether embedding and head are Muon's too.

  Raises:
    ValueError: an unknown name.
  """
  if name not in RULES:
    raise ValueError(f'optimizer {name!r} is not one of {sorted(RULES)}')
  settings = Settings(beta1, beta2, eps, muon_adam_share, muon_embeddings, axes)
  # Clipped before the moments see it: one large gradient would stay in the
  # second moments for 1 / (1 - beta2) steps.
  parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm > 0 else []
  parts += RULES[name](settings)
  if weight_decay > 0:
    is_matrix = _of_each(lambda names: len(_places(names)) > 1, axes)
    # Behind the rule: in front of it the decay would be divided by Adam's
    # second moments, and be an L2 penalty.
    parts.append(optax.add_decayed_weights(weight_decay, mask=is_matrix))
  return optax.chain(*parts)


@functools.cache
def constant_schedule(learning_rate: float, warmup_updates: int) -> Schedule:
  """Linear warm-up to a constant."""

  def schedule(step):
    # From step + 1, or the first update would have the rate 0.
    return learning_rate * jnp.minimum(1.0, (step + 1) / (warmup_updates + 1))

  return schedule


@functools.cache
def cosine_schedule(
  learning_rate: float, end: float, warmup_steps: int, steps: int
) -> Schedule:
  """Linear warm-up, then half a cosine down to `end` at the last step.

  Steps count from 0: the first at the full rate is `warmup_steps`, the last is
  `steps` - 1.  Where these are one and the same, it has the full rate.
  """
  falling = max(1, steps - 1 - warmup_steps)

  def schedule(step):
    warm = jnp.minimum(1.0, (step + 1) / (warmup_steps + 1))
    done = jnp.clip((step - warmup_steps) / falling, 0, 1)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * done))
    return warm * (end + (learning_rate - end) * cosine)

  return schedule


def init_state(
  optimizer: optax.GradientTransformation, params: Any
) -> TrainState:
  """A state at step 0."""
  return TrainState(
    params=params,
    opt_state=optimizer.init(params),
    step=jnp.zeros((), jnp.int32),
  )


def reset(
  optimizer: optax.GradientTransformation, state: TrainState
) -> TrainState:
  """Fresh moments, as at the start of a new problem; the step goes on."""
  return state.replace(opt_state=optimizer.init(state.params))


def apply(
  optimizer: optax.GradientTransformation,
  schedule: Schedule,
  state: TrainState,
  gradient: Any,
) -> TrainState:
  """One descent step."""
  direction, opt_state = optimizer.update(
    gradient, state.opt_state, state.params
  )
  learning_rate = schedule(state.step)
  params = jax.tree.map(
    # The rate is float32, which makes the difference float32 where parameters
    # are narrower: without the cast, the state would change its dtype.
    lambda p, d: (p - learning_rate * d).astype(p.dtype),
    state.params,
    direction,
  )
  return state.replace(params=params, opt_state=opt_state, step=state.step + 1)


def _muon_axes(with_embeddings, names):
  """Which axes make a matrix for Muon; None: the parameter is Adam's.

  Muon is for hidden matrices, x W = y.  Its author leaves scalars, vectors, and
  the layers of input and output to AdamW (K. Jordan, "Muon: An optimizer for
  hidden layers in neural networks", 2024), and so does Moonlight: norms,
  embedding and head (arXiv 2502.16982, section 2.2).  A small vocabulary is
  another matter: Muon moves the rows of rare tokens as far as all others.
  """
  places = _places(names)
  is_embedding = _VOCAB in names and not with_embeddings
  if len(places) < 2 or _VALUE in names or is_embedding or _SEEN & {*names}:
    return None
  return optax.contrib.MuonDimensionNumbers(*places)


def _places(names):
  """Where the axes of one matrix are."""
  return [i for i, name in enumerate(names) if name not in _STACKED]


def _of_each(function, axes):
  return jax.tree.map(function, axes, is_leaf=lambda x: type(x) is tuple)
