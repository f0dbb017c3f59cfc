"""Numbers of a rollout worker for Prometheus, read when they are asked for.

    curl http://127.0.0.1:9400/metrics

An exporter has a registry and an HTTP server of its own: any number of them
live in one process, and nothing is registered globally.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import prometheus_client
from absl import logging
from prometheus_client import metrics_core

_LOOPBACK = '127.0.0.1'
_PREFIX = 'k15_rollout_'
# Key of what is read -> name, help.
_GAUGES = {
  'slots': ('slots', 'Responses that can be decoded at once.'),
  'live': ('slots_live', 'Slots that hold a response.'),
  'queued': ('queued', 'Requests that wait for a slot.'),
  'version': ('weight_version', 'Policy version that samples now.'),
  'staleness_mean': (
    'segment_staleness_mean',
    'Versions behind the present one, mean over the tokens of live responses.',
  ),
  'staleness_max': (
    'segment_staleness_max',
    'Versions behind the present one, of the oldest live segment.',
  ),
}
_COUNTERS = {
  'tokens': ('tokens', 'Tokens sampled.'),
  'decode_steps': ('decode_steps', 'Decode steps.'),
  'generate_calls': ('generate_calls', 'Device dispatches that decode.'),
  'prefill_calls': ('prefill_calls', 'Device dispatches that prefill.'),
  'prefill_tokens': ('prefill_tokens', 'Tokens of contexts prefilled.'),
  'prefill_seconds': ('prefill_seconds', 'Time spent in prefill.'),
  'decode_seconds': ('decode_seconds', 'Time spent in decoding.'),
  'interrupted': ('interrupted', 'Responses interrupted before their end.'),
  'updates': ('weight_updates', 'Weight updates applied.'),
  'update_bytes': ('weight_update_bytes', 'Bytes of the weight updates.'),
  'update_seconds': (
    'weight_update_seconds',
    'Time of the weight updates, from the first byte to their use.',
  ),
}


class Exporter:
  """Serves /metrics until it is closed.

  Args:
    read: called by a thread of the server at every scrape; numbers by key,
      unknown keys are ignored and missing ones left out.  If it raises, the
      scrape tells `k15_rollout_up 0` and nothing else.
    port: to listen on; 0 takes a free one.
    address: to listen on; there is no authentication.
    clock: seconds, for tokens per second.

  Raises:
    OSError: the port is taken.
  """

  def __init__(
    self,
    read: Callable[[], Mapping[str, float]],
    port: int,
    address: str = _LOOPBACK,
    clock: Callable[[], float] = time.monotonic,
  ):
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(read, clock))
    self._server, self._thread = prometheus_client.start_http_server(
      port, address, registry
    )

  @property
  def port(self) -> int:
    return self._server.server_port

  def close(self) -> None:
    self._server.shutdown()
    self._server.server_close()
    self._thread.join()


class _Collector:
  """Turns what is read into Prometheus' families."""

  def __init__(self, read, clock):
    self._read, self._clock = read, clock
    self._lock = threading.Lock()
    self._before: tuple[float, float] | None = None  # seconds, tokens

  def describe(self) -> list[metrics_core.Metric]:
    """Nothing is read before the first scrape."""
    return []

  def collect(self) -> Iterator[metrics_core.Metric]:
    try:
      values = dict(self._read())
    except Exception as error:  # The border: a scrape has to get an answer.
      logging.warning('metrics cannot be read: %r', error)
      yield _gauge('up', 'Whether the worker answers.', 0)
      return
    yield _gauge('up', 'Whether the worker answers.', 1)
    for key, (name, text) in _GAUGES.items():
      if key in values:
        yield _gauge(name, text, values[key])
    for key, (name, text) in _COUNTERS.items():
      if key in values:
        yield metrics_core.CounterMetricFamily(
          _PREFIX + name, text, value=values[key]
        )
    if 'tokens' in values:
      text = 'Tokens sampled per second since the scrape before.'
      yield _gauge('tokens_per_second', text, self._rate(values['tokens']))

  def _rate(self, tokens):
    with self._lock:
      now = self._clock()
      since, had = self._before or (now, tokens)
      self._before = now, tokens
    # Fewer than before: the counts began anew.
    return max(tokens - had, 0) / (now - since) if now > since else 0.0


def _gauge(name, text, value):
  return metrics_core.GaugeMetricFamily(_PREFIX + name, text, value=value)
