"""Verdicts come from the domain's judge, in threads, and are counted."""

import threading

import pytest

from k15.data_types import Problem
from k15.rewards import scoring
from k15.rewards.verdict import Verdict


def fails(response, reference):
  raise RuntimeError('no judge')


def times_out(response, reference):
  return Verdict('error', 'timeout: 1 s')


def equal(response, reference):
  return Verdict('correct' if response == reference else 'wrong')


@pytest.fixture
def scorer():
  judges = dict(equal=equal, fails=fails, slow=times_out)
  routes = {'': 'equal', 'broken': 'fails', 'slow': 'slow'}
  made = scoring.Scorer(judges, routes, threads=2)
  yield made
  made.close()


def problem(domain=''):
  return Problem('p', 'What?', '7', domain)


def test_every_domain_has_its_judge(scorer):
  assert scorer.score(problem(), '7').kind == 'correct'
  assert scorer.score(problem('unnamed'), '8').kind == 'wrong'
  assert scorer.score(problem('slow'), '7').reason == 'timeout: 1 s'


def test_errors_are_counted_apart_with_their_reasons(scorer):
  for domain, text in (('', '7'), ('', '8'), ('slow', '7'), ('broken', '7')):
    scorer.score(problem(domain), text)
  numbers = scorer.pop_numbers()
  assert numbers.pop('seconds') >= 0
  assert numbers == dict(
    correct=1, wrong=1, error=2, error_timeout=1, error_crash=1
  )
  assert scorer.pop_numbers() == dict(correct=0, wrong=0, error=0, seconds=0)


def test_a_failing_judge_is_an_error_that_says_so(scorer):
  verdict = scorer.score(problem('broken'), '7')
  assert verdict == Verdict('error', 'crash: RuntimeError: no judge')
  assert scoring.reward_of(verdict) == 0.0


def test_nobody_waits_for_a_judge():
  gate = threading.Event()

  def waits(response, reference):
    gate.wait()
    return equal(response, reference)

  scorer = scoring.Scorer({'waits': waits}, {'': 'waits'}, threads=2)
  futures = [scorer.submit(problem(), text) for text in '787']
  assert not any(future.done() for future in futures)
  gate.set()
  kinds = [future.result().kind for future in futures]
  assert kinds == ['correct', 'wrong', 'correct']
  scorer.close()
