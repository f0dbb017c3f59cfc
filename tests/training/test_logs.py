"""Logs that are taken back on resume, timers, progress."""

import fcntl
import io
import json
import os
import pty
import struct
import termios

import numpy as np
import pytest
import tqdm.std
from tensorboardX.proto import event_pb2

from k15 import files
from k15.training import logs


def _numbers(workdir, stage):
  records = files.read_jsonl(workdir / 'metrics.jsonl')
  return [r['step'] for r in records if r['stage'] == stage]


def _events(folder):
  """TensorBoard events, files in name order (records: length, crc, data)."""
  for path in sorted(folder.iterdir()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      (size,) = struct.unpack_from('<Q', data, at)
      yield event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
      at += 12 + size + 4


def _log(logger, stage, steps):
  for step in steps:
    logger.scalars(stage, step, {f'{stage}/loss': 10.0 + step})
    logger.trajectories(stage, step, [{'response': 'one'}, {'response': 'two'}])


def test_a_record_has_stage_step_time_and_values(tmp_path):
  logger = logs.Logger(tmp_path / 'new' / 'run')
  logger.scalars('rl', np.int64(12), {'rl/reward': np.float32(0.5), 'a/n': 3})
  (record,) = files.read_jsonl(tmp_path / 'new' / 'run' / 'metrics.jsonl')
  assert record.pop('time') > 1.6e9
  assert record == {'stage': 'rl', 'step': 12, 'rl/reward': 0.5, 'a/n': 3.0}


def test_tensorboard_gets_the_same_scalars(tmp_path):
  logger = logs.Logger(tmp_path)
  _log(logger, 'sft', [0, 25])
  logger.close()
  values = [
    (value.tag, event.step, value.simple_value)
    for event in _events(tmp_path / 'tensorboard' / 'sft')
    for value in event.summary.value
  ]
  assert values == [('sft/loss', 0, 10.0), ('sft/loss', 25, 35.0)]


def test_numbers_that_are_not_finite_leave_valid_json(tmp_path):
  logger = logs.Logger(tmp_path)
  values = {'rl/a': float('nan'), 'rl/b': np.inf, 'rl/c': -np.inf, 'rl/d': 1}
  logger.scalars('rl', 0, values)
  logger.trajectories('rl', 0, [{'logprobs': np.array([-1.0, -np.inf])}])
  text = (tmp_path / 'metrics.jsonl').read_text()
  assert 'NaN' not in text and 'Infinity' not in text
  record = json.loads(text)
  assert [record[f'rl/{k}'] for k in 'abcd'] == [None, None, None, 1.0]
  (trajectory,) = files.read_jsonl(tmp_path / 'trajectories.jsonl')
  assert trajectory['logprobs'] == [-1.0, None]


def test_a_key_without_phase_is_refused(tmp_path):
  with pytest.raises(ValueError, match="metric key 'step' is not phase/name"):
    logs.Logger(tmp_path).scalars('rl', 0, {'step': 1})


def test_a_disabled_logger_writes_nothing(tmp_path):
  logger = logs.Logger(tmp_path / 'run', enabled=False)
  logger.truncate('rl', 0)
  _log(logger, 'rl', [0])
  logger.close()
  assert not (tmp_path / 'run').exists()


def test_a_resumed_run_has_each_step_once(tmp_path):
  logger = logs.Logger(tmp_path)
  logger.truncate('sft', 0)
  _log(logger, 'sft', [0, 25, 50])
  logger.truncate('rl', 0)
  _log(logger, 'rl', range(7))  # Killed; the last checkpoint is after 4.
  logger.close()

  logger = logs.Logger(tmp_path)
  logger.truncate('rl', 4)
  assert _numbers(tmp_path, 'rl') == [0, 1, 2, 3]
  _log(logger, 'rl', range(4, 9))
  logger.close()
  assert _numbers(tmp_path, 'sft') == [0, 25, 50]
  assert _numbers(tmp_path, 'rl') == list(range(9))
  trajectories = files.read_jsonl(tmp_path / 'trajectories.jsonl')
  iterations = [t['iteration'] for t in trajectories if t['stage'] == 'rl']
  assert iterations == sorted(2 * list(range(9)))


def test_truncating_a_stage_drops_what_came_after_it(tmp_path):
  logger = logs.Logger(tmp_path)
  _log(logger, 'sft', [0, 25, 50])
  _log(logger, 'rl', [0, 1])
  logger.truncate('sft', 26)
  logger.close()
  assert _numbers(tmp_path, 'sft') == [0, 25]
  assert _numbers(tmp_path, 'rl') == []


def test_tensorboard_is_told_to_purge(tmp_path):
  for first in (0, 2):
    logger = logs.Logger(tmp_path)
    logger.truncate('rl', first)
    _log(logger, 'rl', range(first, first + 3))
    logger.close()
  events = list(_events(tmp_path / 'tensorboard' / 'rl'))
  starts = [e.step for e in events if e.HasField('session_log')]
  steps = [e.step for e in events if e.summary.value]
  assert starts == [0, 2]  # A viewer hides 2 and what follows, then goes on.
  assert steps == [0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize('torn', [b'{"stage": "rl", "st', b'\xe2\x82', b'{'])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
  logger = logs.Logger(tmp_path)
  _log(logger, 'rl', [0, 1])
  path = tmp_path / 'metrics.jsonl'
  with open(path, 'ab') as file:
    file.write(torn)
  assert _numbers(tmp_path, 'rl') == [0, 1]
  _log(logger, 'rl', [2])  # Even without truncation the next record is whole.
  assert _numbers(tmp_path, 'rl') == [0, 1, 2]
  logger.truncate('rl', 3)
  assert _numbers(tmp_path, 'rl') == [0, 1, 2]
  assert len(path.read_bytes().splitlines()) == 3
  logger.close()


def test_truncation_leaves_no_temporary_file_and_no_half_state(
  tmp_path, monkeypatch
):
  logger = logs.Logger(tmp_path)
  _log(logger, 'rl', [0, 1, 2])
  before = (tmp_path / 'metrics.jsonl').read_bytes()

  def fail(*_):
    raise OSError('disk gone')

  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='disk gone'):
      logger.truncate('rl', 1)
  assert (tmp_path / 'metrics.jsonl').read_bytes() == before
  logger.truncate('rl', 1)
  assert _numbers(tmp_path, 'rl') == [0]
  logger.close()
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'metrics.jsonl', 'trajectories.jsonl', 'tensorboard'}


def test_timer_adds_up_by_phase_and_starts_again():
  ticks = iter([0.0, 2.0, 2.0, 2.5, 10.0, 11.0])
  timer = logs.Timer(clock=lambda: next(ticks))
  with timer('rollout'):
    pass
  with timer('update'):
    pass
  with pytest.raises(KeyError), timer('rollout'):
    raise KeyError
  # rollout (2 - 0) + (11 - 10), update 2.5 - 2.
  expected = {'time/rollout_seconds': 3.0, 'time/update_seconds': 0.5}
  assert timer.pop() == expected
  assert timer.pop() == {}


def test_progress_without_a_terminal_writes_few_plain_lines(monkeypatch):
  now = [1000.0]
  monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
  stream = io.StringIO()
  with logs.Progress(60, 10, 'rl', stream) as progress:
    for step in range(50):
      now[0] += 3.0
      progress.update(reward=np.float32(0.61), length=84.04 + step)
  lines = stream.getvalue().splitlines()
  assert lines[0].startswith('rl 10/60')
  # One line in four steps of 3 s, the first gap over 10 s: 14, 18, ... 58.
  assert [line.split()[1] for line in lines[1:-1]] == [
    f'{n}/60' for n in range(14, 60, 4)
  ]
  first, last = lines[1].split(), lines[-1].split()
  assert first[:4] == ['rl', '14/60', '3.00s/it', 'eta']
  assert first[4] in ('02:17,', '02:18,')  # 46 steps of 3 s, truncated.
  assert first[5:] == ['reward=0.61,', 'length=87']
  assert last[:2] + last[4:] == [
    *('rl', '60/60', '00:00,', 'reward=0.61,', 'length=133')
  ]
  assert '\r' not in stream.getvalue()


def test_progress_shows_its_last_state_when_interrupted():
  stream = io.StringIO()
  with (
    pytest.raises(KeyboardInterrupt),
    logs.Progress(60, label='rl', stream=stream) as progress,
  ):
    progress.update(7)
    raise KeyboardInterrupt
  assert stream.getvalue().splitlines()[-1].startswith('rl 7/60')


@pytest.mark.parametrize(('width', 'is_bar'), [(100, True), (0, False)])
def test_progress_draws_a_bar_in_a_terminal_of_known_width(width, is_bar):
  parent, child = pty.openpty()
  size = struct.pack('HHHH', 24, width, 0, 0)
  fcntl.ioctl(child, termios.TIOCSWINSZ, size)
  with (
    open(child, 'w') as stream,
    logs.Progress(2, label='rl', stream=stream) as progress,
  ):
    progress.update(reward=0.5)
    progress.update(reward=0.5)
  text = _read_all(parent)
  assert ('100%' in text) == is_bar
  assert 'rl' in text and 'reward=0.5' in text


def _read_all(terminal):
  pieces = []
  while True:
    try:
      pieces.append(os.read(terminal, 65536))
    except OSError:  # How a terminal ends whose other side is closed.
      os.close(terminal)
      return b''.join(pieces).decode()
