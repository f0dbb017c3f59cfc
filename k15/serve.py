"""A rollout worker: `python -m k15.serve --config=FILE --port=9100`.

It serves the model of `--checkpoint` (a directory in the Hugging Face layout, a
stage's in `workdir/models`, or a workdir, whose last stage is meant), with its
shape and tokenizer, or waits for a trainer that sends weights: one whose config
names the worker in `rollout.workers`.  The port also answers JetStream's own
Decode and HealthCheck.  SIGTERM and Ctrl-C end it.  `--metrics_port` serves
numbers for Prometheus on the loopback; `--timeline` keeps a file of what every
slot did, which the report draws if it lies in the work folder.
"""

import signal
import sys
import threading

from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15.checkpoints import models
from k15.config import command_line
from k15.config import keys
from k15.rollout import timeline
from k15.runtime import worker
from k15.serving import prometheus

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment file.')
_CHECKPOINT = flags.DEFINE_string('checkpoint', '', 'Model to begin with.')
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer('port', 0, 'Port; 0: any that is free.')
_METRICS_PORT = flags.DEFINE_integer(
  'metrics_port', None, 'Port for Prometheus; 0: any that is free; none: off.'
)
_TIMELINE = flags.DEFINE_string(
  'timeline', '', "What slots do: a path such as 'WORKDIR/timeline-9100.jsonl'."
)


def main(argv: list[str]) -> None:
  del argv
  logging.set_verbosity(logging.WARNING)
  stop = threading.Event()
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: stop.set())
  slots = timeline.Timeline(_TIMELINE.value) if _TIMELINE.value else None
  server = exporter = None
  try:
    checkpoint, record = _CHECKPOINT.value, slots and slots.record
    if checkpoint:  # Once: another stage of a run may end meanwhile.
      checkpoint = str(models.directory_of(checkpoint))
    keys.refuse(_CONFIG.value is None, '--config is needed')
    server = worker.make(
      _CONFIG.value, _HOST.value, _PORT.value, record, checkpoint
    )
    if _METRICS_PORT.value is not None:
      exporter = prometheus.Exporter(server.numbers, _METRICS_PORT.value)
    version = server.prepare(checkpoint)
    server.start()
  except (ValueError, OSError) as error:
    if server:
      server.stop()  # Its threads would go on without this one.
    command_line.exit_with(str(error))
  has = f'{checkpoint}, step {version}' if checkpoint else 'no weights yet'
  print(f'rollout worker on {_HOST.value}:{server.port}, {has}', flush=True)
  if exporter:
    print(f'metrics on http://127.0.0.1:{exporter.port}/metrics', flush=True)
  while server.driver.is_alive and not stop.wait(1.0):
    pass
  error = server.driver.error
  if exporter:
    exporter.close()
  server.stop()
  if slots:
    slots.write()
  if error:
    print(f'k15: the rollout driver broke: {error!r}', file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
