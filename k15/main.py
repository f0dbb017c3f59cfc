"""Command line: `python -m k15.main --config=FILE[:VARIANT] --workdir=DIR`.

Runs the stages of the config in a work folder; the same command again goes on
where it stopped.  `--config.KEY=VALUE` overrides any key of the config.
"""

import json
import pathlib
import signal
import sys
import threading
import traceback

import jax
from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15 import files
from k15 import recipe
from k15.checkpoints import hf_config
from k15.checkpoints import stage_inputs
from k15.checkpoints import state
from k15.checkpoints import tensor_files
from k15.config import checks
from k15.config import command_line
from k15.config import exit_codes
from k15.config import keys
from k15.config import resume
from k15.data import arithmetic
from k15.data import conversations
from k15.devices import handover
from k15.devices import host_memory
from k15.devices import hosts
from k15.generation import writers
from k15.rewards import scoring
from k15.rollout import requests
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.serving import remote
from k15.stages import curation_steps

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment file.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')


def main(argv: list[str]) -> None:
  del argv
  logging.set_verbosity(logging.WARNING)
  try:
    workdir, config = _prepare()
    if config.rollout.workers:
      rollouts.worker_pages()  # What is not installed is said at once.
    context = context_lib.make(config, workdir, _stop_on_signal())
    hosts.meet(context.layout.mesh)
    if context.rollout_layout.mesh != context.layout.mesh:
      hosts.meet(context.rollout_layout.mesh)
    # Not before the data were read: what never began binds no later run.
    _write_config(workdir, config)
  except (ValueError, OSError) as error:
    command_line.exit_with(str(error))
  try:
    recipe.run(context)
  except context_lib.Interrupted as interrupted:
    print(f'{interrupted}; the same command goes on from here', flush=True)
    sys.exit(exit_codes.INTERRUPTED)
  except (
    conversations.DataError,
    writers.ServerError,
    FloatingPointError,
    handover.Torn,
    state.Mismatch,
    remote.NoWorker,
    stage_inputs.Changed,
    curation_steps.Refused,
    tensor_files.BadWeights,
    scoring.Failed,
  ) as error:
    # Of these, other processes may know nothing: of a slice, of verdicts, of
    # the conversations that the first one reads, of a response.
    own = tensor_files.BadWeights | scoring.Failed | conversations.DataError
    own |= requests.NotFinite
    is_own = isinstance(error, own)
    if is_own and jax.process_count() > 1:
      hosts.leave(error)
    print(f'k15: {error}', file=sys.stderr)
    sys.exit(1)
  except Exception as error:
    if jax.process_count() > 1:
      traceback.print_exc()
      hosts.leave(error)
    raise
  finally:
    context.scorer.close()
    context.logger.close()


def _prepare():
  """Checks config and workdir before any device is asked for work."""
  config, workdir = _CONFIG.value, _WORKDIR.value
  if config is None or workdir is None:
    raise keys.ConfigError('--config and --workdir are needed')
  checks.validate_processes(config)
  m = config.mesh
  hosts.join(m.coordinator, m.num_processes, m.process_id)
  context_lib.adopt_checkpoint(config)
  checks.validate(config, jax.device_count(), arithmetic.KINDS)
  workdir = pathlib.Path(workdir).absolute()
  path = workdir / 'config.json'
  if path.exists():
    for change in resume.refuse_changes(
      hf_config.read_json(path), config, stage_inputs.begun(workdir)
    ):
      if hosts.is_first():
        print(f'changed since the run began: {change}')
    stage_inputs.check_files(workdir, resume.to_json(config))
  host_memory.keep_freed()
  return workdir, config


def _write_config(workdir, config):
  if not hosts.is_first():
    return
  text = json.dumps(resume.to_json(config), indent=2) + '\n'
  files.replace_file(workdir / 'config.json', text.encode())


def _stop_on_signal():
  """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once."""
  stop = threading.Event()

  def handle(number, frame):
    del frame
    if stop.is_set() and number == signal.SIGINT:
      raise KeyboardInterrupt
    stop.set()
    print('stopping: saving first', file=sys.stderr, flush=True)

  signal.signal(signal.SIGINT, handle)
  signal.signal(signal.SIGTERM, handle)
  return stop


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
