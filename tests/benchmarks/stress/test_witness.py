"""What a witness's lines say of kills."""

import json

from benchmarks.stress import witness
from k15 import streams
from k15.rollout import local

OWN = local.seed_of(streams.key(0, 'rollout', 'rl'))


def write(path, *lines):
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))


def test_tokens_that_come_again_are_lost_with_the_process_before(tmp_path):
  path = tmp_path / 'witness'
  write(
    path,
    [7, 'drawn', 0.1, [[OWN, 1, 0, 0, 4], [OWN, 1, 1, 0, 4]]],
    [7, 'kept', 0.25, []],
    [7, 'drawn', 0.1, [[OWN, 1, 0, 4, 4], [OWN, 1, 1, 4, 2]]],
    # Killed; a prefix is given, the last call comes again in part.
    [8, 'given', 0.1, [[OWN, 1, 0, 0, 4]]],
    [8, 'drawn', 0.1, [[OWN, 1, 0, 4, 4]]],
    # An evaluation's tokens are of another seed.
    [8, 'drawn', 0.1, [[OWN + 1, 1, 0, 0, 4]]],
    [9, 'drawn', 0.1, [[OWN, 2, 0, 0, 1]]],
  )
  found = witness.account(path)
  assert found.losses == (witness.Loss(4, 1, 14), witness.Loss(0, 0, 4))
  assert (found.given, found.drawn, found.kept_seconds) == (4, 19, 0.25)
  assert 'at each kill: 4/14 0/4' in witness.told('run', found)
  result = witness.result_of([found, found])
  assert result == dict(
    kills_while_drawing=4, tokens_drawn=38, tokens_given=8, tokens_lost=8,
    most_calls_lost=1,
  )  # fmt: skip


def test_no_file_is_of_a_run_that_drew_nothing(tmp_path):
  found = witness.account(tmp_path / 'none')
  assert found == witness.Account((), 0, 0, 0.0)
  assert 'none drawn' in witness.told('run', found)
  assert witness.result_of([])['most_calls_lost'] == 0
