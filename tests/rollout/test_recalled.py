"""A rollout that is killed after any call goes on to the same bits."""

import dataclasses
import functools

import numpy as np
import pytest
import rollout_servers
import small_engine

from k15.checkpoints import segments as segments_lib
from k15.rollout import journal as journal_lib
from k15.rollout import local


class Killed(Exception):
  """What stands for the end of a process."""


class Dying(segments_lib.Segments):
  """Segments of a process that ends once so many more calls are written."""

  left = 10**9

  def append(self, part, entry):
    super().append(part, entry)
    self.left -= entry[0] == 1
    if not self.left:
      raise Killed


class Spy:
  """A decoder that counts its calls."""

  def __init__(self, decoder):
    self._decoder, self.calls = decoder, 0

  def __getattr__(self, name):
    return getattr(self._decoder, name)

  def __repr__(self):
    return repr(self._decoder)

  def generate(self, *arguments):
    self.calls += 1
    return self._decoder.generate(*arguments)


@functools.cache
def make_decoder(num_slots=3):
  """Keys and values in blocks of 8 columns: which are read at once, and which
  row by row, is up to all slots."""
  return dataclasses.replace(
    small_engine.make_decoder(num_slots),
    config=dataclasses.replace(small_engine.CONFIG, cache_block=8),
    repetition_count=4,
    repetition_max_period=4,
    repetition_min_tokens=12,
  )


def live(folder, requests, calls=10**9, decoder=None, params=None):
  """What one process yields, its counts, and calls that it did itself."""
  journal = journal_lib.Journal(folder, Dying)
  journal._segments.left = calls
  journal.begin(7, params or small_engine.make_params())
  spy = Spy(decoder or make_decoder())
  rollout = local.LocalRollout(spy, rollout_servers.KEY)
  rollout.set_params(params or small_engine.make_params(), 4)
  done = {}
  try:
    for found in rollout.generate(requests, journal.phase()):
      versions = [s.policy_version for s in found.segments]
      done[found.request.group_id, found.request.sample_index] = (
        found.tokens.tolist(), found.logprobs.tobytes(), found.stop, versions
      )  # fmt: skip
  except Killed:
    pass
  journal.close()
  return done, rollout.pop_stats(), spy.calls


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  return live(folder, rollout_servers.mixed_requests())


# 10 responses of 6 to 12 tokens in 3 slots: the later ones under way have had
# neighbours that end before the journal does.
@pytest.mark.parametrize('calls', [1, 2, 3, 6, 9, 12, 14])
def test_a_killed_rollout_goes_on_to_the_same_bits(calls, whole, tmp_path):
  expected, counts, total = whole
  requests = rollout_servers.mixed_requests()
  before, *_ = live(tmp_path, requests, calls)
  found, stats, own = live(tmp_path, requests)
  assert found == expected and list(found) == list(expected)
  assert before.items() <= expected.items()
  assert stats == counts
  # Of the calls that are known, those are done again in which a response took
  # part that is under way: of 12 tokens at most.
  assert total - calls <= own <= total - calls + 12


def test_many_kills_cost_no_call(whole, tmp_path):
  requests = rollout_servers.mixed_requests()
  for _ in range(whole[2] // 2):
    live(tmp_path, requests, 2)
  found, stats, own = live(tmp_path, requests)
  assert found == whole[0] and stats == whole[1]
  again, _, own = live(tmp_path, requests)
  assert again == whole[0] and own == 0


def test_other_slots_use_what_is_known_as_far_as_it_goes(whole, tmp_path):
  requests = rollout_servers.mixed_requests()
  live(tmp_path, requests, 6)
  other = make_decoder(5)
  for calls in (2, 10**9):  # Killed again: it is of two schedules now.
    found, stats, _ = live(tmp_path, requests, calls, decoder=other)
  assert {k: v[0] for k, v in found.items()} == {
    k: v[0] for k, v in whole[0].items()
  }
  for name, (_, logprobs, stop, versions) in found.items():
    _, wanted, *same = whole[0][name]
    assert [stop, versions] == same
    np.testing.assert_allclose(
      *(np.frombuffer(x, np.float32) for x in (logprobs, wanted)), atol=1e-5
    )
  # Each token once: what was known is not among those sampled now.
  known = sum(len(v[0]) for v in whole[0].values()) - stats['tokens']
  assert known >= 6


@pytest.mark.parametrize('what', ['weights', 'requests'])
def test_nothing_of_other_weights_or_requests_is_used(
  what, whole, tmp_path, capsys
):
  requests = rollout_servers.mixed_requests()
  if what == 'weights':
    live(tmp_path, requests, 6, params=small_engine.make_params(2))
  else:
    live(tmp_path, requests[1:], 6)
  found, *_, own = live(tmp_path, requests)
  assert found == whole[0] and own == whole[2]
  assert f'it is of other {what}' in capsys.readouterr().err
