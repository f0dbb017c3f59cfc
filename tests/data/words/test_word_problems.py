"""Word problems: right, never seen in training, told whole, reproducible."""

import collections
import fractions
import re

import numpy as np
import pytest

from k15.data.words import word_problems
from k15.data.words import word_solutions
from k15.data.words import word_stories
from k15.data.words import word_templates
from k15.data.words.word_problems import Step
from k15.rewards.answers import verify

TEMPLATES = word_templates.TEMPLATES
HELD_OUT = {template.id for template in TEMPLATES if template.held_out}
# Of units, and of words: a week, a dozen, twice, a third, a square.
CONSTANTS = {2, 3, 4, 7, 10, 12, 60, 100}


def _stories(side, count=900, seed=0, most=4):
  return word_problems.make_stories(
    count, 1, most, 2, side, seed, 'held-out problems'
  )


@pytest.fixture(scope='module')
def stories():
  return {side: _stories(side) for side in word_problems.SIDES}


def _numbers(text):
  return [int(number) for number in re.findall(r'\d+', text)]


@pytest.mark.parametrize(
  ('step', 'result'),
  [
    (Step(36, '+', 8), 44),
    (Step(36, '-', 8), 28),
    (Step(3, '*', 12), 36),
    (Step(36, '/', 8), None),  # 4.5
    (Step(36, '/', 9), 4),
    (Step(25, '%', 80), 20),
    (Step(25, '%', 90), None),  # 22.5
  ],
)
def test_a_computation(step, result):
  assert step.result == result


def _by_hand(step):
  """The result in fractions, by other means than `Step` has."""
  a, b = fractions.Fraction(step.left), fractions.Fraction(step.right)
  by = {'+': a + b, '-': a - b, '*': a * b, '/': a / b, '%': a / 100 * b}
  return by[step.operation]


def test_answers_follow_from_the_numbers_of_the_statement(stories):
  for story in sum(stories.values(), []):
    said = _numbers(story.text)
    known = {
      *said,
      *CONSTANTS,
      *(n + 1 for n in said if 'others' in story.text),
    }
    for step in story.steps:
      assert {step.left, step.right} <= known, story
      known.add(step.result)
      assert _by_hand(step) == step.result
    assert story.problem.answer == str(_by_hand(story.steps[-1]))
    # Every result is used: nothing is computed for its own sake.
    used = {n for step in story.steps for n in (step.left, step.right)}
    assert {step.result for step in story.steps[:-1]} <= used, story


def test_a_story_solved_by_hand():
  """A note is 5 dollars: the text alone says it, whatever is said of steps."""
  pattern = re.compile(
    r'^\w+ has (\d+) notes of 5 dollars\. How many dollars does \w+ have'
  )
  found = 0
  for story in _stories(word_problems.TRAINING, 2000, most=1):
    match = pattern.match(story.text)
    if match:
      assert story.answer == 5 * int(match[1])
      found += 1
  assert found


def test_answers_are_no_number_of_the_statement(stories):
  for story in sum(stories.values(), []):
    assert story.answer not in _numbers(story.text)
    assert 2 <= story.answer <= 999


def test_texts_are_whole_and_ask_at_their_end(stories):
  for story in sum(stories.values(), []):
    assert not set('{}') & set(story.text)
    assert story.text.endswith('?') or ' Find the number of ' in story.text
    assert story.text.count('?') <= 1
    assert '  ' not in story.text and story.text[0].isalnum()


@pytest.mark.parametrize('guess_rate', [0.0, 1.0])
def test_worked_solutions_are_judged_right(stories, guess_rate):
  rng = np.random.default_rng(0)
  for story in stories['training'][:600]:
    text = word_solutions.write_solution(story, guess_rate, rng)
    assert verify.verify(text, story.problem.answer).kind == 'correct', text
    wrong = text.replace(
      f'\\boxed{{{story.answer}}}', f'\\boxed{{{story.answer + 1}}}'
    )
    assert verify.verify(wrong, story.problem.answer).kind == 'wrong'
    equations = re.findall(r'(\d+)(?: ([-+*/])|(%) of) (\d+) = (\d+)', text)
    assert len(equations) == (0 if guess_rate else len(story.steps)), text
    for left, operation, percent, right, result in equations:
      step = Step(int(left), operation or percent, int(right))
      assert _by_hand(step) == int(result)


def test_solutions_have_several_styles(stories):
  rng = np.random.default_rng(0)
  story = next(s for s in stories['training'] if len(s.steps) == 2)
  texts = {word_solutions.write_solution(story, 0.2, rng) for _ in range(200)}
  assert len(texts) == 4  # Three styles, and the bare answer.
  assert f'The answer is \\boxed{{{story.answer}}}.' in texts


def test_a_quarter_of_the_templates_is_held_out():
  assert len(TEMPLATES) >= 40
  assert len(HELD_OUT) * 4 >= len(TEMPLATES)
  assert len({template.id for template in TEMPLATES}) == len(TEMPLATES)
  for world in word_stories.WORLDS:
    places = [t.place for t in TEMPLATES if t.world == world and t.held_out]
    assert set(places) == {'open', 'go_on', 'end'}, world


def test_templates_say_why_of_each_step_and_have_several_phrasings():
  for template in TEMPLATES:
    assert len(template.why) == len(template.steps)
    assert len(set(template.says)) >= 2
    assert all(text.strip() == text for text in template.says)


def _keys(stories):
  """Computations without their order, as they are learnt."""
  return {
    (s.operation, *sorted((s.left, s.right)))
    if s.operation in '+*'
    else (s.operation, s.left, s.right)
    for story in stories
    for s in story.steps
  }


def test_training_sees_neither_held_out_templates_nor_numbers(stories):
  training = _stories('training', 3000, seed=7)
  assert not {name for s in training for name in s.templates} & HELD_OUT
  held_out = stories['seen_templates'] + stories['new_templates']
  assert not {s.text for s in training} & {s.text for s in held_out}
  # Each held-out problem has a computation that no training problem has.
  known = _keys(training)
  assert all(_keys([story]) - known for story in held_out)
  for story in stories['seen_templates']:
    assert not set(story.templates) & HELD_OUT
  for story in stories['new_templates']:
    assert set(story.templates) & HELD_OUT


def test_every_template_and_phrasing_is_reached(stories):
  told = collections.Counter(
    name for s in sum(stories.values(), []) for name in s.templates
  )
  assert set(told) == {template.id for template in TEMPLATES}
  training = {name for s in stories['training'] for name in s.templates}
  assert training == set(told) - HELD_OUT
  # No template is rare: those of a place are drawn alike.
  assert min(told[name] for name in training) >= 3


def test_steps_and_distractors_take_turns(stories):
  counts = collections.Counter(
    (len(s.steps), s.distractors) for s in stories['training'][:840]
  )
  assert len(counts) == 12
  assert set(counts.values()) <= {69, 70, 71}  # But for what came twice.
  # (steps - 1 + distractors / 2) / 4, by hand.
  assert word_problems.difficulty(1, 0) == 0
  assert word_problems.difficulty(2, 1) == 0.375
  assert word_problems.difficulty(4, 2) == 1


def test_a_problem_says_where_it_is_from(stories):
  for side, found in stories.items():
    problem = found[0].problem
    assert word_problems.side_of(problem) == side
    assert problem.domain in word_stories.WORLDS
    assert problem.discipline == '+'.join(found[0].templates)
    assert all(name.startswith(problem.domain) for name in found[0].templates)
    assert len({story.problem.id for story in found}) == len(found)


def test_a_story_depends_on_its_seed_and_index_alone():
  first = _stories('training', 60)
  assert first == _stories('training', 60)
  assert first[:20] == _stories('training', 20)
  assert not {s.text for s in first} & {
    s.text for s in _stories('training', 60, seed=1)
  }
  other = word_problems.make_stories(
    60, 1, 4, 2, 'training', 0, 'warm-up solutions'
  )
  assert not {s.text for s in first} & {s.text for s in other}


def test_refuses_what_it_does_not_know():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match="unknown side 'test', known are train"):
    word_problems.make_story(1, 0, 'test', rng)
  with pytest.raises(ValueError, match='5 steps and 0 distractors are not in'):
    word_problems.make_story(5, 0, 'training', rng)
  with pytest.raises(ValueError, match='1 steps and 3 distractors are not in'):
    word_problems.make_story(1, 3, 'training', rng)
