"""The programs of a run, lowered and compiled for devices that are not there.

They are those that `rl.make_stage` and the rollout make, from the same
functions, for arrays of which only shapes and shardings are known.
"""

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15 import context as context_lib
from k15 import policy
from k15 import rl
from k15 import sharding
from k15.data_types import Batch, TrainState
from k15.rollout import backend
from k15.rollout import slots as slots_lib
from launch import hlo

UPDATE, LOGPROBS, PREFILL = 'update', 'ref_logprobs', 'prefill'
INSERT, GENERATE = 'insert', 'generate'
_UNITS = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """What the programs are made of; arrays are shapes with shardings.

  Attributes:
    config: the whole config.
    shape: of the policy.
    mesh: of devices that are not there.
    state: what an update changes.
    slots: what decodes.
  """

  config: Any
  shape: policy.PolicyConfig
  mesh: jax.sharding.Mesh
  state: TrainState
  slots: slots_lib.SlotDecoder


@dataclasses.dataclass(frozen=True)
class Compiled:
  """One program; bytes are per chip.

  Attributes:
    name: of the program.
    arguments, outputs, aliased, temporaries, code: bytes; `aliased` are
      outputs in the place of arguments.
    seconds: the compiler took.
    collectives: of the program's text, see `launch.hlo`.
    over: None, or why the compiler refused: bytes beyond the limit.
    message: what the compiler said then.
  """

  name: str
  arguments: int = 0
  outputs: int = 0
  aliased: int = 0
  temporaries: int = 0
  code: int = 0
  seconds: float = 0.0
  collectives: tuple[hlo.Collective, ...] = ()
  over: int | None = None
  message: str = ''

  @property
  def peak(self) -> int:
    """Bytes while it runs, all that it touches."""
    return (
      self.arguments
      + self.outputs
      - self.aliased
      + self.temporaries
      + self.code
    )


def make_run(config: Any, devices: Sequence[Any]) -> Run:
  """Shapes and shardings of a run on the devices.

  Raises:
    ValueError: a mesh that does not divide something.
  """
  mesh = sharding.make_mesh(**config.mesh, devices=devices)
  tokenizer = context_lib.make_tokenizer(config)
  shape = context_lib.make_policy(config, tokenizer)
  context = context_lib.Context(
    config, None, shape, mesh, task=None, scorer=None, logger=None, stop=None
  )
  optimizer = context_lib.make_optimizer(config, config.optimizer.name)
  return Run(
    config=config,
    shape=shape,
    mesh=mesh,
    state=context_lib.state_layout(context, optimizer),
    slots=context_lib.make_slots(config, shape, mesh, tokenizer),
  )


def compile_update(run: Run) -> Compiled:
  """The step of `k15.update` with the loss of the config."""
  step, _ = _updates(run)
  is_current = jax.ShapeDtypeStruct((), bool)
  return _compile(run, UPDATE, step, run.state, _batch(run), is_current)


def compile_logprobs(run: Run) -> Compiled:
  """Reference log-probabilities of one batch."""
  _, logprobs = _updates(run)
  return _compile(run, LOGPROBS, logprobs, run.state.params, _batch(run))


def compile_rollout(run: Run) -> list[Compiled]:
  """Prefill of the longest contexts, their insertion, and decoding.

  Each takes what the one before makes, in the layout that it has then.
  """
  slots, params = run.slots, rollout_params(run)
  decoder, r = slots_lib.SlotDecoder, run.config.rollout
  bucket = slots.bucket_of(rl.longest_context(r))
  tokens = jax.ShapeDtypeStruct((slots.prefill_batch, bucket), jnp.int32)
  lengths = jax.ShapeDtypeStruct((slots.prefill_batch,), jnp.int32)
  state = _made(run, decoder.init_decode_state, slots)
  prefill, prefix = _compile(
    run, PREFILL, decoder.prefill, slots, params, tokens, lengths, made=True
  )
  programs = [prefill]
  if prefix is not None:
    request = backend.slot_request(slots, [], [], [], slots.prefill_batch)
    insert, inserted = _compile(
      run, INSERT, decoder.insert, slots, prefix, state, request, made=True
    )
    programs.append(insert)
    state = state if inserted is None else inserted
  stop = jax.ShapeDtypeStruct((), np.int32)
  return [
    *programs,
    _compile(run, GENERATE, decoder.generate, slots, params, state, stop),
  ]


def rollout_params(run: Run) -> Any:
  """The weights that sample: those of the state themselves."""
  return run.state.params


def bytes_per_chip(tree: Any) -> int:
  """Of shapes with shardings."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64))
    * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
  )


def _updates(run):
  c = run.config
  optimizer = context_lib.make_optimizer(c, c.optimizer.name)
  layout = jax.tree.map(lambda x: x.sharding, run.state)
  return rl.make_updates(c, run.shape, optimizer, layout)


def _batch(run):
  """A batch of `rl.make_batches`, the same on all devices."""
  B, T, S = rl.batch_shape(run.config)
  everywhere = sharding.sharding_of(run.mesh, (), ())

  def array(dtype, *shape):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=everywhere)

  ints, floats = array(jnp.int32, B, T), array(jnp.float32, B, T)
  values = array(jnp.float32, B, S)
  return Batch(
    tokens=ints,
    positions=ints,
    segment_ids=ints,
    loss_mask=floats,
    ref_logprobs=floats,
    kl_logprobs=floats,
    advantage=values,
    pg_weight=values,
    reg_weight=values,
    num_rows=array(jnp.int32),
  )


def _made(run, function, *operands):
  """What a jitted function makes, as shapes with the layout it chooses."""
  with sharding.use_mesh(run.mesh):
    lowered = function.lower(*operands)
    return _outputs(lowered, lowered.compile())


def _outputs(lowered, compiled):
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    lowered.out_info,
    compiled.output_shardings,
  )


def _compile(run, name, function, *operands, made=False):
  """Compiles; with `made`, also what it makes, None if it is refused."""
  start = time.perf_counter()
  try:
    with sharding.use_mesh(run.mesh), _quiet():
      lowered = function.lower(*operands)
      compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    program = _refused(run, name, str(error), time.perf_counter() - start)
    return (program, None) if made else program
  memory = compiled.memory_analysis()
  program = Compiled(
    name=name,
    arguments=memory.argument_size_in_bytes,
    outputs=memory.output_size_in_bytes,
    aliased=memory.alias_size_in_bytes,
    temporaries=memory.temp_size_in_bytes,
    code=memory.generated_code_size_in_bytes,
    seconds=time.perf_counter() - start,
    collectives=hlo.collectives(compiled.as_text()),
  )
  return (program, _outputs(lowered, compiled)) if made else program


def _refused(run, name, message, seconds): ...


_quiet = contextlib.nullcontext
