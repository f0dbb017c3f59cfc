"""The programs of a run, lowered and compiled for devices that are not there.

They are those that `stages.rl.setup` and the rollout make, from the same
functions, for arrays of which only shapes and shardings are known.
"""

import dataclasses
import functools
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15.data_types import Batch, TrainState
from k15.model import parts
from k15.rollout import backend
from k15.rollout import features as features_lib
from k15.rollout import slots as slots_lib
from k15.runtime import context
from k15.runtime import pictures
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.context import Layout
from k15.stages.rl import minibatches
from k15.stages.rl import updates
from launch.plan import hlo

UPDATE, LOGPROBS, PREFILL = 'update', 'ref_logprobs', 'prefill'
INSERT, GENERATE, ENCODE = 'insert', 'generate', 'encode'
_UNITS = {'': 1, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """What the programs are made of; arrays are shapes with shardings.

  Attributes:
    config: the whole.
    layout: of training.
    rollout_layout: of the rollout, over the same devices.
    optimizer: of the config.
    state: what an update changes.
    slots: what decodes.
    rollout_params: the weights it is handed over.
    decoded_params: those it decodes with, some kernels joined.
    shown: how pictures are laid out in rows; None: the policy sees none.
  """

  config: Any
  layout: Layout
  rollout_layout: Layout
  optimizer: Any
  state: TrainState
  slots: slots_lib.SlotDecoder
  rollout_params: Any
  decoded_params: Any
  shown: pictures.Shown | None = None

  @property
  def params(self) -> Any:
    """What an update computes with: what is frozen and what is trained."""
    return weights.joined(self.state, self.state.params)

  @property
  def looks_once(self) -> bool:
    """Whether updates take features, for none of them changes the tower."""
    return parts.has_tower(self.state.frozen)

  @property
  def shares_weights(self) -> bool:
    """Whether the rollout reads the very arrays that training has."""
    if self.layout.shape.lora_rank:  # It reads merged ones.
      return False
    same = jax.tree.map(
      lambda a, b: a.sharding == b.sharding and a.dtype == b.dtype,
      self.params,
      self.rollout_params,
    )
    return all(jax.tree.leaves(same))

  @property
  def rollout_parts(self) -> tuple[Any, Any]:
    """Of the weights it decodes with, the text's and the tower's, if any."""
    return parts.split(self.decoded_params, parts.TEXT)

  @property
  def joined_bytes(self) -> int:
    """Of the kernels that decoding has joined, beside what they were of."""
    own = {id(x) for x in jax.tree.leaves(self.rollout_params)}
    made = jax.tree.leaves(self.decoded_params)
    return bytes_per_chip([x for x in made if id(x) not in own])

  @property
  def weight_bytes(self) -> int:
    """Of the weights that the rollout reads, on a chip."""
    return bytes_per_chip(self.rollout_params)

  @property
  def weights_read(self) -> float:
    """Bytes of weights a chip works with in a decode step, gathered or not.

    The tower's are none of them.
    """
    leaves = jax.tree.leaves(self.rollout_parts[0])
    total = sum(x.size * x.dtype.itemsize for x in leaves)
    return total / self.rollout_layout.mesh.shape['tensor']


@dataclasses.dataclass(frozen=True)
class Compiled:
  """One program; bytes are per chip.

  Attributes:
    name: of the program.
    arguments, outputs, aliased, temporaries, code: bytes; `aliased` are
      outputs in the place of arguments.
    seconds: tracing and compiling took.
    collectives: of the program's text, see `launch.plan.hlo`.
    needed: None, or bytes it needs if the compiler refused it.
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
  needed: int | None = None
  message: str = ''

  @property
  def peak(self) -> int:
    """Bytes while it runs, of all that it touches."""
    if self.needed is not None:
      return self.needed
    kept = self.arguments + self.outputs - self.aliased
    return kept + self.temporaries + self.code


def make_run(config: Any, devices: Sequence[Any]) -> Run:
  """Shapes and shardings of a run on the devices.

  Raises:
    ValueError: a mesh that does not divide something.
  """
  tokenizer = context.make_tokenizer(config)
  layout = context.make_layout(config, tokenizer, devices)
  rollout_layout = context.make_rollout_layout(config, layout)
  trains = config.rl.trains
  optimizer = weights.make_optimizer(
    config, layout.shape, config.optimizer.name, trains=trains
  )
  slots = rollouts.make_slots(config, rollout_layout, tokenizer)
  handed_over = weights.param_layout(rollout_layout)
  return Run(
    config=config,
    layout=layout,
    rollout_layout=rollout_layout,
    optimizer=optimizer,
    state=weights.state_layout(layout, optimizer, trains),
    slots=slots,
    rollout_params=handed_over,
    decoded_params=_joined(slots, rollout_layout, handed_over),
    shown=pictures.shown_of(config, layout.sight, None),
  )


def _joined(slots, layout, params):
  """What `SlotDecoder.prepare` makes of parameters; those left alone stay."""
  join = jax.jit(lambda *kernels: jnp.concatenate(kernels, axis=-1))

  @functools.cache  # All layers but one are like another.
  def place_of(*kernels):
    with layout.use_mesh():
      lowered = join.lower(*kernels)
      return _outputs(lowered, lowered.compile()).sharding

  def joined(*kernels):
    made = jax.eval_shape(join, *kernels)
    place = place_of(*kernels)
    return jax.ShapeDtypeStruct(made.shape, made.dtype, sharding=place)

  return slots.fused(params, joined)


def compile_update(run: Run) -> Iterator[Compiled]:
  """The step of `k15.training.update` with the loss of the config."""
  step, _ = _updates(run)
  is_current = jax.ShapeDtypeStruct((), bool)
  operands = run.state, batch(run), is_current
  yield _compile(run.layout.use_mesh(), UPDATE, step, *operands)[0]


def compile_logprobs(run: Run) -> Iterator[Compiled]:
  """Reference log-probabilities of one batch."""
  _, logprobs = _updates(run)
  operands = run.params, batch(run)
  yield _compile(run.layout.use_mesh(), LOGPROBS, logprobs, *operands)[0]


def compile_rollout(run: Run) -> Iterator[Compiled]:
  """Prefill of the longest contexts, their insertion, and decoding.

  Each takes what the one before makes, in the layout that it has then: of a
  policy that sees, prefill takes the features of the largest pictures.
  """
  seen, prefix = (), None
  if run.shown:
    encode, seen = _encode(run)
    yield encode
  if seen is not None:
    prefill, prefix = _prefill(run, seen)
    yield prefill
  state = _empty_slots(run)
  if prefix is not None:
    # Insertion chooses the layout of the slots that decoding then meets:
    # compiled from empty ones, decoding would be another program.
    insert, inserted = _insert(run, prefix, state)
    yield insert
    state = state if inserted is None else inserted
  yield _generate(run, state)


def compile_shorter(run: Run) -> Iterator[Compiled]:
  """Prefill and insertion of contexts that are shorter than the longest.

  A run compiles them too, before its first iteration, and the small program
  that frees slots.  Of a policy that sees, those with pictures are left out.
  """
  state = _empty_slots(run)
  chosen = jax.ShapeDtypeStruct((run.slots.num_slots,), bool)
  _made(run, slots_lib.SlotDecoder.free, run.slots, state, chosen)
  for bucket in (b for b in run.slots.buckets if b < _bucket(run)):
    prefill, prefix = _prefill(run, (), bucket)
    yield prefill
    if prefix is not None:
      yield _insert(run, prefix, state)[0]


def compile_generate(run: Run) -> Iterator[Compiled]:
  """Decoding alone, from slots that are all free."""
  yield _generate(run, _empty_slots(run))


def slot_bytes(run: Run) -> int:
  """Of the state of decoding, on a chip."""
  return bytes_per_chip(_empty_slots(run))


def batch(run: Run) -> Batch:
  """A batch of `updates.make_batches`, its rows where they are computed."""
  B, T, S = minibatches.batch_shape(run.config, run.layout)
  is_shared = minibatches.shares_prompts(run.config, run.layout)

  def array(dtype, *shape):
    where = run.layout.row_sharding(shape)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

  def field(name):
    if name == 'num_rows':
      return array(jnp.int32)
    if name == 'images' and run.shown:
      row = np.zeros((1, T), np.int32)
      one = run.shown.rows(row, row, ())
      if run.looks_once:
        one = one.without_patches()
      return jax.tree.map(lambda x: array(x.dtype, B, *x.shape[1:]), one)
    if name == 'features' and run.looks_once:
      own = jax.eval_shape(
        functools.partial(features_lib.encode, run.layout.shape), run.params,
        features_lib.blank_picture(run.shown.sight, run.shown.row_patches),
      )  # fmt: skip
      return jax.tree.map(lambda x: array(x.dtype, B, *x.shape[1:]), own)
    absent = (
      'domain_ids', 'images', 'features',
      *([] if is_shared else ['prompt_ids']),
    )  # fmt: skip
    if name in absent:
      return None
    if name in ('tokens', 'positions', 'segment_ids', 'prompt_ids'):
      return array(jnp.int32, B, T)
    is_of_sequences = name in ('advantage', 'pg_weight', 'reg_weight')
    return array(jnp.float32, B, S if is_of_sequences else T)

  return Batch(**{f.name: field(f.name) for f in dataclasses.fields(Batch)})


def bytes_per_chip(tree: Any) -> int:
  """Of shapes with shardings."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64))
    * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
  )


def needed_bytes(message: str) -> int | None:
  """Of the compiler's words for a program that does not fit, or None."""
  number = r'([\d.]+)([KMGT]?)'
  # The compiler has two sentences for it, by what does not fit.
  match = re.search(rf'Used {number}i?B? of', message) or re.search(
    rf'required for HLO temporaries \({number}\)', message
  )
  return int(float(match[1]) * _UNITS[match[2]]) if match else None


def _updates(run):
  places = jax.tree.map(lambda x: x.sharding, run.state)
  return updates.make_updates(run.config, run.layout, run.optimizer, places)


def _encode(run):
  """The tower's look at the largest picture, and what prefill then gets: the
  rows' places and features; None if the compiler refuses it."""
  sight, rows = run.shown.sight, run.slots.prefill_batch
  size = sight.patch_buckets[-1]
  program, own = _compile(
    run.rollout_layout.use_mesh(), ENCODE, features_lib.encode,
    run.slots.config, run.decoded_params,
    features_lib.blank_picture(sight, size),
  )  # fmt: skip
  if own is None:
    return program, None
  count = size // sight.processor.merge_size**2
  features = _made(run, features_lib.empty, own, rows, count)
  features = _made(run, features_lib.put, features, own, 0, 0, 0)
  return program, (features_lib.blank_rows(rows, _bucket(run)), features)


def _bucket(run):
  """Columns of the longest contexts that are prefilled."""
  longest = rollouts.longest_context(run.config.rollout)
  return run.slots.bucket_of(longest)


def _insert(run, prefix, state):
  request = backend.slot_request(
    run.slots, [], [], [], run.slots.prefill_batch
  )
  return _compile_slots(
    run, INSERT, slots_lib.SlotDecoder.insert, prefix, state, request
  )


def _prefill(run, seen, bucket=0):
  slots, columns = run.slots, bucket or _bucket(run)
  tokens = jax.ShapeDtypeStruct((slots.prefill_batch, columns), jnp.int32)
  lengths = jax.ShapeDtypeStruct((slots.prefill_batch,), jnp.int32)
  return _compile_slots(
    run, PREFILL, slots_lib.SlotDecoder.prefill, run.decoded_params, tokens,
    lengths, *seen,
  )  # fmt: skip


def _empty_slots(run):
  return _made(run, slots_lib.SlotDecoder.init_decode_state, run.slots)


def _made(run, function, *operands):
  """What a small program of the rollout makes."""
  with run.rollout_layout.use_mesh():
    lowered = function.lower(*operands)
    return _outputs(lowered, lowered.compile())


def _generate(run, state):
  free = jax.ShapeDtypeStruct((), np.int32)
  shape = run.slots.num_slots, run.slots.tokens_per_call
  given = jax.ShapeDtypeStruct(shape, np.int32)
  return _compile_slots(
    run, GENERATE, slots_lib.SlotDecoder.generate, run.decoded_params, state,
    free, False, given,
  )[0]  # fmt: skip


def _compile_slots(run, name, function, *operands):
  mesh = run.rollout_layout.use_mesh()
  return _compile(mesh, name, function, run.slots, *operands)


def _compile(mesh, name, function, *operands):
  """The program, and what it makes, None if the compiler refuses it."""
  start = time.perf_counter()
  try:
    with mesh:
      lowered = function.lower(*operands)
      compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    needed = needed_bytes(str(error))
    if needed is None:
      raise
    seconds = time.perf_counter() - start
    refused = Compiled(name, seconds=seconds, needed=needed, message=str(error))
    return refused, None
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
  return program, _outputs(lowered, compiled)


def _outputs(lowered, compiled):
  """What a program makes, as shapes with the layout the compiler chose."""
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    lowered.out_info,
    compiled.output_shardings,
  )
