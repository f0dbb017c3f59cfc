"""Records in order, numbers by hand, and the same answers every time."""

from concurrent import futures

import jax
import numpy as np
import pytest
import small_run

from k15 import context as context_lib
from k15 import evaluate
from k15.data_types import Problem, Segment
from k15.rewards.verdict import Verdict
from k15.rollout import client
from k15.rollout.requests import Completion, Request, Stop
from k15.task import Task
from k15.tokenizer import ByteTokenizer


class _Backwards:
  """Answers every request, the last one first, by its sample's number."""

  def generate(self, requests):
    for r in reversed(requests):
      tokens = np.full(2 + r.sample_index, ord('7'), np.int32)
      stop = Stop.EXHAUSTED if r.sample_index else Stop.ENDED
      logprobs = np.zeros(len(tokens), np.float32)
      yield Completion(r, (Segment(tokens, logprobs, 0),), stop)


def _judge(problem, text):
  future = futures.Future()
  right = text == problem.answer
  future.set_result(Verdict('correct' if right else 'wrong'))
  return future


def _task():
  problems = [Problem('a', '1?', '77'), Problem('b', '2?', '777', 'd', 0.5)]
  return Task(ByteTokenizer(()), '\n', [], problems, [])


def test_records_are_in_order_of_problem_and_sample():
  done = []
  records = evaluate.evaluate(
    _Backwards(),
    _task(),
    _judge,
    samples=2,
    max_length=3,
    temperature=1.0,
    on_response=lambda: done.append(1),
  )
  assert len(done) == 4
  names = [(r['problem_id'], r['sample']) for r in records]
  assert names == [('a', 0), ('a', 1), ('b', 0), ('b', 1)]
  assert [r['reward'] for r in records] == [1, 0, 0, 1]
  assert [r['length'] for r in records] == [2, 3, 2, 3]
  # Three tokens are the longest allowed: not a budget that is renewed.
  assert [r['stop'] for r in records] == ['eos', 'max_length'] * 2
  assert records[3] == dict(
    problem_id='b', sample=1, prompt='2?', answer='777', response='777',
    reward=1.0, verdict='correct', reason='', length=3, stop='max_length',
    domain='d', difficulty=0.5,
  )  # fmt: skip


def test_summary_by_hand():
  records = [
    dict(reward=r, length=n, stop=s, verdict=v)
    for r, n, s, v in (
      (1, 10, 'eos', 'correct'),
      (0, 20, 'max_length', 'wrong'),
      (0, 30, 'eos', 'error'),
    )
  ]
  assert evaluate.summary(records) == dict(
    accuracy=pytest.approx(1 / 3),
    errors=pytest.approx(1 / 3),
    mean_tokens=20.0,
    p95_tokens=pytest.approx(29.0),  # 20 + 0.9 * (30 - 20)
    truncated=pytest.approx(1 / 3),
  )


def test_the_same_weights_give_the_same_answers(tmp_path):
  context = small_run.make_context(tmp_path)
  rollout = context_lib.make_rollout(context)
  params = context_lib.init_params(context, 0)

  def answers():
    rollout.set_params(params, version=0)
    return evaluate.evaluate(
      rollout, context.task, context.scorer.submit, 2, 16, 1.0
    )

  first = answers()
  # Whatever was asked in between, random numbers come from the ids.
  key = jax.random.key(0)
  other = client.LocalRollout(rollout._slots, jax.random.fold_in(key, 1))
  other.set_params(params, version=9)
  prompt = np.array([1, 2], np.int32)
  list(other.generate([Request(0, 0, prompt, prompt[:0], 3)]))
  rollout = other
  assert answers() == first
  assert len({r['response'] for r in first}) > len(first) // 2
  context.logger.close()
