"""Workers: limits, crashes, order, and what is left behind."""

import os
import signal

from k15.rewards import answer_workers


def _kinds(outcomes):
  return [outcome.partition(':')[0] for outcome, _ in outcomes]


SLOW = r'\prod_{i=1}^{1000000} i'


def test_judges_in_order_and_passes_over_what_hangs():
  pool = answer_workers.Pool(size=2)
  try:
    outcomes = pool.judge([('7', '7'), ('7', SLOW), ('7', '8'), ('7', '14/2')])
    assert _kinds(outcomes) == ['correct', 'error', 'wrong', 'correct']
    assert outcomes[1][0] == 'error: timeout'
    assert all(0 < seconds < 1 for _, seconds in outcomes)
  finally:
    pool.close()


def test_a_stopped_or_killed_worker_is_replaced():
  pool = answer_workers.Pool(size=1)
  try:
    pool.judge([('7', '7')])
    for blow in (signal.SIGSTOP, signal.SIGKILL):
      os.killpg(pool.pids[0], blow)
      outcome = pool.judge([('7', '7')])[0][0]
      assert outcome == 'correct' or outcome.startswith('error: ')
      assert pool.judge([('7', '7')])[0][0] == 'correct'
  finally:
    pool.close()


def test_nothing_is_left_after_close():
  pool = answer_workers.Pool(size=1)
  pool.judge([('7', '7')])
  pid = pool.pids[0]
  pool.close()
  assert pool.pids == []
  try:
    os.killpg(pid, 0)
  except ProcessLookupError:
    return
  raise AssertionError(f'process group {pid} is left')


def test_a_worker_inherits_no_secret(monkeypatch):
  monkeypatch.setenv('K15_SECRET', 'planted')
  pool = answer_workers.Pool(size=1)
  try:
    pool.judge([('7', '7')])
    with open(f'/proc/{pool.pids[0]}/environ', 'rb') as environment:
      assert b'planted' not in environment.read()
  except FileNotFoundError:  # No /proc on this system.
    pass
  finally:
    pool.close()
