"""One rollout phase: stop reasons, budgets, nothing lost between iterations."""

import dataclasses

import numpy as np
import pytest

from k15.data_types import ImageRef, Problem, Segment, StopReason, Trajectory
from k15.rollout import partial
from k15.rollout.requests import Completion, Stop
from k15.training import replay

PROBLEM = Problem(id='p', prompt='ab', answer='')


class _Writer:
  """A rollout that writes 0, 1, 2 ... and ends each response at its length."""

  def __init__(self, lengths):
    self.lengths = lengths
    self.version = 0

  def generate(self, requests):
    for request in requests:
      done = len(request.response)
      length = self.lengths[request.sample_index]
      count = min(request.budget, length - done)
      segment = Segment(
        tokens=np.arange(done, done + count, dtype=np.int32),
        behavior_logprobs=np.full(count, -0.5, np.float32),
        policy_version=self.version,
      )
      stop = Stop.ENDED if done + count == length else Stop.EXHAUSTED
      yield Completion(request, (segment,), stop)


def _encode(text, images):
  text += '.' * len(images)
  return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _run(rollout, pending, token_budget=4, max_length=10):
  return list(
    partial.run(rollout, pending, _encode, token_budget, max_length, 1.0)
  )


@pytest.mark.parametrize(
  ('length', 'stop', 'grown'),
  [
    (3, StopReason.EOS, 3),
    (4, StopReason.EOS, 4),  # ends exactly at the budget
    (5, StopReason.BUDGET, 4),
  ],
)
def test_stop_reasons_of_one_iteration(length, stop, grown):
  (trajectory,) = _run(_Writer([length]), [(PROBLEM, Trajectory(0, 'p', 0))])
  assert (trajectory.stop, trajectory.length) == (stop, grown)


def test_a_response_grows_to_max_length_and_no_further():
  buffer, rollout = replay.ReplayBuffer(), _Writer([99])
  buffer.open([PROBLEM], 0, 1)
  stops = []
  while buffer.pending():
    buffer.update(_run(rollout, buffer.pending()))
    stops.append(buffer.groups[0].trajectories[0].stop)
    rollout.version += 1
  # 4 + 4 + 2 tokens: ceil(10 / 4) = 3 iterations.
  assert stops == [StopReason.BUDGET, StopReason.BUDGET, StopReason.MAX_LENGTH]
  (trajectory,) = buffer.groups[0].trajectories
  np.testing.assert_array_equal(trajectory.tokens, np.arange(10))
  assert [s.policy_version for s in trajectory.segments] == [0, 1, 2]


def test_repetition_ends_a_response():
  class Repeats(_Writer):
    def generate(self, requests):
      for c in super().generate(requests):
        yield Completion(c.request, c.segments, Stop.REPEATED)

  (trajectory,) = _run(Repeats([99]), [(PROBLEM, Trajectory(0, 'p', 0))])
  assert trajectory.stop is StopReason.REPETITION
  assert trajectory.is_finished


def test_nothing_is_lost_between_iterations():
  lengths = [1, 4, 7, 9, 10]
  buffer, rollout = replay.ReplayBuffer(), _Writer(lengths)
  buffer.open([PROBLEM, PROBLEM], 0, 5)
  groups = []
  for _ in range(3):  # ceil(10 / 4)
    buffer.update(_run(rollout, buffer.pending()))
    unscored = buffer.unscored()
    buffer.set_rewards([t for _, t in unscored], [1.0] * len(unscored))
    groups += buffer.pop_complete()
    rollout.version += 1
  assert not buffer.groups
  assert [g.group_id for g in groups] == [0, 1]
  for group in groups:
    for trajectory, length in zip(group.trajectories, lengths, strict=True):
      np.testing.assert_array_equal(trajectory.tokens, np.arange(length))


def test_a_domain_may_have_a_lower_maximum():
  shorter = dataclasses.replace(PROBLEM, domain='short')
  longer = dataclasses.replace(PROBLEM, domain='long')
  pending = [
    (problem, Trajectory(i, 'p', 0))
    for i, problem in enumerate((PROBLEM, shorter, longer))
  ]
  grown = partial.run(
    _Writer([99]), pending, _encode, 10, 10, 1.0, dict(short=4, long=99)
  )
  found = [(t.length, t.stop) for t in grown]
  cut = StopReason.MAX_LENGTH
  assert found == [(10, cut), (4, cut), (10, cut)]


def test_pictures_go_with_the_prompt_however_often_it_is_resumed():
  image = ImageRef('ab' * 32, 8, 8, 'drawn')
  problem = dataclasses.replace(PROBLEM, images=(image,))
  seen = []

  class Watched(_Writer):
    def generate(self, requests):
      seen.extend(requests)
      return super().generate(requests)

  rollout = Watched([6])
  (cut,) = _run(rollout, [(problem, Trajectory(0, 'p', 0))])
  (whole,) = _run(rollout, [(problem, cut)])
  assert whole.stop is StopReason.EOS
  assert [request.images for request in seen] == [(image,)] * 2
  assert bytes(seen[1].prompt.astype(np.uint8)) == b'ab.'
  assert len(seen[1].response) == 4
