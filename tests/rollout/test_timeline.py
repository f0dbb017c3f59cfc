"""Tests of k15/rollout/timeline.py."""

import enum
import types

import pytest

from k15 import files
from k15.rollout import timeline


class Stop(enum.IntEnum):
  RUNNING = 0
  ENDED = 1
  EXHAUSTED = 2


def event(
  slot, start, kind='decode', version=3, stop=Stop.RUNNING, sample=0, tokens=4
):
  """One second and four tokens of response 7/sample in a slot."""
  return types.SimpleNamespace(
    slot=slot,
    kind=kind,
    start=start,
    end=start + 1.0,
    group_id=7,
    sample_index=sample,
    version=version,
    tokens=tokens,
    stop=stop,
  )


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'timeline.jsonl'


def test_calls_that_carry_on_are_one_span(path):
  line = timeline.Timeline(path)
  line.record(event(0, 0.0, kind='prefill'))
  for start in (1.0, 2.0):
    line.record(event(0, start))
    line.record(event(1, start, sample=1))  # Another slot comes between.
  line.record(event(0, 3.0, stop=Stop.ENDED))
  line.record(event(0, 4.0))  # The same name again: not the same decoding.
  line.write()
  found = [
    (s['slot'], s['kind'], s['start'], s['end'], s['tokens'], s['stop'])
    for s in files.read_jsonl(path)
  ]
  assert found == [
    (0, 'prefill', 0.0, 1.0, 4, 'running'),
    (0, 'decode', 1.0, 4.0, 12, 'ended'),
    (1, 'decode', 1.0, 3.0, 8, 'running'),
    (0, 'decode', 4.0, 5.0, 4, 'running'),
  ]


def test_a_new_version_or_response_begins_a_span(path):
  line = timeline.Timeline(path)
  line.record(event(0, 0.0))
  line.record(event(0, 1.0, version=4))
  line.record(event(0, 2.0, version=4, sample=1))
  line.write()
  found = [(s['version'], s['sample_index']) for s in files.read_jsonl(path)]
  assert found == [(3, 0), (4, 0), (4, 1)]


def test_a_stop_from_outside_ends_a_span_where_it_decoded_last(path):
  line = timeline.Timeline(path)
  line.record(event(0, 0.0))
  line.record(event(0, 9.0, stop=Stop.EXHAUSTED, tokens=0))
  line.write()
  ((stop, end),) = [(s['stop'], s['end']) for s in files.read_jsonl(path)]
  assert (stop, end) == ('exhausted', 1.0)


def test_only_the_last_versions_and_so_many_spans_are_kept(path):
  line = timeline.Timeline(path, versions=2, most=3)
  for version in range(5):
    line.record(event(0, float(version), version=version))
  line.write()
  assert [s['version'] for s in files.read_jsonl(path)] == [3, 4]
  for sample in range(9):
    line.record(event(0, 5.0 + sample, version=4, sample=sample))
  line.write()
  assert [s['sample_index'] for s in files.read_jsonl(path)] == [6, 7, 8]


def test_the_file_is_written_when_the_version_changes(path):
  line = timeline.Timeline(path)
  line.record(event(0, 0.0))
  assert not files.read_jsonl(path)
  line.record(event(0, 1.0, version=4))
  assert [s['version'] for s in files.read_jsonl(path)] == [3]


def test_the_file_is_not_written_at_each_of_many_short_iterations(path):
  line = timeline.Timeline(path, every=10.0)
  for version in range(3, 16):  # The version that comes is not in it.
    line.record(event(0, float(version), version=version))
  assert [s['version'] for s in files.read_jsonl(path)] == [11, 12, 13]
  line.write()
  assert [s['version'] for s in files.read_jsonl(path)] == [13, 14, 15]


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path):
  line = timeline.Timeline(tmp_path / 'missing' / 'timeline.jsonl')
  line.record(event(0, 0.0))
  line.write()
