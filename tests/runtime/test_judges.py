"""The rewards of a config: each judges its kind of answer."""

import contextlib

import pytest

from experiments import base
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.config import checks
from k15.config import routes
from k15.data import arithmetic
from k15.data_types import Problem, StopReason
from k15.rewards import client
from k15.rewards.code import programs
from k15.rewards.sandbox import pool
from k15.rewards.sandbox import walls
from k15.rewards.sandbox.inside import values
from k15.rewards.verdict import Verdict
from k15.runtime import judges
from k15.runtime import task as task_lib


def test_every_reward_has_what_makes_it():
  rules = routes.REWARDS.keys() - set(routes.MODELS)
  assert judges._MAKERS.keys() == rules | set(routes.FOR_EVALUATION)


def test_a_new_reward_is_a_page_and_its_rows(monkeypatch):
  def brevity(response, reference):
    return Verdict('correct' if len(response) < 9 else 'wrong')

  monkeypatch.setitem(routes.REWARDS, 'brevity', 'length')
  monkeypatch.setitem(judges._MAKERS, 'brevity', lambda *_: brevity)
  config = base.get_config()
  config.reward.default = 'exact_answer+0.5*brevity'
  checks.validate(config, 1, arithmetic.KINDS)
  task = task_lib.Task(ByteTokenizer(()), '', [], [], [])
  with contextlib.closing(judges.make_scorer(config, task)) as scorer:
    for text, reward in (('#### 7', 1.5), ('it is\n#### 7', 1), ('8', 0.5)):
      problem = Problem('p', 'What?', '7')
      verdict = scorer.submit(problem, text, StopReason.EOS).result()
      assert verdict.reward == reward
      assert verdict.parts.keys() == {'accuracy', 'length'}


def test_every_reward_judges_its_kind_of_answer():
  call = pool.Call('f', values.encode([[3], {}]))
  tests = programs.to_text([programs.CallTest(call, values.encode(6))])
  program = '```python\ndef f(x):\n  return x * 2\n```'
  asked = dict(
    exact_answer=('so\n#### 7', '7', '#### 8'),
    math_answers=(r'so \boxed{\frac{14}{2}}', '7', r'\boxed{8}'),
    code_tests=(program, tests, program.replace('2', '3')),
    r1_format=('<think>a</think><answer>b</answer>', '', '<answer>b</answer>'),
    r1_latin=('<think>so it is</think>七', '', '<think>so 七</think>'),
    r1_cjk=('<think>七</think>seven', '', '<think>so 七</think>'),
  )
  # Those that are models have their own: test_model_judges.
  assert set(asked) == set(routes.REWARDS) - set(routes.MODELS)
  with contextlib.ExitStack() as resources:
    try:
      made = judges.make_judges(base.get_config(), list(asked), resources)
    except ValueError as error:  # No sandbox on this machine.
      assert 'no sandbox' in str(error)
      pytest.skip(str(error))
    for name, (right, reference, wrong) in asked.items():
      assert made[name](right, reference).kind == 'correct', name
      assert made[name](wrong, reference).kind == 'wrong', name


def test_no_sandbox_is_one_sentence(monkeypatch):
  def refuse(*args, **kwargs):
    raise walls.SandboxError('no sandbox on this machine; all missing')

  monkeypatch.setattr(pool, 'Pool', refuse)
  with pytest.raises(ValueError, match='reward code_tests: no sandbox'):
    judges.make_judges(
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

  monkeypatch.setattr(client, 'Client', Client)
  path = tmp_path / 'token'
  path.write_text('secret\n')
  config = base.get_config()
  config.reward.services = ('http://10.0.0.5:9300',)
  config.reward.token_file = str(path)
  made = judges.make_judges(config, ['code_tests'], contextlib.ExitStack())
  assert made['code_tests']('program', 'tests').kind == 'correct'
  assert asked == [
    (['http://10.0.0.5:9300'], 'secret'),
    ('program', 'tests', config.reward.program_seconds),
  ]
