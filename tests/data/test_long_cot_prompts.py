"""The four processes: asked for in every prompt, found where they are."""

import numpy as np
import pytest

from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import long_cot_prompts


@pytest.mark.parametrize('sample', range(len(long_cot_prompts.PROMPTS)))
def test_a_prompt_holds_the_problem_once(sample):
  problem = 'What is {x} + {problem}?'
  prompt = long_cot_prompts.engineer(problem, sample)
  assert prompt.count(problem) == 1
  assert (
    long_cot_prompts.engineer(problem, sample + len(long_cot_prompts.PROMPTS))
    == prompt
  )


def test_every_prompt_asks_for_all_four():
  for prompt in long_cot_prompts.PROMPTS:
    assert set(long_cot_prompts.shown(prompt)) >= {'planning', 'exploration'}
    assert any(word in prompt for word in ('Evaluate', 'verify', 'test'))
    assert any(word in prompt for word in ('Reflect', 'mistake', 'reconsider'))


@pytest.mark.parametrize(
  ('text', 'shown'),
  [
    ('The answer is 5.', {}),
    ('My plan: add them.', dict(planning='plan')),
    ('First, we need the sum.', dict(planning='First, we')),
    ('Let me verify that.', dict(evaluation='verify')),
    ('Does this hold for n = 2?', dict(evaluation='Does this hold')),
    (
      'Substituting x = 2 back gives 4.',
      dict(evaluation='Substituting x = 2 back'),
    ),
    ('Wait, 7 is odd.', dict(reflection='Wait')),
    ("No, that's wrong.", dict(reflection="that's wrong")),
    ('Alternatively, by parts.', dict(exploration='Alternatively')),
    ('Try another way: 3.', dict(exploration='another way')),
    # No word for being inside another one.
    ('planet awaits checkers', {}),
  ],
)
def test_english(text, shown):
  assert long_cot_prompts.shown(text) == shown


def test_all_four_in_a_search_that_slips():
  trace = (
    'plan search\n'
    'try 3 40/7=6 r2 wait 40/7=5 r5 want 1 no\n'
    'try 4 29/7=4 r1 want 1 yes\n'
    '#### 29'
  )
  assert long_cot_prompts.shown(trace) == dict(
    planning='plan',
    evaluation='try 3 40/7=6 r2 wait 40/7=5 r5 want 1 no',
    reflection='wait',
    exploration='try 3 40/7=6 r2 wait 40/7=5 r5 want 1 no',
  )


def test_generated_traces_show_what_they_do():
  rng = np.random.default_rng(0)
  habits = arithmetic_traces.Habits(slip_rate=0.2)
  problems = arithmetic.make_problems(70, arithmetic.KINDS, 0, 1, False, 0)
  complete = 0
  for problem in problems:
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    shown = long_cot_prompts.shown(trace)
    assert 'planning' in shown
    assert ('reflection' in shown) == (' wait ' in trace)
    assert ('exploration' in shown) == (trace.count('\ntry ') > 1)
    has_verdict = trace.startswith('plan search') or '\ncheck ' in trace
    assert ('evaluation' in shown) == has_verdict
    complete += len(shown) == 4
  assert complete > 5
