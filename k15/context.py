"""What every stage of a run shares: config, shapes, mesh, task, logs."""

import contextlib
import dataclasses
import functools
import itertools
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import flax.linen as nn
import jax
import optax

from k15 import config_layout
from k15 import config_routes
from k15 import handover
from k15 import hf
from k15 import hosts
from k15 import logs
from k15 import models
from k15 import optimizer as optimizer_lib
from k15 import policy
from k15 import sharding
from k15 import streams
from k15 import task as task_lib
from k15.data_types import Batch, Problem, StopReason, TrainState
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import access as access_lib
from k15.rollout import backend
from k15.rollout import client
from k15.rollout import engine as engine_lib
from k15.rollout import local_worker
from k15.rollout import remote
from k15.rollout import service
from k15.rollout import slots as slots_lib
from k15.rollout import workers
from k15.rollout.requests import SlotEvent
from k15.tokenizer import ByteTokenizer


class Interrupted(Exception):
  """The run was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
  """Attributes:
  config: the whole config.
  workdir: where everything of the run is written.
  policy: shape of the policy.
  mesh: of devices.
  task: problems and examples.
  scorer: judges responses.
  logger: of metrics and trajectories.
  stop: set when the run was asked to stop.
  """

  config: Any
  workdir: pathlib.Path
  policy: policy.PolicyConfig
  mesh: jax.sharding.Mesh
  task: task_lib.Task
  scorer: scoring.Scorer
  logger: logs.Logger
  stop: threading.Event

  @functools.cached_property
  def rules(self) -> sharding.Rules:
    """Over which axes of the mesh arrays are split in training."""
    return config_layout.parse_rules(self.config.mesh.rules)

  @functools.cached_property
  def rollout_mesh(self) -> jax.sharding.Mesh:
    """The devices of `mesh` as the rollout of this process sees them."""
    return make_rollout_mesh(self.config, self.mesh)

  @functools.cached_property
  def rollout_rules(self) -> sharding.Rules:
    """The same of the rollout."""
    return make_rollout_rules(self.config)

  def submit(
    self,
    problem: Problem,
    text: str,
    stop: StopReason,
    opening: str | None = None,
  ) -> futures.Future[Verdict]:
    """Starts to judge a response, in the first process; see `Scorer.submit`."""
    if hosts.is_first():
      return self.scorer.submit(problem, text, stop, opening)
    elsewhere = futures.Future()
    elsewhere.set_result(Verdict('wrong', 'judged by the first process'))
    return elsewhere

  def is_stopping(self) -> bool:
    """Whether any process was asked to stop; all of them have to ask."""
    return hosts.any_of(self.stop.is_set())

  def stop_poll(self) -> hosts.Poll:
    """The same for loops that ask very often, one after each response."""
    return hosts.Poll(self.stop.is_set)

  def place_rows(self, batch: Batch) -> Batch:
    """Puts a batch of numpy arrays on the devices that compute its rows."""
    return sharding.place_rows(batch, self.mesh, self.rules)

  def use_mesh(self) -> contextlib.AbstractContextManager[None]:
    """`sharding.use_mesh` of training."""
    return sharding.use_mesh(self.mesh, self.rules)

  def use_rollout_mesh(self) -> contextlib.AbstractContextManager[None]:
    """`sharding.use_mesh` of the rollout."""
    return sharding.use_mesh(self.rollout_mesh, self.rollout_rules)


def make(config: Any, workdir: pathlib.Path, stop: threading.Event) -> Context:
  """Builds task and mesh; opens the logs of the workdir."""
  tokenizer = make_tokenizer(config)
  task = task_lib.build(config, tokenizer)
  return Context(
    config=config,
    workdir=workdir,
    policy=make_policy(config, tokenizer),
    mesh=make_mesh(config),
    task=task,
    scorer=make_scorer(config, task),
    logger=logs.Logger(workdir, enabled=hosts.is_first()),
    stop=stop,
  )


def adopt_checkpoint(config: Any) -> None:
  """Fills in what the config's checkpoint determines: shape and words.

  Raises:
    ValueError: it is no model, or one that `k15.policy` does not compute.
  """
  if config.checkpoint:
    directory = models.directory_of(config.checkpoint)
    config.policy.update(models.read_shape(directory))
    config.tokenizer.words = models.read_words(directory)


def init_params(context: Context, seed: int) -> Any:
  """Random parameters, laid out over the mesh."""
  shape = context.policy
  layout = jax.tree.map(
    lambda x: x.sharding, param_layout(shape, context.mesh, context.rules)
  )
  make_params = jax.jit(
    lambda key: nn.unbox(policy.init(shape, key)), out_shardings=layout
  )
  return make_params(streams.key(seed, 'weights'))


def load_params(context: Context, directory: pathlib.Path | None) -> Any:
  """Parameters of a model on disk; None draws them.

  Raises:
    ValueError: files that do not fit the policy; before any device work.
  """
  if directory is None:
    return init_params(context, context.config.seed)
  return hf.load(
    directory,
    context.policy,
    param_layout(context.policy, context.mesh, context.rules),
  )


def state_layout(
  context: Context, optimizer: optax.GradientTransformation
) -> TrainState:
  """A state as `jax.ShapeDtypeStruct`s with their shardings."""

  def init(key):
    params = policy.init(context.policy, key)
    return optimizer_lib.init_state(optimizer, params)

  boxed = jax.eval_shape(init, streams.key_shape())
  return _structs(
    boxed, sharding.param_shardings(context.mesh, boxed, context.rules)
  )


def init_state(
  context: Context, optimizer: optax.GradientTransformation, params: Any
) -> TrainState:
  """A state at step 0, laid out over the mesh; it takes over the params."""
  layout = jax.tree.map(lambda x: x.sharding, state_layout(context, optimizer))
  params = sharding.reshard(params, layout.params)
  fresh = jax.jit(
    lambda params: optimizer_lib.init_state(optimizer, params).replace(
      params=None
    ),
    out_shardings=layout.replace(params=None),
  )
  return fresh(params).replace(params=params)


def make_optimizer(
  context: Context, name: str, axes: Any = None
) -> optax.GradientTransformation:
  """The named optimizer with the settings all stages share.

  `axes` names those of the parameters; None: they are the policy's.
  """
  o = context.config.optimizer
  return optimizer_lib.make(
    name,
    o.beta1,
    o.beta2,
    o.eps,
    o.weight_decay,
    o.clip_norm,
    policy.logical_axes(context.policy) if axes is None else axes,
    o.muon_adam_share,
  )


def make_rollout(
  context: Context,
  stage: str,
  record: Callable[[SlotEvent], None] | None = None,
  columns: int = 0,
) -> Any:
  """The rollout of the config, without weights yet.

  Args:
    context: of the run.
    stage: whose random numbers it draws, one of `streams.NUMBERS`.
    record: told what the slots of this process do, if given.
    columns: tokens of the longest prompt and response; 0: of the config.

  Returns:
    `LocalRollout`, or `RemoteRollout` if the config names workers.

  Raises:
    ValueError, OSError: the token or certificates cannot be used.
  """
  config, r = context.config, context.config.rollout
  tokenizer = context.task.tokenizer
  slots = make_slots(
    config, context.policy, context.rollout_mesh, tokenizer, columns
  )
  key = streams.key(config.seed, 'rollout', stage)
  if not r.workers:
    return client.LocalRollout(slots, key, record)
  settings, access = service.shape_of(slots).settings, make_access(config)
  return remote.RemoteRollout(
    [
      local_worker.make(
        make_engine(config, slots, context.rollout_mesh, tokenizer), record
      )
      if name == 'local'
      else workers.RemoteWorker(name, settings, access, r.silence_seconds)
      for name in r.workers
    ],
    key,
    backend.SlotBackend(slots).check,
    r.patience_seconds,
    r.live_requests,
    r.dtype,
  )


def make_handover(context: Context) -> handover.HandOver:
  """What brings weights of training to where this process decodes, if it does.

  Raises:
    ValueError: the rules do not fit the policy.
  """
  workers = context.config.rollout.workers
  if workers and 'local' not in workers:
    mesh, rules = context.mesh, context.rules
  else:
    mesh, rules = context.rollout_mesh, context.rollout_rules
  layout = param_layout(context.policy, mesh, rules)
  return handover.HandOver(jax.tree.map(lambda x: x.sharding, layout))


@contextlib.contextmanager
def sampling(
  context: Context, params: Any, stage: str, columns: int = 0
) -> Iterator[Any]:
  """A rollout of these weights, under its own mesh; closed in the end.

  Args:
    context: of the run.
    params: in any layout; let go of once the rollout has its own.
    stage, columns: see `make_rollout`.
  """
  rollout = make_rollout(context, stage, columns=columns)
  brought = make_handover(context)
  with context.use_mesh():
    brought.update(params, version=0)
  rollout.set_params(brought.params, version=0)
  del params, brought
  try:
    with context.use_rollout_mesh():
      yield rollout
  finally:
    rollout.close()


def make_tokenizer(config: Any) -> Any:
  """The checkpoint's, or one of bytes and the config's words."""
  if config.checkpoint:
    return models.read_tokenizer(models.directory_of(config.checkpoint))
  return ByteTokenizer(config.tokenizer.words)


def make_policy(config: Any, tokenizer: Any) -> policy.PolicyConfig:
  """Shape of the policy of a config."""
  known = tokenizer.vocab_size
  shape = policy.PolicyConfig(**config.policy)
  if 0 < shape.vocab_size < known:
    raise ValueError(
      f'policy.vocab_size is {shape.vocab_size}, below the {known} of the'
      ' tokenizer'
    )
  return dataclasses.replace(shape, vocab_size=shape.vocab_size or known)


def make_mesh(
  config: Any, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """The devices of the config, as training sees them; all by default."""
  m = config.mesh
  return sharding.make_mesh(m.data, m.fsdp, m.tensor, m.context, devices)


def make_rollout_mesh(
  config: Any, mesh: jax.sharding.Mesh
) -> jax.sharding.Mesh:
  """The devices of `make_mesh` as the rollout sees them."""
  sizes = config.rollout.mesh
  if not sizes:
    return mesh
  return sharding.make_mesh(*sizes, devices=mesh.devices.flat)


def make_rollout_rules(config: Any) -> sharding.Rules:
  """Those of training, but for what the rollout has of its own."""
  rules = config_layout.parse_rules(config.mesh.rules)
  return config_layout.parse_rules(
    config.rollout.mesh_rules, rules, 'rollout.mesh_rules'
  )


def rollout_policy(
  config: Any, shape: policy.PolicyConfig
) -> policy.PolicyConfig:
  """The shape in the precision of the rollout."""
  dtype = config.rollout.dtype
  if not dtype:
    return shape
  return dataclasses.replace(shape, dtype=dtype, param_dtype=dtype)


def make_slots(
  config: Any,
  shape: policy.PolicyConfig,
  mesh: jax.sharding.Mesh,
  tokenizer: Any,
  columns: int = 0,
) -> slots_lib.SlotDecoder:
  """What decodes, of the same shape in every worker; `mesh` of the rollout.

  `columns`: tokens of the longest prompt and response; 0: of the config.
  """
  r, rules = config.rollout, make_rollout_rules(config)
  return slots_lib.SlotDecoder(
    config=rollout_policy(config, shape),
    num_slots=r.num_slots,
    columns=columns or r.max_prompt_length + r.max_length,
    tokens_per_call=r.tokens_per_call,
    prefill_batch=r.prefill_batch,
    eos_ids=tokenizer.eos_ids,
    repetition_count=r.repetition_count,
    repetition_max_period=r.repetition_max_period,
    repetition_min_tokens=r.repetition_min_tokens,
    fuse_projections=all(
      sharding.ways_of(mesh, rules, axis) == 1
      for axis in ('heads', 'kv_heads', 'mlp')
    ),
    cache_dtype=r.cache_dtype,
  )


def make_engine(
  config: Any,
  slots: slots_lib.SlotDecoder,
  mesh: jax.sharding.Mesh,
  tokenizer: Any,
) -> engine_lib.PolicyEngine:
  """What servers run: the decoder with its tokenizer and devices."""
  return engine_lib.PolicyEngine(
    slots,
    tokenizer,
    mesh,
    seed=client.seed_of(streams.key(config.seed, 'serving')),
    rules=make_rollout_rules(config),
  )


def make_access(config: Any) -> access_lib.Access:
  """Token and certificates of the config, or of the environment."""
  r = config.rollout
  return access_lib.make(
    r.token_file, r.tls_authority, r.tls_certificate, r.tls_key
  )


def param_layout(
  shape: policy.PolicyConfig,
  mesh: jax.sharding.Mesh,
  rules: sharding.Rules = sharding.RULES,
) -> Any:
  """Parameters as `jax.ShapeDtypeStruct`s with their shardings."""
  boxed = jax.eval_shape(lambda k: policy.init(shape, k), streams.key_shape())
  return _structs(boxed, sharding.param_shardings(mesh, boxed, rules))


def make_scorer(
  config: Any,
  task: task_lib.Task,
  more_routes: Mapping[str, str] | None = None,
) -> scoring.Scorer:
  """The rewards that the config routes to; close it when done.

  `task` puts the prompts; `more_routes`, domain -> reward, are added.

  Raises:
    ValueError: a route that leads nowhere, or no sandbox for programs.
  """
  routes = config_routes.routes_of(config.reward.default, config.reward.routes)
  routes |= more_routes or {}
  terms = itertools.chain(*map(config_routes.terms_of, routes.values()))
  names = sorted({term.reward for term in terms})
  resources = contextlib.ExitStack()
  judges = scoring.make_judges(config, names, resources)
  r = config.reward
  return scoring.Scorer(
    judges, routes, r.threads, resources, r.cut_is_wrong, task.opening
  )


def _structs(boxed, shardings):
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
    shardings,
  )


def _is_boxed(x):
  return isinstance(x, nn.Partitioned)
