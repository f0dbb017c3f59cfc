"""Command line: `python -m k15.main --config=FILE[:VARIANT] --workdir=DIR`.

Runs the stages of the config in a work folder; the same command again goes on
where it stopped.  `--config.KEY=VALUE` overrides any key of the config.
"""

import signal
import sys
import threading
import traceback

import jax
from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15 import recipe
from k15.config import command_line
from k15.config import exit_codes
from k15.devices import hosts
from k15.runtime import context as context_lib
from k15.runtime import failures
from k15.runtime import preparation
from k15.stages.prompt_set import curation_steps


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_string('workdir', None, 'Folder of the run.')


def main(argv: list[str]) -> None:
  del argv
  options = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  try:
    workdir, config = preparation.prepare(options.workdir, options.config)
    context = context_lib.make(config, workdir, _stop_on_signal())
    hosts.meet(context.layout.mesh)
    if context.rollout_layout.mesh != context.layout.mesh:
      hosts.meet(context.rollout_layout.mesh)
    # Not before the data were read: what never began binds no later run.
    preparation.write_config(workdir, config)
  except (ValueError, OSError) as error:
    command_line.exit_with(str(error))
  try:
    recipe.run(context)
  except context_lib.Interrupted as interrupted:
    print(f'{interrupted}; the same command goes on from here', flush=True)
    sys.exit(exit_codes.INTERRUPTED)
  except (*failures.SENTENCES, curation_steps.Refused) as error:
    if isinstance(error, failures.OWN) and jax.process_count() > 1:
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
  define_flags()
  app.run(main, flags_parser=command_line.parse_flags)
