"""Verdicts come from the domain's judge, in threads, and are counted."""

import contextlib
import threading

import pytest

from experiments import base
from k15.data_types import Problem
from k15.rewards import code_tests
from k15.rewards import math_answers
from k15.rewards import reward_client
from k15.rewards import routes
from k15.rewards import rules
from k15.rewards import sandbox
from k15.rewards import sandbox_rungs
from k15.rewards import scoring
from k15.rewards import values
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
  assert scorer.submit(problem(), '7').result().kind == 'correct'
  assert scorer.submit(problem('unnamed'), '8').result().kind == 'wrong'
  assert scorer.submit(problem('slow'), '7').result().reason == 'timeout: 1 s'


def test_what_the_prompt_has_opened_is_judged_with_the_response():
  judges = dict(
    mathematics=math_answers.verify, form=rules.verify_format, text=equal
  )
  routes = {'': 'mathematics', 'form': 'form', 'plain': 'mathematics'}
  opening = {'What?': '<think>', 'Plainly?': ''}
  scorer = scoring.Scorer(judges, routes, 2, opening=opening.get)
  plain = Problem('q', 'Plainly?', '7', 'plain')

  def kinds(response):
    asked = problem(), problem('form'), plain
    return [scorer.submit(p, response).result().kind for p in asked]

  closed = 'I add.\n</think>\n<answer> 7 </answer>'
  assert kinds(closed) == ['correct', 'correct', 'correct']
  assert kinds('I get \\boxed{7}') == ['wrong', 'wrong', 'correct']
  scorer.close()


def test_errors_are_counted_apart_with_their_reasons(scorer):
  for domain, text in (('', '7'), ('', '8'), ('slow', '7'), ('broken', '7')):
    scorer.submit(problem(domain), text).result()
  numbers = scorer.pop_numbers()
  assert numbers.pop('seconds') >= 0
  assert numbers == dict(
    correct=1, wrong=1, error=2, error_timeout=1, error_crash=1
  )
  assert scorer.pop_numbers() == dict(correct=0, wrong=0, error=0, seconds=0)


def test_a_failing_judge_is_an_error_that_says_so(scorer):
  verdict = scorer.submit(problem('broken'), '7').result()
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


def test_every_reward_judges_its_kind_of_answer():
  call = sandbox.Call('f', values.encode([[3], {}]))
  tests = code_tests.to_text([code_tests.CallTest(call, values.encode(6))])
  program = '```python\ndef f(x):\n  return x * 2\n```'
  asked = dict(
    exact_answer=('so\n#### 7', '7', '#### 8'),
    math_answers=(r'so \boxed{\frac{14}{2}}', '7', r'\boxed{8}'),
    code_tests=(program, tests, program.replace('2', '3')),
    r1_format=('<think>a</think><answer>b</answer>', '', '<answer>b</answer>'),
  )
  assert set(asked) == set(routes.REWARDS)
  with contextlib.ExitStack() as resources:
    try:
      judges = scoring.make_judges(base.get_config(), list(asked), resources)
    except ValueError as error:  # No sandbox on this machine.
      assert 'no sandbox' in str(error)
      pytest.skip(str(error))
    for name, (right, reference, wrong) in asked.items():
      assert judges[name](right, reference).kind == 'correct', name
      assert judges[name](wrong, reference).kind == 'wrong', name


def test_no_sandbox_is_one_sentence(monkeypatch):
  def refuse(*args, **kwargs):
    raise sandbox_rungs.SandboxError('no sandbox on this machine; all missing')

  monkeypatch.setattr(sandbox, 'Pool', refuse)
  with pytest.raises(ValueError, match='reward code_tests: no sandbox'):
    scoring.make_judges(
      base.get_config(), ['code_tests'], contextlib.ExitStack()
    )


def test_services_judge_programs_elsewhere(monkeypatch, tmp_path):
  asked = []

  class Client:
    def __init__(self, urls, token):
      asked.append((list(urls), token))

    def verify(self, response, reference, limits):
      asked.append((response, reference, limits.seconds))
      return Verdict('correct')

  monkeypatch.setattr(reward_client, 'Client', Client)
  path = tmp_path / 'token'
  path.write_text('secret\n')
  config = base.get_config()
  config.reward.services = ('http://10.0.0.5:9300',)
  config.reward.token_file = str(path)
  judges = scoring.make_judges(config, ['code_tests'], contextlib.ExitStack())
  assert judges['code_tests']('program', 'tests').kind == 'correct'
  assert asked == [
    (['http://10.0.0.5:9300'], 'secret'),
    ('program', 'tests', config.reward.program_seconds),
  ]
