"""Workers: limits, crashes, who waits for whom, and what is left behind."""

import os
import signal
import threading
from concurrent import futures

import pytest

from k15.rewards.answers import fallback

SLOW = r'\prod_{i=1}^{1000000} i'


@pytest.fixture
def pool():
  made = fallback.Pool(size=1)
  yield made
  made.close()


def test_judges_and_passes_over_what_hangs(pool):
  answers = ['7', SLOW, '8', '14/2']
  assert [pool.judge('7', answer)[0] for answer in answers] == [
    'correct',
    'error: timeout',
    'wrong',
    'correct',
  ]


def test_nobody_waits_for_a_question_that_another_worker_has(monkeypatch):
  both_ask = threading.Barrier(2, timeout=60)

  def meet(self, gold, answer):
    both_ask.wait()  # Broken unless both questions are under way at once.
    return 'correct', 0.0

  pool = fallback.Pool(size=2)
  pool.warm_up()
  monkeypatch.setattr(fallback.Worker, 'judge', meet)
  with futures.ThreadPoolExecutor(2) as threads:
    asked = [threads.submit(pool.judge, '7', '7') for _ in range(2)]
    assert [a.result()[0] for a in asked] == ['correct'] * 2
  pool.close()


def test_no_more_workers_than_its_size():
  pool = fallback.Pool(size=2)
  with futures.ThreadPoolExecutor(6) as threads:
    outcomes = [*threads.map(pool.judge, ['7'] * 6, ['7'] * 6)]
  assert {outcome for outcome, _ in outcomes} == {'correct'}
  assert len(pool.pids) <= 2
  pool.close()


def test_a_stopped_or_killed_worker_is_replaced(pool, monkeypatch):
  pool.judge('7', '7')
  monkeypatch.setattr(fallback, 'PATIENCE_SECONDS', 0.1)
  os.killpg(pool.pids[0], signal.SIGSTOP)
  assert pool.judge('7', '7')[0] == 'error: timeout'
  monkeypatch.undo()
  assert pool.judge('7', '7')[0] == 'correct'
  os.killpg(pool.pids[0], signal.SIGKILL)
  outcome = pool.judge('7', '7')[0]
  assert outcome == 'correct' or outcome.startswith('error: crash')
  assert pool.judge('7', '7')[0] == 'correct'


def test_nothing_is_left_after_close(pool):
  pool.judge('7', '7')
  pid = pool.pids[0]
  pool.close()
  assert pool.pids == []
  with pytest.raises(ProcessLookupError):
    os.killpg(pid, 0)
  assert pool.judge('7', '7')[0] == 'correct'


def test_nothing_is_left_of_a_pool_that_was_dropped():
  pool = fallback.Pool(size=1)
  pool.judge('7', '7')
  pid = pool.pids[0]
  del pool
  with pytest.raises(ProcessLookupError):
    os.killpg(pid, 0)


def test_a_worker_inherits_no_secret(pool, monkeypatch):
  monkeypatch.setenv('K15_SECRET', 'planted')
  pool.judge('7', '7')
  try:
    with open(f'/proc/{pool.pids[0]}/environ', 'rb') as environment:
      assert b'planted' not in environment.read()
  except FileNotFoundError:  # No /proc on this system.
    pass
