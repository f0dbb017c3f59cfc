"""Several processes that run one program over one mesh, as on a pod of TPUs.

Every process takes the same decisions from the same numbers.  What may differ
between them, such as verdicts that time out and requests to stop, is agreed on
here, at the same point of the program in all of them.  Only the first writes
logs and reports.
"""

import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

# A process that says nothing for so long is dead, and ends the others.
HEARTBEAT_SECONDS = 30
PROCESS_VARIABLE = 'K15_PROCESS_ID'


def join(coordinator: str, num_processes: int, process_id: int) -> None:
  """Meets the other processes; call it before any device is used.

  Args:
    coordinator: 'host:port' of the first process, free there.
    num_processes: 1: this one alone; -1: as the cluster says (TPU pods, Slurm).
    process_id: of this one, from 0; -1: `PROCESS_VARIABLE` of the environment.

  Raises:
    ValueError: the three do not fit.
    OSError: the others did not come.
  """
  if num_processes == 1:
    return
  # Our own handler of SIGTERM saves first; on a CPU, gloo connects processes.
  jax.config.update('jax_enable_preemption_service', False)
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  known = {}
  if num_processes > 1:
    known = dict(
      coordinator_address=coordinator,
      num_processes=num_processes,
      process_id=_process_id(num_processes, process_id, os.environ),
    )
  try:
    jax.distributed.initialize(
      **known, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
    )
  except RuntimeError as error:
    raise OSError(f'mesh.coordinator {coordinator!r}: {error}') from None


def meet(mesh: jax.sharding.Mesh) -> None:
  """Connects all groups of devices that reduce together on this mesh.

  gloo gives up a group whose processes come more than 30 s apart, as they may
  once each has compiled a large program for itself; now they are together.
  """
  if jax.process_count() == 1:
    return
  axes = [name for name in mesh.axis_names if mesh.shape[name] > 1]
  everywhere = jax.sharding.PartitionSpec()
  one = jax.device_put(
    np.float32(1), jax.sharding.NamedSharding(mesh, everywhere)
  )
  for count in range(1, len(axes) + 1):
    for group in itertools.combinations(axes, count):
      add = jax.shard_map(
        functools.partial(jax.lax.psum, axis_name=group),
        mesh=mesh,
        in_specs=everywhere,
        out_specs=everywhere,
        check_vma=False,
      )
      jax.jit(add)(one).block_until_ready()


def is_first() -> bool:
  """Whether this process is the one that writes."""
  return jax.process_index() == 0


def any_of(flag: bool) -> bool:
  """Whether the flag is set in any process; all of them have to ask."""
  if jax.process_count() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


class Poll:
  """`any_of` for loops that ask after every response, thousands an iteration.

  Several processes agree once in `seconds` or so, at the same call of each: the
  first says how long the calls since the last time took, and so after how many
  more they agree again.  In between the answer is no.  All of them have to ask
  equally often.
  """

  def __init__(
    self,
    flag: Callable[[], bool],
    seconds: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    """`flag` is asked in each process; `clock` gives seconds."""
    self._flag, self._seconds, self._clock = flag, seconds, clock
    self._since, self._calls, self._stride = clock(), 0, 1

  def __call__(self) -> bool:
    """Whether the flag is set in any process."""
    if jax.process_count() == 1:
      return self._flag()
    self._calls += 1
    # An agreement is an exchange between all hosts; after every response it
    # would cost more than the response.
    if self._calls < self._stride:
      return False
    now = self._clock()
    own = np.array([self._flag(), now - self._since], np.float32)
    told = np.asarray(multihost_utils.process_allgather(own))
    rate = self._calls / max(float(told[0, 1]), 1e-3)
    # Growing step by step, so that calls which slow down are soon noticed.
    most = 2 * self._stride
    self._stride = int(min(max(rate * self._seconds, 1), most))
    self._since, self._calls = now, 0
    return bool(told[:, 0].any())


def of_first(values: np.ndarray) -> np.ndarray:
  """The first process's values, bit by bit; all have to ask, in one shape."""
  if jax.process_count() == 1:
    return values
  # As bytes: 64 bits would be cut to 32 on the way.
  raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
  raw = np.asarray(multihost_utils.broadcast_one_to_all(raw), np.uint8)
  return raw.view(values.dtype).reshape(values.shape)


def wait(name: str) -> None:
  """Returns when all processes are here; the name tells places apart."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def to_host(tree: Any) -> Any:
  """Whole arrays as numpy in every process; all of them have to ask."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


def leave(error: BaseException) -> NoReturn:
  """Ends a process whose others wait for it, or are gone themselves.

  At once: a proper end would wait minutes for the others.
  """
  lines = str(error).splitlines() or [type(error).__name__]
  print(
    f'k15: process {jax.process_index()} of {jax.process_count()} ends, since'
    f' it or another one failed: {lines[0]}; run the same command again in all'
    ' of them',
    file=sys.stderr,
    flush=True,
  )
  sys.stdout.flush()
  os._exit(1)


def _process_id(
  num_processes: int, process_id: int, environment: Mapping[str, str]
) -> int:
  text = environment.get(PROCESS_VARIABLE, '')
  if process_id == -1 and not text.isdigit():
    raise ValueError(
      f'mesh.process_id is -1, and ${PROCESS_VARIABLE} is {text!r}, no number'
    )
  number = int(text) if process_id == -1 else process_id
  if not 0 <= number < num_processes:
    raise ValueError(
      f'process {number} is none of mesh.num_processes, {num_processes}'
    )
  return number
