"""Numbers of a reward service for Prometheus."""

from collections.abc import Callable

import prometheus_client

from k15.rewards.verdict import KINDS
from k15.rewards.verdict import Verdict

_REASONS = (
  'timeout', 'memory', 'output_limit', 'crash', 'compile', 'sandbox',
  'unparsable',
)  # fmt: skip


class Numbers:
  """Counters, and what `read_pending` says when they are asked for."""

  def __init__(self, read_pending: Callable[[], int]):
    self.registry = prometheus_client.CollectorRegistry()
    self.verdicts = prometheus_client.Counter(
      'k15_reward_verdicts', 'Verdicts made.', ['kind'], registry=self.registry
    )
    self.errors = prometheus_client.Counter(
      'k15_reward_errors', 'Errors made.', ['reason'], registry=self.registry
    )
    self.rejected = prometheus_client.Counter(
      'k15_reward_rejected', 'Requests told 429.', registry=self.registry
    )
    self.seconds = prometheus_client.Histogram(
      'k15_reward_seconds', 'Time of a verdict.', registry=self.registry
    )
    pending = prometheus_client.Gauge(
      'k15_reward_pending', 'Requests in work.', registry=self.registry
    )
    pending.set_function(read_pending)
    for kind in KINDS:
      self.verdicts.labels(kind)  # Shown from the start, as 0.

  def add(self, verdict: Verdict):
    """Counts a verdict."""
    self.verdicts.labels(verdict.kind).inc()
    self.seconds.observe(verdict.seconds)
    if verdict.kind == 'error':
      reason = verdict.reason.partition(':')[0]
      # Each label is a series that stays: reasons that hold a message would be
      # new ones for ever.
      self.errors.labels(reason if reason in _REASONS else 'other').inc()
