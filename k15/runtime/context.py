"""What every stage of a run shares: config, layouts, task, rewards, logs.

A `Layout` says what the policy is and where its arrays lie; a plan needs no
more.  A `Context` is what a running stage has beside it.  Weights are made from
layouts by `k15.runtime.weights`, what samples from them by
`k15.runtime.rollouts`.
"""

import contextlib
import dataclasses
import functools
import pathlib
import threading
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any

import jax

from k15.checkpoints import models
from k15.config import layout as layout_lib
from k15.data_types import Problem, StopReason
from k15.devices import hosts
from k15.devices import sharding
from k15.model import policy
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import judges
from k15.runtime import pictures as pictures_lib
from k15.runtime import task as task_lib
from k15.training import logs


class Interrupted(Exception):
  """The run was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True)
class Layout:
  """A policy on devices, of which no array needs to exist.

  Attributes:
    shape: of the policy.
    mesh: of devices.
    rules: over which axes of the mesh arrays are split.
    sight: how the policy is shown pictures; None: it sees none.
  """

  shape: policy.PolicyConfig
  mesh: jax.sharding.Mesh
  rules: sharding.Rules = sharding.RULES
  sight: pictures_lib.Sight | None = None

  def row_sharding(self, shape: Sequence[int]) -> jax.sharding.NamedSharding:
    """Where an array of a batch lies, whose first axis, if any, is its rows."""
    axes = ('batch', *[None] * (len(shape) - 1))[: len(shape)]
    return sharding.sharding_of(self.mesh, axes, shape, self.rules)

  def place_rows(self, batch: Any) -> Any:
    """Puts a batch that all processes know where its rows are computed.

    Every process takes its own rows to its own devices, and no others.  Leaves
    are numpy arrays; those without axes go everywhere.
    """
    return jax.tree.map(
      lambda x: jax.make_array_from_callback(
        x.shape, self.row_sharding(x.shape), lambda index: x[index]
      ),
      batch,
    )

  def use_mesh(self) -> contextlib.AbstractContextManager[None]:
    """`sharding.use_mesh` of this mesh, by these rules."""
    return sharding.use_mesh(self.mesh, self.rules)


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
  """Attributes:
  config: the whole config.
  workdir: where everything of the run is written.
  layout: of training.
  task: problems and examples.
  scorer: judges responses.
  logger: of metrics and trajectories.
  stop: set when the run was asked to stop.
  pictures: pixels by digest; None: the policy sees none.
  """

  config: Any
  workdir: pathlib.Path
  layout: Layout
  task: task_lib.Task
  scorer: scoring.Scorer
  logger: logs.Logger
  stop: threading.Event
  pictures: pictures_lib.ImageStore | None = None

  @property
  def shape(self) -> policy.PolicyConfig:
    """Of the policy."""
    return self.layout.shape

  @functools.cached_property
  def shown(self) -> pictures_lib.Shown | None:
    """What lays out the pictures of training; None: the policy sees none."""
    return pictures_lib.shown_of(self.config, self.layout.sight, self.pictures)

  @functools.cached_property
  def rollout_layout(self) -> Layout:
    """Of the rollout of this process, over the same devices."""
    return make_rollout_layout(self.config, self.layout)

  def submit(
    self,
    problem: Problem,
    text: str,
    stop: StopReason,
    opening: str | None = None,
    by_truth: bool = False,
  ) -> futures.Future[Verdict]:
    """Starts to judge a response, in the first process; see `Scorer.submit`."""
    if hosts.is_first():
      return self.scorer.submit(problem, text, stop, opening, by_truth)
    # One sandbox for the run, not one a process: verdicts by time-out would
    # differ between them, and only the first one's count.
    elsewhere = futures.Future()
    elsewhere.set_result(Verdict('wrong', 'judged by the first process'))
    return elsewhere

  def check_pictures(self, buffer: Mapping[str, Any]) -> None:
    """Asks for all pictures of a checkpoint's replay buffer; see `check`."""
    pictures_lib.check(self.pictures, buffer)

  def is_stopping(self) -> bool:
    """Whether any process was asked to stop; all of them have to ask."""
    return hosts.any_of(self.stop.is_set())

  def stop_poll(self) -> hosts.Poll:
    """The same for loops that ask very often, one after each response."""
    return hosts.Poll(self.stop.is_set)


def make(config: Any, workdir: pathlib.Path, stop: threading.Event) -> Context:
  """Builds task and mesh; opens the logs of the workdir."""
  logs.check(config)
  tokenizer = make_tokenizer(config)
  layout = make_layout(config, tokenizer)
  sight = layout.sight
  task, pictures = pictures_lib.stored(
    workdir if sight else None,
    lambda keep: task_lib.build(config, tokenizer, keep, sight),
  )
  return Context(
    config=config,
    workdir=workdir,
    layout=layout,
    task=task,
    scorer=judges.make_scorer(config, task, workdir=workdir),
    logger=logs.make(config, workdir, enabled=hosts.is_first()),
    stop=stop,
    pictures=pictures,
  )


def adopt_checkpoint(config: Any) -> None:
  """Fills in what the config's checkpoint determines: shape and words.

  Raises:
    ValueError: it is no model, or one that `k15.model.policy` does not compute.
  """
  if config.checkpoint:
    directory = models.directory_of(config.checkpoint)
    config.policy.update(models.read_shape(directory))
    config.tokenizer.words = models.read_words(directory)


def make_tokenizer(config: Any) -> Any:
  """The checkpoint's, or one of bytes and the config's words."""
  return models.make_tokenizer(
    config.checkpoint, config.tokenizer.words, config.vision.enabled
  )


def make_layout(
  config: Any, tokenizer: Any, devices: Sequence[jax.Device] | None = None
) -> Layout:
  """Of training, on all devices by default.

  Raises:
    ValueError: the vocabulary lacks words of the tokenizer, or the sizes of
      the mesh do not fit the devices.
  """
  shape = policy.PolicyConfig(**config.policy)
  shape = pictures_lib.seeing(config, shape, tokenizer)
  known = tokenizer.vocab_size
  if config.checkpoint:  # Which has as many rows as its tokenizer says.
    shape = dataclasses.replace(shape, vocab_size=known)
  # More rows than tokens are usual, as checkpoints pad to round numbers; with
  # fewer, a lookup would clamp the id and say nothing.
  if 0 < shape.vocab_size < known:
    raise ValueError(
      f'policy.vocab_size is {shape.vocab_size}, below the {known} of the'
      ' tokenizer'
    )
  m = config.mesh
  return Layout(
    dataclasses.replace(shape, vocab_size=shape.vocab_size or known),
    sharding.make_mesh(m.data, m.fsdp, m.tensor, m.context, devices),
    layout_lib.parse_rules(m.rules),
    pictures_lib.sight_of(config, shape),
  )


def make_rollout_layout(config: Any, layout: Layout) -> Layout:
  """The devices of training as the rollout sees them, in its precision.

  Where the rollout has no mesh, rules or dtype of its own, it has training's.
  """
  r, shape, mesh = config.rollout, layout.shape, layout.mesh
  if r.dtype:
    dtype = shape.dtype if shape.product_dtype else r.dtype
    shape = dataclasses.replace(shape, dtype=dtype, param_dtype=r.dtype)
  if r.mesh:
    mesh = sharding.make_mesh(*r.mesh, devices=mesh.devices.flat)
  key = 'rollout.mesh_rules'
  rules = layout_lib.parse_rules(r.mesh_rules, layout.rules, key)
  return Layout(shape, mesh, rules, layout.sight)
