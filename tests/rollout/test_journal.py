"""The journal by itself: what it keeps, and a disk that is full."""

import errno

import numpy as np
import pytest
import small_engine

from k15.checkpoints import segments as segments_lib
from k15.rewards.verdict import Verdict
from k15.rollout.journal import Call
from k15.rollout.journal import Journal
from k15.rollout.journal import Piece
from k15.rollout.requests import Stop


def piece(sample, tokens, logprobs, stop):
  arrays = np.array(tokens, np.int32), np.array(logprobs, np.float32)
  return Piece((5, sample), *arrays, 4, stop)


CALL = Call(
  3,
  (
    piece(0, [1, 2, 3], [-1, -2, -0.5], Stop.ENDED),
    piece(1, [9], [-3], Stop.RUNNING),
    piece(2, [], [], Stop.INTERRUPTED),
  ),
)
REQUESTS = [small_engine.request(5, 0), small_engine.request(5, 1)]


def begin(folder, iteration=0, **settings):
  journal = Journal(folder, **settings)
  journal.begin(iteration, small_engine.make_params())
  return journal


def opened(journal, schedule='slots', requests=REQUESTS):
  phase = journal.phase()
  phase.open(requests, schedule)
  return phase


def plain(pieces):
  return [(p[0], list(p[1]), list(p[2]), *p[3:]) for p in pieces]


def test_calls_come_back_by_round_and_schedule(tmp_path):
  journal = begin(tmp_path)
  opened(journal).write(CALL)
  opened(journal).write(CALL._replace(steps=7))
  journal.close()
  journal = begin(tmp_path)
  (first,) = opened(journal).calls
  assert first.steps == 3 and plain(first.pieces) == plain(CALL.pieces)
  second = opened(journal, 'other slots')
  assert not second.calls and list(second.pieces) == [(5, 0), (5, 1), (5, 2)]
  (chunk,) = second.chunks_of(REQUESTS[0])
  assert chunk.request is REQUESTS[0] and chunk.stop is Stop.ENDED
  assert chunk.tokens.dtype == np.int32 and chunk.logprobs.dtype == np.float32
  assert opened(journal).calls == []  # A third was never begun.
  journal.close()
  # What was once of two schedules is of none from then on.
  journal = begin(tmp_path)
  assert opened(journal).calls and not opened(journal).calls
  journal.close()


def test_a_checkpoint_makes_parts_superfluous(tmp_path):
  journal = begin(tmp_path)
  for iteration in range(3):
    journal.begin(iteration, small_engine.make_params())
    opened(journal).write(CALL)
  journal.forget(2)
  assert {path.name for path in tmp_path.iterdir()} == {'00000002-0000.log'}
  journal.close()
  assert len(opened(begin(tmp_path, 2)).calls) == 1


def test_verdicts_are_of_a_text_and_errors_are_asked_about_again(tmp_path):
  journal = begin(tmp_path)
  right = Verdict('correct', seconds=2.0, reward=1.5, parts={'accuracy': 1.0})
  journal.keep_verdict((5, 0), '#### 2', right)
  journal.keep_verdict((5, 1), '#### 3', Verdict('error', 'timeout'))
  journal.close()
  journal = begin(tmp_path)
  assert journal.verdict((5, 0), '#### 2') == right
  assert journal.verdict((5, 0), '#### 4') is None
  assert journal.verdict((5, 1), '#### 3') is None
  journal.close()


class FullDisk:
  """A file that takes so many bytes, and then none."""

  def __init__(self, path, room):
    self._file = path.open('ab', buffering=0)  # noqa: SIM115  (closed below)
    self._room = room

  def write(self, content):
    if not self._room:
      raise OSError(errno.ENOSPC, 'No space left on device')
    written = self._file.write(content[: self._room])
    self._room -= written
    return written

  def fileno(self):
    return self._file.fileno()

  def close(self):
    self._file.close()


@pytest.mark.parametrize('room', [0, 1, 250, 330])
def test_a_full_disk_is_a_sentence_and_the_run_goes_on(tmp_path, room, capsys):
  def open_segments(directory):
    return segments_lib.Segments(
      directory, open_file=lambda path: FullDisk(path, room)
    )

  journal = begin(tmp_path, open_segments=open_segments)
  phase = opened(journal)
  for _ in range(4):
    phase.write(CALL)
    phase.sync()
  journal.forget(1)
  journal.close()
  said = capsys.readouterr().err
  assert said.count('no journal in') == 1 and 'No space left' in said
  # What was written whole is there, whatever was torn.
  left = opened(begin(tmp_path)).calls
  assert len(left) <= 2
  for call in left:
    assert plain(call.pieces) == plain(CALL.pieces)


def test_no_folder_is_a_sentence_too(tmp_path, capsys):
  (tmp_path / 'journal').write_text('in the way')
  journal = begin(tmp_path / 'journal')
  opened(journal).write(CALL)
  assert 'no journal in' in capsys.readouterr().err


def test_one_that_is_off_keeps_nothing():
  journal = begin(None)
  assert journal.phase() is None and not journal.is_writing
  journal.keep_verdict((5, 0), 'text', Verdict('correct'))
  assert journal.verdict((5, 0), 'text') is None
