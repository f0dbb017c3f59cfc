"""Config and workdir of a run, checked before any device is asked for work.

A run that goes on has the config it began with, but for keys that may change.
"""

import pathlib
from typing import Any

import jax

from k15 import files
from k15.checkpoints import hf_config
from k15.checkpoints import stage_inputs
from k15.config import checks
from k15.config import keys
from k15.config import resume
from k15.data import arithmetic
from k15.devices import host_memory
from k15.devices import hosts
from k15.runtime import context
from k15.runtime import hub_paths
from k15.runtime import rollouts


def prepare(workdir: str | None, config: Any) -> tuple[pathlib.Path, Any]:
  """The workdir, absolute, and the config with what its checkpoint determines.

  The processes of the run have met then.

  Raises:
    ValueError: the run cannot be, or not go on, so; one sentence.
    OSError: a file of the config or the workdir cannot be read.
  """
  if config is None or workdir is None:
    raise keys.ConfigError('--config and --workdir are needed')
  # Before the first device is asked for.
  host_memory.keep_freed(threads_compute=bool(config.rollout.workers))
  checks.validate_processes(config)
  m = config.mesh
  # Before it, too: which devices there are is decided here.
  hosts.join(m.coordinator, m.num_processes, m.process_id)
  workdir = pathlib.Path(workdir).absolute()
  hub_paths.adopt(config, workdir)
  # Before it is validated: the shape decides which meshes and rules fit.
  context.adopt_checkpoint(config)
  checks.validate(config, jax.device_count(), arithmetic.KINDS)
  path = workdir / 'config.json'
  if path.exists():
    for change in resume.refuse_changes(
      hf_config.read_json(path), config, stage_inputs.begun(workdir)
    ):
      if hosts.is_first():
        print(f'changed since the run began: {change}')
    stage_inputs.check_files(workdir, resume.to_json(config))
  if config.rollout.workers:
    rollouts.worker_pages()  # What is not installed is said at once.
  return workdir, config


def write_config(workdir: pathlib.Path, config: Any) -> None:
  """Leaves it in config.json, which binds whoever goes on with the run."""
  if hosts.is_first():
    files.replace_json(workdir / 'config.json', resume.to_json(config))
