"""A problem as JSON: with pictures, and as it was before there were any."""

import json

from k15.data import problem_records
from k15.data_types import ImageRef, Problem

PLAIN = Problem('a', '1 + 1', '2', 'add', 0.5, 'sums')
SEEN = Problem(
  'b', 'how many <image>', '2', images=(ImageRef('d1', 4, 6, 'here'),)
)


def test_a_problem_comes_back_from_json():
  for problem in (PLAIN, SEEN):
    record = json.loads(json.dumps(problem_records.to_record(problem)))
    assert problem_records.from_record(record) == problem
  assert SEEN.digests == ('d1',) and PLAIN.digests == ()


def test_a_problem_of_text_is_written_as_it_always_was():
  assert json.dumps(problem_records.to_record(PLAIN)) == (
    '{"id": "a", "prompt": "1 + 1", "answer": "2", "domain": "add",'
    ' "difficulty": 0.5, "discipline": "sums"}'
  )
