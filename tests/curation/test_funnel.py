"""Tests of k15/curation/funnel.py: each filter removes the right ones.

Tests of k15/curation/funnel.py.
"""

import dataclasses

import numpy as np
import pytest

from benchmarks.quality import public_data
from k15.curation import funnel
from k15.data import problems as problems_lib
from k15.data_types import ImageRef, Problem


def _problem(name, prompt=None, answer='1', **fields):
  return Problem(name, prompt or f'What is {name}?', answer, **fields)


def _ids(removals):
  return [removal.problem.id for removal in removals]


def test_what_is_removed_is_one_object_not_its_equals():
  a, b = _problem('a'), _problem('a')
  assert funnel.without([a, b], [funnel.Removal(b, 'r')]) == [a]


def test_problems_without_an_answer():
  problems = [_problem('a'), _problem('b', answer=' ')]
  assert _ids(funnel.without_answer(problems)) == ['b']


def test_too_long_prompts():
  problems = [_problem('a'), _problem('b')]
  (removal,) = funnel.too_long(problems, [8, 9], max_tokens=8)
  assert removal.problem is problems[1] and removal.detail == '9 tokens'


def test_of_equal_prompts_the_first_stays():
  problems = [
    _problem('a', 'What is $1+1$?', '2'),
    _problem('b', 'What is 2+2?', '4'),
    _problem('c', 'what is  1 + 1', '$2$'),
    _problem('d', 'What is \n1+1?', '2'),
  ]
  removals = funnel.exact_duplicates(problems)
  assert _ids(removals) == ['c', 'd']
  assert all(r.other is problems[0] for r in removals)


def test_equal_prompts_with_different_answers_all_go():
  problems = [_problem('a', 'x?', '1'), _problem('b', 'x?', '2')]
  removals = funnel.exact_duplicates(problems)
  assert _ids(removals) == ['a', 'b']
  assert {r.reason for r in removals} == {'answers disagree'}
  assert removals[0].detail == '1 / 2'
  assert removals[0].other is problems[1] and removals[1].other is problems[0]


def test_answers_in_several_forms_agree():
  problems = [
    _problem('a', 'Evaluate x', '\\frac13'),
    _problem('b', 'Evaluate x.', '\\dfrac{1}{3}'),
  ]
  assert _ids(funnel.exact_duplicates(problems)) == ['b']


def test_overlap_with_an_evaluation_set_names_the_problem():
  text = 'The sum of the first eleven odd numbers after zero is which number'
  held = [_problem('e', text + '?', '121')]
  train = [_problem('a', text, '121'), _problem('b', text + ' then', '121')]
  train += [_problem('c', text[:-6] + 'digit', '5'), _problem('d')]
  removals = funnel.evaluation_overlap(train, held, 0.55, 0.8)
  assert [(r.problem.id, r.reason.split()[0]) for r in removals] == [
    ('a', 'exact'),
    ('b', 'duplicate'),
    ('c', 'variant'),
  ]
  assert all(r.other is held[0] for r in removals)
  assert 'c' not in _ids(funnel.evaluation_overlap(train, held, 0.55, 0.0))


def test_near_duplicates_name_the_one_that_stays():
  text = 'How many apples does Ann have after she gives two of them to her dog'
  problems = [_problem('a', text, '3'), _problem('b', text + ' Bo', '3')]
  (removal,) = funnel.near_duplicates_within(problems, 0.55)
  assert removal.problem is problems[1] and removal.other is problems[0]


def test_only_the_excluded_types_go():
  problems = [
    _problem('a', 'Is 7 prime?', 'yes'),
    _problem('b', 'Prove that x'),
  ]
  kinds = 'multiple choice', 'true/false', 'proof'
  assert _ids(funnel.question_types_in(problems, kinds)) == ['a', 'b']
  assert _ids(funnel.question_types_in(problems, ('proof',))) == ['b']
  assert funnel.question_types_in(problems, ()) == []


def test_trivial_is_above_the_bound_not_at_it():
  problems = [_problem('a'), _problem('b'), _problem('c')]
  (removal,) = funnel.trivial(problems, [0.9, 1.0, 0.0], 10, 0.9)
  assert removal.problem is problems[1]
  assert removal.detail == '10 of 10 right'


def test_one_right_guess_of_eight_removes():
  problems = [_problem('a'), _problem('b')]
  right = [[False] * 7 + [True], [False] * 8]
  (removal,) = funnel.guessable(problems, right)
  assert removal.problem is problems[0]
  assert removal.detail == '1 of 8 guesses right'


def test_without_guesses_nothing_is_guessed():
  assert funnel.guessable([_problem('a')], [[]]) == []


@pytest.mark.parametrize('p', [0.02, 0.1, 0.25])
def test_guesses_remove_with_one_minus_one_minus_p_to_the_eight(p):
  n = 4000
  problems = [_problem(str(i)) for i in range(n)]
  right = np.random.default_rng(0).random((n, 8)) < p
  share = len(funnel.guessable(problems, right)) / n
  expected = 1 - (1 - p) ** 8  # 0.149, 0.570, 0.900
  error = (expected * (1 - expected) / n) ** 0.5
  assert abs(share - expected) < 4 * error


def test_the_largest_cap_that_bounds_the_share():
  # 2 + 3 + 5 = 10 and 5 is half of it; with 6 it would be 6 of 11.
  assert funnel.cap_of([2, 3, 100], 0, 0.5) == 5
  assert funnel.cap_of([2, 3, 100], 4, 0.5) == 4
  assert funnel.cap_of([2, 3, 100], 0, 1.0) == 100
  assert funnel.cap_of([7, 7], 0, 0.5) == 7
  assert funnel.cap_of([], 0, 0.5) == 0
  with pytest.raises(ValueError, match='2 tags .* share of 0.4: 3 are needed'):
    funnel.cap_of([5, 6], 0, 0.4)


def _mixed():
  return [
    _problem(f'{tag}{i}', domain='m', discipline=tag, difficulty=(i % 10) / 10)
    for tag, count in (('a', 100), ('b', 20), ('c', 5))
    for i in range(count)
  ]


def test_balance_bounds_the_share_of_every_tag():
  problems = _mixed()
  removals = funnel.over_represented(problems, 0, 0.5, seed=0)
  kept = funnel.without(problems, removals)
  # 25 of tag a beside 20 and 5: exactly half.
  assert len(kept) == 50
  assert {r.reason for r in removals} == {'too many of m / a'}
  assert removals[0].detail == '100 in all, 25 stay'


def test_balance_takes_the_fifths_of_difficulty_in_turn():
  problems = _mixed()
  removals = funnel.over_represented(problems, 25, 1.0, seed=0)
  kept = [p for p in funnel.without(problems, removals) if p.id[0] == 'a']
  fifths = np.bincount([int(5 * p.difficulty) for p in kept])
  assert fifths.tolist() == [5, 5, 5, 5, 5]


def test_balance_gives_problems_without_a_label_a_turn_of_their_own():
  # 30 easy ones and 10 without a label: in turn, 6 of each.
  problems = [
    _problem(f'{i}', domain='m', discipline='a', difficulty=label)
    for i, label in enumerate([0.0] * 30 + [None] * 10)
  ]
  removals = funnel.over_represented(problems, 12, 1.0, seed=0)
  kept = funnel.without(problems, removals)
  assert [p.difficulty for p in kept].count(None) == 6


def test_balance_is_decided_by_seed_and_prompt_alone():
  problems = _mixed()

  def kept(problems, seed):
    removals = funnel.over_represented(problems, 10, 1.0, seed)
    return {p.id for p in funnel.without(problems, removals)}

  assert kept(problems, 0) == kept(problems[::-1], 0)
  assert kept(problems, 0) != kept(problems, 1)


def test_balance_without_bounds_removes_nothing():
  assert funnel.over_represented(_mixed(), 0, 1.0, seed=0) == []
  assert funnel.over_represented([], 3, 0.5, seed=0) == []


def test_a_removal_keeps_the_problem_as_it_was():
  problem = _problem('a', domain='m')
  removal = funnel.Removal(problem, 'r')
  assert dataclasses.asdict(removal)['problem']['domain'] == 'm'


def _public(name, rows=slice(None)):
  path = public_data.folder() / name
  if not path.is_file():
    pytest.skip(f'{path} is not there: set {public_data.VARIABLE}')
  return [Problem(**row) for row in problems_lib.convert([str(path)])[rows]]


def test_math_train_holds_templates_of_math_500_but_none_of_its_problems():
  train = _public('math_train7474/train.json', slice(1700, 2400))
  removals = funnel.evaluation_overlap(
    train, _public('math500/math500.json'), 0.55, 0.8
  )
  assert {r.reason for r in removals} == {'variant of an evaluation problem'}
  words = {r.problem.prompt.split()[-1] for r in removals}
  assert {'RADII.', 'MADAM.', 'TOOT.', 'ALABAMA.'} <= words


def test_options_of_contests_are_found_among_problems_of_math():
  train = _public('math_train7474/train.json', slice(2160, 2190))
  removals = funnel.question_types_in(train, ('multiple choice',))
  # Lines 2163 to 2180 but one; 2181 to 2189 ask for a number.
  places = [int(r.problem.id.rpartition(':')[2]) for r in removals]
  assert places == [2163, 2164, 2165, 2166, *range(2168, 2181)]


PROBLEMS = [Problem(str(i), f'p{i}', 'a', 'm', 0.0, 'x') for i in range(6)]


def _steps():
  removals = (
    funnel.Removal(PROBLEMS[0], 'proof', 'seen'),
    funnel.Removal(PROBLEMS[1], 'proof'),
    funnel.Removal(PROBLEMS[2], 'true/false', '', PROBLEMS[5]),
  )
  return [
    funnel.Step('question type', 6, removals, 0.25),
    funnel.Step('trivial', 3, note='left out'),
    funnel.Step('balance', 3, (funnel.Removal(PROBLEMS[3], 'many'),)),
  ]


def test_records_count_and_show_examples_of_each_reason():
  first, second, _ = funnel.records_of(_steps(), 1)
  assert (first['before'], first['removed'], first['after']) == (6, 3, 3)
  assert first['reasons'] == {'proof': 2, 'true/false': 1}
  assert [e['id'] for e in first['examples']] == ['0', '2']
  assert first['examples'][0] == dict(
    id='0', prompt='p0', answer='a', reason='proof', detail='seen'
  )
  assert first['examples'][1]['other_id'] == '5'
  assert second['note'] == 'left out' and second['after'] == 3
  assert funnel.records_of(_steps(), 0)[0]['examples'] == []


def test_the_table_has_a_line_a_step_and_a_reason():
  lines = funnel.table(funnel.records_of(_steps(), 0)).split('\n')
  assert lines[1].split() == ['question', 'type', '6', '3', '3', '0.2']
  assert lines[2].split() == ['proof', '2']
  assert lines[4].split() == ['trivial', '3', 'left', 'out']


def test_tags_are_counted_before_and_after_the_balance():
  kept = PROBLEMS[4:]
  assert funnel.tag_counts(kept, _steps()) == {'m / x': [3, 2]}


def test_of_two_pictures_the_same_is_asked_twice():
  a, b = (
    (ImageRef('a', 8, 8, ''),),
    (ImageRef('b', 8, 8, ''),),
  )
  problems = [
    _problem('1', 'How many?', '2', images=a),
    _problem('2', 'How many?', '3', images=b),
    _problem('3', 'how many', '3', images=b),
  ]
  assert _ids(funnel.exact_duplicates(problems)) == ['3']
