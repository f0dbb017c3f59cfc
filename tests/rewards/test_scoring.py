"""Verdicts come from the domain's judge, in threads, and are counted.

Which answers count as one.
"""

import functools
import threading

import pytest

from k15.data_types import ImageRef, Problem, StopReason
from k15.rewards import rules
from k15.rewards import scoring
from k15.rewards.answers import verify
from k15.rewards.verdict import Verdict

EOS = StopReason.EOS


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
  assert scorer.submit(problem(), '7', EOS).result().kind == 'correct'
  assert scorer.submit(problem('unnamed'), '8', EOS).result().kind == 'wrong'
  assert (
    scorer.submit(problem('slow'), '7', EOS).result().reason == 'timeout: 1 s'
  )


def test_pictures_go_to_the_judge_of_pictures():
  judges = dict(equal=equal, slow=times_out)
  scorer = scoring.Scorer(judges, {'': 'equal', '<image>': 'slow'}, threads=1)
  seen = Problem('p', 'What?', '7', images=(ImageRef('d', 1, 1, ''),))
  assert scorer.submit(problem(), '7', EOS).result().kind == 'correct'
  assert scorer.submit(seen, '7', EOS).result().kind == 'error'
  scorer.close()


def test_what_the_prompt_has_opened_is_judged_with_the_response():
  judges = dict(mathematics=verify.verify, form=rules.verify_format, text=equal)
  routes = {'': 'mathematics', 'form': 'form', 'plain': 'mathematics'}
  opening = {'What?': '<think>', 'Plainly?': ''}
  scorer = scoring.Scorer(judges, routes, 2, opening=opening.get)
  plain = Problem('q', 'Plainly?', '7', 'plain')

  def kinds(response):
    asked = problem(), problem('form'), plain
    return [scorer.submit(p, response, EOS).result().kind for p in asked]

  closed = 'I add.\n</think>\n<answer> 7 </answer>'
  assert kinds(closed) == ['correct', 'correct', 'correct']
  assert kinds('I get \\boxed{7}') == ['wrong', 'wrong', 'correct']
  # Where it was asked in other words, those count.
  for opening, kind in (('', 'correct'), ('<think>', 'wrong')):
    verdict = scorer.submit(problem(), '\\boxed{7}', EOS, opening).result()
    assert verdict.kind == kind
  scorer.close()


def test_errors_are_counted_apart_with_their_reasons(scorer):
  for domain, text in (('', '7'), ('', '8'), ('slow', '7'), ('broken', '7')):
    scorer.submit(problem(domain), text, EOS).result()
  numbers = scorer.pop_numbers()
  assert numbers.pop('seconds') >= 0
  assert numbers == dict(
    correct=1, wrong=1, error=2, error_timeout=1, error_crash=1
  )
  assert scorer.pop_numbers() == dict(correct=0, wrong=0, error=0, seconds=0)


def test_a_failing_judge_is_an_error_that_says_so(scorer):
  verdict = scorer.submit(problem('broken'), '7', EOS).result()
  assert (verdict.kind, verdict.reason) == (
    'error', 'crash: RuntimeError: no judge',
  )  # fmt: skip
  assert scoring.reward_of(verdict) == 0.0


def test_nobody_waits_for_a_judge():
  gate = threading.Event()

  def waits(response, reference):
    gate.wait()
    return equal(response, reference)

  scorer = scoring.Scorer({'waits': waits}, {'': 'waits'}, threads=2)
  futures = [scorer.submit(problem(), text, EOS) for text in '787']
  assert not any(future.done() for future in futures)
  gate.set()
  kinds = [future.result().kind for future in futures]
  assert kinds == ['correct', 'wrong', 'correct']
  scorer.close()


def test_what_a_response_gets_by_how_it_stopped():
  right = Verdict('correct', reward=1.5, parts=dict(accuracy=1.0, format=1.0))
  error = Verdict('error', 'timeout')
  for stop in StopReason:
    settled = scoring.settle(right, stop)
    if stop is EOS:
      assert settled == right
    else:
      assert (settled.kind, settled.reason) == ('wrong', 'unfinished')
      assert scoring.reward_of(settled) == 0
      assert scoring.parts_of(settled) == dict(accuracy=0, format=0)
    assert scoring.settle(right, stop, cut_is_wrong=False) == right
    assert scoring.settle(error, stop) == error


@pytest.mark.parametrize('stop', list(StopReason))
@pytest.mark.parametrize('cut_is_wrong', [True, False])
def test_the_scorer_settles(stop, cut_is_wrong):
  scorer = scoring.Scorer(
    dict(equal=equal), {'': 'equal'}, 1, cut_is_wrong=cut_is_wrong
  )
  verdict = scorer.submit(problem(), '7', stop).result()
  right = stop is EOS or not cut_is_wrong
  assert verdict.kind == ('correct' if right else 'wrong')
  assert scorer.pop_numbers()[verdict.kind] == 1
  scorer.close()


FORM = '<think>{}</think><answer>{}</answer>'


@pytest.mark.parametrize(
  ('response', 'accuracy', 'form', 'reward'),
  [  # 1 * accuracy + 0.5 * format, as the route weighs them.
    (FORM.format('so', r'\boxed{7}'), 1, 1, 1.5),
    (r'\boxed{7}', 1, 0, 1.0),
    (FORM.format('so', r'\boxed{8}'), 0, 1, 0.5),
    ('no', 0, 0, 0.0),
  ],
)
def test_a_reward_is_a_number_with_parts(response, accuracy, form, reward):
  def boxed(response, reference):
    right = f'boxed{{{reference}}}' in response
    return Verdict('correct' if right else 'wrong')

  judges = dict(math_answers=boxed, r1_format=rules.verify_format)
  scorer = scoring.Scorer(judges, {'': 'math_answers+0.5*r1_format'}, 1)
  verdict = scorer.submit(problem(), response, EOS).result()
  scorer.close()
  assert verdict.parts == dict(accuracy=accuracy, format=form)
  assert scoring.reward_of(verdict) == reward
  # The form makes nothing right.
  assert verdict.kind == ('correct' if accuracy else 'wrong')


def test_what_is_added_may_be_a_share():
  # DeepSeek-R1's second stage: accuracy 1, one of two words of the thinking.
  judges = dict(
    exact_answer=lambda response, reference: Verdict('correct'),
    r1_latin=functools.partial(rules.verify_language, script='latin'),
  )
  scorer = scoring.Scorer(judges, {'': 'exact_answer+r1_latin'}, 1)
  text = FORM.format('so 七', '7')
  verdict = scorer.submit(problem(), text, EOS).result()
  scorer.close()
  assert verdict.parts == dict(accuracy=1, language=0.5)
  assert (verdict.kind, scoring.reward_of(verdict)) == ('correct', 1.5)


def test_a_reward_may_see_the_summary_alone():
  # R1 judges by it whether an answer helps, and by all whether it harms.
  seen = []

  def judge(name, response, reference):
    seen.append((name, response))
    return Verdict('correct', reward=0.5)

  judges = {
    name: functools.partial(judge, name)
    for name in ('math_answers', 'r1_format', 'r1_latin')
  }
  route = 'summary(math_answers)+2*summary( r1_format )+r1_latin'
  scorer = scoring.Scorer(judges, {'': route}, 1)
  text = '<think>so</think>7'
  verdict = scorer.submit(problem(), text, EOS).result()
  assert seen == [('math_answers', '7'), ('r1_format', '7'), ('r1_latin', text)]
  assert scoring.reward_of(verdict) == 1 + 2 * 0.5 + 0.5
  scorer.submit(problem(), '<think>never closed', EOS).result()
  assert seen[3:5] == [('math_answers', ''), ('r1_format', '')]
  scorer.close()


def test_an_answer_nobody_could_judge_earns_nothing_for_its_form():
  judges = dict(math_answers=times_out, r1_format=rules.verify_format)
  scorer = scoring.Scorer(judges, {'': 'math_answers+r1_format'}, 1)
  text = FORM.format('so', '7')
  verdict = scorer.submit(problem(), text, EOS).result()
  scorer.close()
  assert (verdict.kind, scoring.reward_of(verdict)) == ('error', 0.0)
  assert verdict.parts == dict(accuracy=0, format=0)


def test_a_refused_token_is_no_verdict():
  def refused(response, reference):
    raise PermissionError('10.0.0.5:9300 does not know the token')

  scorer = scoring.Scorer(dict(refused=refused), {'': 'refused'}, 1)
  future = scorer.submit(problem(), '7', EOS)
  with pytest.raises(scoring.Failed, match=r'9300 does not know the token'):
    future.result()
  numbers = scorer.pop_numbers()
  numbers.pop('seconds')
  assert numbers == dict(correct=0, wrong=0, error=0)
  scorer.close()


def test_errors_alone_say_nothing():
  timeout, away = Verdict('error', 'timeout'), Verdict('error', 'service: away')
  for fine in (
    [], [timeout], [timeout, away, Verdict('wrong')], [Verdict('correct')]
  ):  # fmt: skip
    scoring.refuse_errors(fine, 'here')
  with pytest.raises(scoring.Failed) as failed:
    scoring.refuse_errors([timeout, away, away], 'rl: iteration 3')
  assert str(failed.value) == (
    "rl: iteration 3: all 3 verdicts are errors, 2 of them 'service: away',"
    ' and errors say nothing of the responses'
  )


def test_errors_are_withheld_until_another_verdict_comes():
  kept, error = [], Verdict('error', 'timeout')
  withheld = scoring.Withheld(lambda i, v: kept.append((i, v.kind)), 'here')
  withheld.add(0, error)
  withheld.add(1, error)
  assert not kept
  withheld.add(2, Verdict('wrong'))
  withheld.add(3, error)
  withheld.finish()
  assert kept == [(0, 'error'), (1, 'error'), (2, 'wrong'), (3, 'error')]
  kept.clear()
  withheld = scoring.Withheld(lambda i, v: kept.append(i), 'here')
  withheld.add(0, error)
  withheld.add(1, error)
  with pytest.raises(scoring.Failed):
    withheld.finish()
  assert not kept


def test_the_last_few_may_all_be_odd():
  """A run that lacks two verdicts, both time-outs, does not fail for ever."""
  kept, error = [], Verdict('error', 'timeout')
  withheld = scoring.Withheld(lambda i, v: kept.append(i), 'here', True)
  for i in range(15):
    withheld.add(i, error)
  withheld.finish()
  assert kept == list(range(15))
  withheld = scoring.Withheld(lambda i, v: kept.append(i), 'here', True)
  for i in range(16):
    withheld.add(i, error)
  with pytest.raises(scoring.Failed, match='all 16 verdicts'):
    withheld.finish()


@pytest.mark.parametrize(
  ('reward', 'response', 'answer'),
  [
    ('math_answers', 'So it is \\boxed{\\frac12}.', '\\frac12'),
    ('math_answers', '<think>never ends', None),
    ('exact_answer', 'thus\n#### 12 \nmore', '12'),
    ('exact_answer', 'thus 12', None),
    ('exact_answer', '####', None),
    ('code_tests', 'so\n```python\nx = 1\n```', 'x = 1\n'),
    ('code_tests', 'no program', None),
    ('r1_format', 'as it is', 'as it is'),
  ],
)
def test_what_a_response_votes_for(reward, response, answer):
  assert scoring.answer_of(response, reward, '####') == answer


@pytest.mark.parametrize(
  ('a', 'b', 'same'),
  [
    ('\\frac{1}{2}', '0.5', True),
    ('0.5', '\\frac{1}{3}', False),
    ('x^2+1', '1+x^2', True),
    ('\\text{east}', 'east', True),
    ('east', 'west', False),
  ],
)
def test_mathematics_is_equal_by_value(a, b, same):
  assert scoring.equal_by('math_answers')(a, b) is same
  assert not scoring.equal_by('exact_answer')(a, b)


def test_anything_else_is_equal_letter_by_letter():
  assert scoring.equal_by('code_tests')('x = 1', 'x = 1')
