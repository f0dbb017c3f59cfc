"""Tests of k15/serving/prometheus.py."""

import threading
import urllib.request

import numpy as np
import prometheus_client
import pytest
import rollout_servers
import small_engine
from prometheus_client import parser

from k15.data_types import Segment
from k15.rollout.requests import Stop
from k15.serving import prometheus
from k15.serving import server as server_lib


def scrape(exporter):
  """{name: value} of one scrape."""
  url = f'http://127.0.0.1:{exporter.port}/metrics'
  with urllib.request.urlopen(url, timeout=300) as reply:
    text = reply.read().decode()
  return {
    sample.name.removeprefix('k15_rollout_'): sample.value
    for family in parser.text_string_to_metric_families(text)
    for sample in family.samples
  }


@pytest.fixture
def make():
  made = []

  def make(read, **options):
    made.append(prometheus.Exporter(read, 0, **options))
    return made[-1]

  yield make
  for exporter in made:
    exporter.close()


def test_a_scrape_reads_the_numbers_of_the_moment(make):
  values = dict(slots=64, live=3, queued=7, tokens=100, version=5, other=1)
  values |= dict(prefill_seconds=0.5, decode_seconds=2.25)
  values |= dict(updates=2, update_seconds=1.5, update_bytes=2.5e9)
  exporter = make(lambda: values)
  found = scrape(exporter)
  assert found == dict(
    up=1,
    slots=64,
    slots_live=3,
    queued=7,
    tokens_total=100,
    tokens_per_second=0,
    weight_version=5,
    prefill_seconds_total=0.5,
    decode_seconds_total=2.25,
    weight_updates_total=2,
    weight_update_seconds_total=1.5,
    weight_update_bytes_total=2.5e9,
  )
  values['live'] = 4
  assert scrape(exporter)['slots_live'] == 4


def test_tokens_per_second_are_those_since_the_scrape_before(make):
  seconds, tokens = iter([10.0, 12.0, 14.0]), iter([100, 160, 20])
  exporter = make(lambda: dict(tokens=next(tokens)), clock=seconds.__next__)
  rates = [scrape(exporter)['tokens_per_second'] for _ in range(3)]
  # 60 tokens in 2 s; then a count that began anew.
  assert rates == [0, 30, 0]


def test_a_worker_that_does_not_answer_is_down(make):
  def read():
    raise TimeoutError('busy')

  assert scrape(make(read)) == {'up': 0}


def test_exporters_share_nothing_and_listen_on_loopback_only(make):
  before = list(prometheus_client.REGISTRY.collect())
  first, second = make(lambda: dict(slots=1)), make(lambda: dict(slots=2))
  assert scrape(first)['slots'] == 1 and scrape(second)['slots'] == 2
  assert first._server.server_address[0] == '127.0.0.1'
  names = {family.name for family in prometheus_client.REGISTRY.collect()}
  assert names == {family.name for family in before}
  with pytest.raises(OSError):
    prometheus.Exporter(lambda: {}, first.port)


def test_staleness_is_weighted_by_tokens():
  def segment(count, version):
    return Segment(
      np.zeros(count, np.int32), np.zeros(count, np.float32), version
    )

  # 6 tokens of version 3, 2 of version 5, at version 5: (6 * 2 + 0) / 8.
  responses = [(segment(4, 3), segment(2, 5)), (segment(2, 3),), ()]
  found = server_lib.staleness(responses, 5)
  assert found == dict(staleness_mean=1.5, staleness_max=2)
  empty = server_lib.staleness([], 5)
  assert empty == dict(staleness_mean=0, staleness_max=0)


def test_a_server_tells_what_it_has_sampled(make):
  server = rollout_servers.start()
  params, over = small_engine.make_params(), threading.Event()
  server.driver.command(lambda s: s.set_params(params, 7)).result(300)
  exporter = make(server.numbers)
  assert scrape(exporter)['tokens_total'] == 0
  made = []

  def deliver(chunk):
    made.extend(chunk.tokens)
    if chunk.stop is not Stop.RUNNING:
      over.set()

  server.driver.submit(small_engine.request(budget=6), deliver)
  assert over.wait(300)
  found = scrape(exporter)
  server.stop()
  assert found['tokens_total'] == len(made) > 0
  assert found['slots'] == 3 and found['slots_live'] == found['queued'] == 0
  assert found['weight_version'] == 7 and found['weight_updates_total'] == 0
  assert found['prefill_seconds_total'] > 0 and found['tokens_per_second'] > 0
  assert found['segment_staleness_max'] == 0
  assert scrape(exporter) == {'up': 0}  # The driver is gone.
