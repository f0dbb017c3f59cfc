"""A rollout worker: `python -m k15.serve --config=FILE --port=9100`.

It serves the model of `--checkpoint` (a directory in the Hugging Face layout,
its name on the hub, a stage's in `workdir/models`, or a workdir, whose last
stage is meant), with its shape and tokenizer, or waits for a trainer that sends
weights: one whose config names the worker in `rollout.workers`.  The port also
answers JetStream's own Decode and HealthCheck.  SIGTERM and Ctrl-C end it.
`--http_port` answers as OpenAI's API does, to those who show the same token;
`--metrics_port` serves numbers for Prometheus on the loopback; `--timeline`
keeps a file of what every slot did, which the report draws if it lies in the
work folder.
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
from k15.config import extras
from k15.config import keys
from k15.data import hub
from k15.devices import host_memory
from k15.rollout import timeline

try:
  from k15.runtime import endpoint
  from k15.runtime import worker
  from k15.serving import prometheus
except ModuleNotFoundError as error:  # Of the extra, which few need.
  raise extras.explain('a rollout worker', error, 'serve') from None


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_string('checkpoint', '', 'Model to begin with.')
  flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
  flags.DEFINE_integer('port', 0, 'Port; 0: any that is free.')
  flags.DEFINE_integer(
    'http_port', None, 'Port of /v1/...; 0: any that is free; none: off.'
  )
  flags.DEFINE_bool('http_without_token', False, 'On the loopback alone.')
  flags.DEFINE_string('http_model', '', "Its name; '': of the checkpoint.")
  flags.DEFINE_float('http_seconds', 600.0, 'That an answer may take.')
  flags.DEFINE_integer(
    'metrics_port', None, 'Port for Prometheus; 0: any that is free; none: off.'
  )
  flags.DEFINE_string(
    'timeline', '', 'What slots do: such as WORKDIR/timeline-9100.jsonl.'
  )


def main(argv: list[str]) -> None:
  del argv
  options = flags.FLAGS
  host_memory.keep_freed(threads_compute=True)
  logging.set_verbosity(logging.WARNING)
  stop = threading.Event()
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: stop.set())
  slots = timeline.Timeline(options.timeline) if options.timeline else None
  server = exporter = front = None
  try:
    checkpoint, record = options.checkpoint, slots and slots.record
    if checkpoint:  # Once: another stage of a run may end meanwhile.
      checkpoint = str(models.directory_of(hub.model_path(checkpoint)))
    config = options.config
    keys.refuse(config is None, '--config is needed')
    config.checkpoint = hub.model_path(config.checkpoint)
    server = worker.make(
      config, options.host, options.port, record, checkpoint
    )
    if options.http_port is not None:
      front = endpoint.add_http(
        server,
        config,
        options.host,
        options.http_port,
        options.http_model,
        options.http_without_token,
        options.http_seconds,
      )
    if options.metrics_port is not None:
      exporter = prometheus.Exporter(server.numbers, options.metrics_port)
    version = server.prepare(checkpoint)
    server.start()
  except (ValueError, OSError) as error:
    if server:
      server.stop()  # Its threads would go on without this one.
    command_line.exit_with(str(error))
  has = f'{checkpoint}, step {version}' if checkpoint else 'no weights yet'
  print(f'rollout worker on {options.host}:{server.port}, {has}', flush=True)
  if front:
    print(
      f'{front.model!r} on http://{options.host}:{front.port}/v1', flush=True
    )
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
  define_flags()
  app.run(main, flags_parser=command_line.parse_flags)
