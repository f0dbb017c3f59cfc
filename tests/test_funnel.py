"""Tests of k15/funnel.py."""

from k15 import curation
from k15 import funnel
from k15.data_types import Problem

PROBLEMS = [Problem(str(i), f'p{i}', 'a', 'm', 0.0, 'x') for i in range(6)]


def _steps():
  removals = (
    curation.Removal(PROBLEMS[0], 'proof', 'seen'),
    curation.Removal(PROBLEMS[1], 'proof'),
    curation.Removal(PROBLEMS[2], 'true/false', '', PROBLEMS[5]),
  )
  return [
    curation.Step('question type', 6, removals, 0.25),
    curation.Step('trivial', 3, note='left out'),
    curation.Step('balance', 3, (curation.Removal(PROBLEMS[3], 'many'),)),
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
