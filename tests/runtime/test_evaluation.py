"""Records in order, numbers by hand, and the same answers every time."""

from concurrent import futures

import numpy as np
import pytest
import small_run

from k15 import streams
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data_types import Problem, Segment
from k15.rewards import scoring
from k15.rewards import thinking
from k15.rewards.verdict import Verdict
from k15.rollout import local
from k15.rollout.requests import Completion, Request, Stop
from k15.runtime import evaluation
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.task import Task


class _Backwards:
  """Answers every request, the last one first, by its sample's number."""

  def generate(self, requests):
    for r in reversed(requests):
      tokens = np.full(2 + r.sample_index, ord('7'), np.int32)
      stop = Stop.EXHAUSTED if r.sample_index else Stop.ENDED
      logprobs = np.zeros(len(tokens), np.float32)
      yield Completion(r, (Segment(tokens, logprobs, 0),), stop)


def _judge(problem, text, stop):
  future = futures.Future()
  right = text == problem.answer
  verdict = Verdict('correct' if right else 'wrong')
  future.set_result(scoring.settle(verdict, stop))
  return future


def _task():
  problems = [Problem('a', '1?', '77'), Problem('b', '2?', '777', 'd', 0.5)]
  return Task(ByteTokenizer(()), '\n', [], problems, [])


def test_records_are_in_order_of_problem_and_sample():
  records = evaluation.evaluate(
    _Backwards(),
    _task(),
    _judge,
    samples=2,
    max_length=3,
    temperature=1.0,
  )
  names = [(r['problem_id'], r['sample']) for r in records]
  assert names == [('a', 0), ('a', 1), ('b', 0), ('b', 1)]
  # The last one has the right answer, but did not end.
  assert [r['reward'] for r in records] == [1, 0, 0, 0]
  assert [r['length'] for r in records] == [2, 3, 2, 3]
  # Three tokens are the longest allowed: not a budget that is renewed.
  assert [r['stop'] for r in records] == ['eos', 'max_length'] * 2
  assert records[3] == dict(
    problem_id='b', sample=1, prompt='2?', answer='777', response='777',
    reward=0.0, accuracy=0.0, verdict='wrong', reason='unfinished', length=3,
    stop='max_length',
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
  assert evaluation.summary(records) == dict(
    accuracy=pytest.approx(1 / 3),
    errors=pytest.approx(1 / 3),
    mean_tokens=20.0,
    p95_tokens=pytest.approx(29.0),  # 20 + 0.9 * (30 - 20)
    truncated=pytest.approx(1 / 3),
  )


def _records():
  """Two problems of domains c and d, four samples each; the last is cut."""
  a = '#### 7', '#### 8', '#### 7', '#### 7'
  b = 'no', '#### 1', '#### 2', '#### 7'
  return [
    dict(
      problem_id=name, sample=k, domain=domain, prompt=f'{name}?',
      response=text, length=10 * k,
      reward=float(text == '#### 7' and k < 3),
      reason='time: 3' * (text == 'no'),
      verdict='error' if text == 'no' else 'wrong',
      stop='eos' if k < 3 else 'max_length',
    )
    for name, domain, texts in zip('ab', 'cd', (a, b), strict=True)
    for k, text in enumerate(texts)
  ]  # fmt: skip


def test_pass_at_k_by_hand():
  # Of four samples a has two right ones, b none: 1 - C(2, 2) / C(4, 2) = 5 / 6.
  found = evaluation.pass_at(_records(), (2, 4, 8))
  assert found == {'pass@2': pytest.approx(5 / 12), 'pass@4': 0.5}


def _measure(records, pass_at=(1, 2, 8)):
  return evaluation.measure(
    records,
    lambda r: 'exact_answer',
    '####',
    thinking.opening_of,
    pass_at,
    0.9,
    50,
    seed=0,
  )


def test_a_thinking_that_the_prompt_began_votes_when_it_is_closed():
  m = _measure([r | dict(prompt='<think>\n') for r in _records()])
  # Nobody votes.
  assert (m['majority@4']['value'], m['majority@4']['ties']) == (0, 0)
  said = [
    r | dict(prompt='<think>', response=f'#### 9 </think>{r["response"]}')
    for r in _records()
  ]
  assert _measure(said)['majority@4'] == _measure(_records())['majority@4']


def test_measures_by_hand():
  m = _measure(_records())
  assert (m['problems'], m['samples']) == (2, 4)
  # Right: 2 and 0 of 4.  pass@2 = 1 - C(2, 2) / C(4, 2) = 5/6 and 0.
  assert m['pass@1']['value'] == 0.25
  assert m['pass@2']['value'] == pytest.approx(5 / 12)
  assert 'pass@8' not in m
  # Votes: 7, 8, 7 and then 1, 2: a tie of two wrong answers.
  assert (m['majority@4']['value'], m['majority@4']['ties']) == (0.5, 0.5)
  assert m['mean_tokens']['value'] == 15
  assert m['tokens']['correct'] == dict(mean=10.0, p95=19.0)  # 0 and 20
  # 10, 30, 0, 10, 20, 30.
  assert m['tokens']['wrong']['mean'] == pytest.approx(100 / 6)
  assert (m['truncated'], m['repetition'], m['errors']) == (0.25, 0, 0.125)
  assert m['errors_by_reason'] == dict(time=0.125)
  assert m['domains']['c'] == dict(problems=1, accuracy=0.5)
  assert m['pass@1']['low'] == 0 and m['pass@1']['high'] == 0.5
  assert _measure(_records()) == m


def test_problems_need_as_many_samples():
  with pytest.raises(ValueError, match=r'problems with \[3, 4\] samples'):
    _measure(_records()[:-1])


def test_an_evaluation_of_errors_alone_is_none():
  def fails(problem, text, stop):
    future = futures.Future()
    future.set_result(Verdict('error', 'service: away'))
    return future

  with pytest.raises(
    scoring.Failed, match='evaluation: all 4 verdicts are err'
  ):
    evaluation.evaluate(_Backwards(), _task(), fails, 2, 3, 1.0)


def test_accuracy_alone_is_accuracy():
  """Not what a response earns for its format besides."""
  records = [
    record | dict(reward=1.0, accuracy=record['reward'])
    for record in _records()
  ]
  expected = _measure(_records())
  assert _measure(records) == expected


def test_the_same_weights_give_the_same_answers(tmp_path):
  context = small_run.make_context(tmp_path)
  rollout = rollouts.make_rollout(context, 'held_out')
  params = weights.init_params(context.layout, 0)

  def answers():
    rollout.set_params(params, version=0)
    return evaluation.evaluate(
      rollout, context.task, context.scorer.submit, 2, 16, 1.0
    )

  first = answers()
  # Whatever was asked in between, random numbers come from the ids.
  key = streams.key(context.config.seed, 'rollout', 'held_out')
  other = local.LocalRollout(rollout._slots, key)
  other.set_params(params, version=9)
  prompt = np.array([1, 2], np.int32)
  list(other.generate([Request(0, 0, prompt, prompt[:0], 3)]))
  rollout = other
  assert answers() == first
  assert len({r['response'] for r in first}) > len(first) // 2
  context.logger.close()
