"""A rollout worker: `python -m k15.rollout.server --config=FILE --port=9100`.

It serves the model of `--checkpoint` (a directory in the Hugging Face layout, a
stage's in `workdir/models`, or a workdir, whose last stage is meant), with its
shape and tokenizer, or waits for a trainer that sends weights: one whose config
names the worker in `rollout.workers`.  The port also answers JetStream's own
Decode and HealthCheck.  SIGTERM and Ctrl-C end it.  `--metrics_port` serves
numbers for Prometheus on the loopback; `--timeline` keeps a file of what every
slot did, which the report draws if it lies in the work folder.
"""

import asyncio
import concurrent.futures
import signal
import sys
import threading
from typing import Any

import grpc
import jax
import numpy as np
from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15 import arithmetic
from k15 import command_line
from k15 import config_checks
from k15 import config_keys
from k15 import context as context_lib
from k15 import models
from k15 import rollouts
from k15 import run_weights
from k15.rollout import access as access_lib
from k15.rollout import jetstream_adapter
from k15.rollout import local_worker
from k15.rollout import prometheus
from k15.rollout import receiving
from k15.rollout import service as service_lib
from k15.rollout import stock_calls
from k15.rollout import timeline
from k15.rollout import weights
from k15.rollout.access import Access
from k15.rollout.engine import PolicyEngine
from k15.rollout.streams import Limits

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

_STOP_SECONDS = 1.0  # for streams to see that the worker goes
_SCRAPE_SECONDS = 5.0  # for numbers, which wait for the present decode call


class RolloutServer(jetstream_adapter.JetStreamServer):
  """JetStream's server with the rollout service beside its own.

  Attributes:
    driver: decodes.
    keeper: of the weights.
    port: that it listens on.
  """

  def __init__(
    self,
    engine: PolicyEngine,
    layout: Any,
    host: str = '127.0.0.1',
    port: int = 0,
    access: Access = Access(),  # noqa: B008  (it is frozen)
    limits: Limits = Limits(),  # noqa: B008
    record: Any = None,
  ):
    """Listens once it is started.

    Args:
      engine: what it serves.
      layout: pytree of `jax.ShapeDtypeStruct` with shardings: parameters.
      host, port: to listen on; port 0 is any that is free.
      access: who may call.
      limits: what it takes on.
      record: as of `Scheduler`.

    Raises:
      ValueError: others could reach it, and need no token and no certificate.
      OSError: it cannot listen there.
    """
    access_lib.check_host(host, access)
    # The stock constructor listens on all interfaces, without any limits.
    self._executor = concurrent.futures.ThreadPoolExecutor(8)
    self._loop = asyncio.new_event_loop()
    self._loop.set_default_executor(self._executor)
    self._loop_thread = threading.Thread(
      target=self._loop.run_forever, name='rollout server', daemon=True
    )
    self._loop_thread.start()
    self._engine, self._layout = engine, layout
    shape = service_lib.shape_of(engine.slots)
    limits = service_lib.at_least(limits, shape)
    self._driver = self.driver = local_worker.make_driver(
      engine, limits.requests, record
    )
    self.keeper = receiving.WeightsKeeper(
      self.driver, engine.slots.config, layout
    )
    self._service = service_lib.RolloutService(
      self.driver, self.keeper, shape, limits
    )
    try:
      self.port = self._call(self._listen(host, port, access, limits))
    except OSError:
      self.driver.stop()
      self._end_loop()
      raise

  def prepare(self, checkpoint: str = '') -> int:
    """Compiles every shape, so that nothing compiles later; before `start`.

    Args:
      checkpoint: what it serves until a trainer sends weights, as of
        `models.load`; empty: nothing.

    Returns:
      The version of these weights; -1: there are none.

    Raises:
      ValueError, OSError: as `models.load`.
    """
    slots, version = self._engine.slots, -1
    if checkpoint:
      params, version = models.load(checkpoint, slots.config, self._layout)
    else:
      zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self._layout)
      params = weights.place(zeros, self._layout)
    self.driver.command(lambda _: local_worker.warm_up(slots, params)).result()
    if checkpoint:
      self.keeper.begin_with(params, version)
    return version

  def numbers(self) -> dict[str, float]:
    """What `prometheus.Exporter` reads."""

    def read(scheduler):
      partials = scheduler.partials().values()
      return scheduler.stats() | prometheus.staleness(
        partials, scheduler.version
      )

    values = self.driver.command(read).result(_SCRAPE_SECONDS)
    return values | self.keeper.values

  def stop(self) -> None:
    """Ends streams with UNAVAILABLE, then the driver."""
    self._call(self._shut_down())
    self.driver.stop()
    self._end_loop()

  async def _listen(self, host, port, access, limits):
    check = [access_lib.TokenCheck(access.token)] if access.token else []
    self._grpc_server = grpc.aio.server(
      self._executor,
      interceptors=check,
      options=[
        # Larger messages are read, to be refused with a sentence.
        ('grpc.max_receive_message_length', 16 * limits.message_bytes),
        ('grpc.max_send_message_length', 16 * limits.message_bytes),
        ('grpc.so_reuseport', 0),
        # Finds clients whose host is gone; their samples are cancelled.
        ('grpc.keepalive_time_ms', 60_000),
        ('grpc.keepalive_timeout_ms', 60_000),
      ],
    )
    self._grpc_server.add_generic_rpc_handlers((self._service.handlers(),))
    jetstream_adapter.jetstream_pb2_grpc.add_OrchestratorServicer_to_server(
      stock_calls.Orchestrator(self.driver, lambda: self.keeper.has_weights),
      self._grpc_server,
    )
    address = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    return access_lib.add_port(self._grpc_server, address, access)

  async def _shut_down(self):
    self._service.close()
    await self._grpc_server.stop(grace=_STOP_SECONDS)

  def _call(self, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

  def _end_loop(self):
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._loop_thread.join()
    self._loop.close()
    self._executor.shutdown(wait=False)


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
    server = make(_CONFIG.value, _HOST.value, _PORT.value, record, checkpoint)
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


def make(
  config: Any,
  host: str,
  port: int,
  record: Any = None,
  checkpoint: str = '',
) -> RolloutServer:
  """The worker of a config; see `RolloutServer`.

  Shape and tokenizer are those of `checkpoint`, or else of the config's.
  """
  if config is None:
    raise config_keys.ConfigError('--config is needed')
  config.checkpoint = checkpoint or config.checkpoint
  context_lib.adopt_checkpoint(config)
  checked = config.copy_and_resolve_references()
  checked.task.name = 'arithmetic'  # A worker needs no file of problems.
  config_checks.validate(checked, jax.device_count(), arithmetic.KINDS)
  r = config.rollout
  tokenizer = context_lib.make_tokenizer(config)
  layout = context_lib.make_layout(config, tokenizer)
  layout = context_lib.make_rollout_layout(config, layout)
  slots = rollouts.make_slots(config, layout, tokenizer)
  return RolloutServer(
    rollouts.make_engine(config, slots, layout, tokenizer),
    run_weights.param_layout(layout),
    host,
    port,
    rollouts.make_access(config),
    Limits(r.max_requests, r.max_tokens, r.max_message_bytes),
    record,
  )


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
