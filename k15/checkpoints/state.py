"""Atomic checkpoints on Orbax: all of a stage's state in one step, or nothing.

A step has two items: `state`, the device pytree with its shardings, and
`host`, everything the host remembers (samplers, replay buffer with unfinished
responses, random states, counters), as a dict of dicts packed into an npz.
Orbax writes to a temporary folder and renames it at the end, so
that a kill at any moment leaves the previous step as it was.
"""

import io
import json
import pathlib
from typing import Any

import jax
import numpy as np

from k15 import quiet_imports as quiet


class Mismatch(Exception):
  """What was saved is not what is to be restored."""


class Checkpoints:
  """The checkpoints of one stage."""

  def __init__(self, directory: str | pathlib.Path, keep: int):
    """Opens or creates a folder that keeps the newest `keep` steps."""
    options = quiet.ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      # When `save` returns, it is on disk: a run that was asked to stop then
      # says that it is saved, and ends.
      enable_async_checkpointing=False,
      # What a kill left of a save goes away at the next start, or it would fill
      # the disk.
      cleanup_tmp_directories=True,
    )
    self._manager = quiet.ocp.CheckpointManager(
      pathlib.Path(directory).absolute(),
      options=options,
      item_names=('state', 'host'),
    )

  def latest_step(self) -> int | None:
    """The newest complete step, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: Any, host: dict[str, Any]) -> None:
    """Writes a step; returns when it is on disk.  An existing one stays.

    Args:
      step: its number.
      state: pytree of arrays.
      host: part -> name -> numpy array, or a value that JSON can hold.
    """
    # An iteration that breaks off saves what it began with, which may be there.
    if step in self._manager.all_steps():
      return
    self._manager.save(
      step,
      args=quiet.ocp.args.Composite(
        state=quiet.ocp.args.StandardSave(state),
        host=quiet.ocp.args.StandardSave(dict(npz=pack(host))),
      ),
    )
    self._manager.wait_until_finished()

  def host(self, step: int) -> dict[str, Any]:
    """What the host remembers of a step, without anything of the devices."""
    # Without shapes to restore to: how much there is shows once it is read.
    # Hence one array, of however many bytes.
    asked = quiet.ocp.args.StandardRestore()
    restored = self._manager.restore(
      step, args=quiet.ocp.args.Composite(host=asked)
    )
    return unpack(np.asarray(restored.host['npz']))

  def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads a step.

    Args:
      step: its number.
      like: pytree of arrays or ShapeDtypeStructs; shapes, dtypes and
        shardings to restore to.

    Returns:
      The state and the host dict.

    Raises:
      Mismatch: the step holds other arrays than `like` has.
    """
    abstract = jax.tree.map(quiet.ocp.utils.to_shape_dtype_struct, like)
    self._refuse_other_arrays(step, abstract)
    restored = self._manager.restore(
      step,
      args=quiet.ocp.args.Composite(
        state=quiet.ocp.args.StandardRestore(abstract)
      ),
    )
    return restored.state, self.host(step)

  def close(self) -> None:
    self._manager.close()

  def _refuse_other_arrays(self, step, abstract):
    # Orbax itself would leave a hole where an array is missing, and ignore one
    # that nobody asks for: moments of an optimizer that works otherwise.
    folder = pathlib.Path(self._manager.directory) / str(step) / 'state'
    saved = _arrays(quiet.ocp.StandardCheckpointHandler().metadata(folder).tree)
    asked = _arrays(abstract)
    differ = sorted(
      name for name in saved | asked if saved.get(name) != asked.get(name)
    )
    if differ:
      name = differ[0]
      raise Mismatch(
        f'{folder} was saved by another version or under other settings:'
        f' {len(differ)} arrays differ, {name} is of'
        f' {saved.get(name, "nothing")} there and'
        f' {asked.get(name, "nothing")} now: choose another workdir, or remove'
        f' {folder.parents[1]} to do the stage again'
      )


def pack(host: dict[str, dict[str, Any]]) -> np.ndarray:
  """Packs two levels of names, arrays and JSON values, into uint8 [bytes]."""
  arrays, values = {}, {}
  for part, entries in host.items():
    values[part] = {}
    for name, value in entries.items():
      if isinstance(value, np.ndarray):
        arrays[f'{part}/{name}'] = value
      else:
        values[part][name] = value
  text = np.frombuffer(json.dumps(values).encode(), np.uint8)
  buffer = io.BytesIO()
  # Not pickled: what is read again must not be a program, nor depend on where a
  # class is defined.
  np.savez(buffer, json=text, **arrays)
  return np.frombuffer(buffer.getvalue(), np.uint8)


def _arrays(tree):
  """Shape and dtype of each array, by a name made of the keys that lead to it.

  Optax's tuples have names for their fields, what Orbax saved of them too.
  """
  arrays = {}
  for path, x in jax.tree_util.tree_leaves_with_path(tree):
    keys = jax.tree_util.keystr(path, simple=True, separator='/')
    arrays[keys] = f'{np.dtype(x.dtype).name} {list(x.shape)}'
  return arrays


def unpack(packed: np.ndarray) -> dict[str, dict[str, Any]]:
  """The inverse of `pack`."""
  with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  host = json.loads(arrays.pop('json').tobytes())
  for name, array in arrays.items():
    part, _, entry = name.partition('/')
    host[part][entry] = array
  return host
