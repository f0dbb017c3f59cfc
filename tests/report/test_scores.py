"""What groups came to, by hand."""

import itertools
import json
import math

import pytest
import run_dirs

from k15 import files
from k15.report import groups as groups_lib
from k15.report import runs as runs_lib
from k15.report import scores as scores_lib

T2, T3 = 4.302653, 3.182446  # Student's t at 95 %, 2 and 3 degrees


@pytest.fixture
def scores(tmp_path):
  """Scores of groups, each a list of what `run_dirs.write` takes."""

  count = itertools.count()

  def make(*groups):
    found = []
    for runs in groups:
      i = next(count)
      paths = [
        run_dirs.write(tmp_path / f'{i}-{j}', **options)
        for j, options in enumerate(runs)
      ]
      (group,) = groups_lib.group(runs_lib.read(paths))
      found.append(scores_lib.of_group(group))
    return found

  return make


def _seeds(rewards, **options):
  return [
    dict(seed=s, rewards=(r,), right=[1], **options)
    for s, r in enumerate(rewards)
  ]


def test_the_last_five_iterations_are_averaged(scores):
  # Of 0, 1, ..., 6: (2 + ... + 6) / 5.
  run = dict(rewards=range(7), lengths=range(10, 80, 10), right=[1, 0, 0, 0])
  (own,) = scores([run])
  assert own.stage == 'rl'
  assert own.by_seed == {
    'accuracy': {0: 0.25}, 'tokens': {0: 70.0}, 'reward': {0: 4.0},
    'length': {0: 50.0}, 'iterations': {0: 7.0}, 'minutes': {0: 2.0},
  }  # fmt: skip


def test_over_seeds(scores):
  (own,) = scores(_seeds([4, 5, 6]))
  found = scores_lib.estimate(own, 'reward')
  assert (found.value, found.over, found.count) == (5, 'seeds', 3)
  assert found.half_width == pytest.approx(T2 / math.sqrt(3), abs=1e-6)
  assert own.problems == {}


def test_runs_of_one_seed_count_once(scores):
  twice = _seeds([4, 6]) + [dict(seed=1, rewards=(8,), right=[1])]
  (own,) = scores(twice)
  assert own.by_seed['reward'] == {0: 4, 1: 7}


def test_one_seed_has_an_interval_over_its_problems_alone(scores):
  (own,) = scores([dict(right=[1, 1, 1, 0])])
  found = scores_lib.estimate(own, 'accuracy')
  assert (found.value, found.over, found.count) == (0.75, 'problems', 4)
  # Squares 3 / 16 + 9 / 16 over 3: s = 1 / 2, over sqrt(4).
  assert found.half_width == pytest.approx(T3 / 4, abs=1e-6)
  reward = scores_lib.estimate(own, 'reward')
  assert reward.value == 0.5 and math.isnan(reward.half_width)
  assert scores_lib.estimate(own, 'nothing') is None


def test_the_samples_of_a_problem_are_averaged_first(tmp_path):
  run_dirs.write(tmp_path / 'a')
  path = tmp_path / 'a' / 'evaluation_rl.jsonl'
  answers = [
    run_dirs.response(n, verdict, length)
    for n, verdict, length in ((0, 1, 10), (0, 0, 30), (1, 1, 5))
  ]
  files.append_jsonl(path, answers)
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert scores_lib.problem_means([run], 'rl') == {
    ('held_out', 'p0'): (0.5, 20, False), ('held_out', 'p1'): (1, 5, False),
  }  # fmt: skip
  # No summary yet: the mean of its responses.
  found = scores_lib.run_scores(run, 'rl')
  assert found['accuracy'] == pytest.approx(2 / 3) and found['tokens'] == 15


def test_pictures_and_texts_have_numbers_of_their_own(tmp_path):
  run_dirs.write(tmp_path / 'a', right=[1, 1, 0, 1])
  path = tmp_path / 'a' / 'evaluation_rl.jsonl'
  records = files.read_jsonl(path)
  for record in records[1:]:
    record['images'] = ['d']
  files.replace_jsonl(path, records)
  alike = dict(agreement=dict(value=0.5), agreement_given_text=None)
  summary = files.read_json(tmp_path / 'a' / 'summary.json')
  summary['agreement_of_pairs_after_rl'] = dict(all=alike)
  (tmp_path / 'a' / 'summary.json').write_text(json.dumps(summary))
  (group,) = groups_lib.group(runs_lib.read([tmp_path / 'a']))
  own = scores_lib.of_group(group)
  assert own.by_seed['agreement'] == {0: 0.5}
  assert 'agreement_given_text' not in own.by_seed
  found = {m: scores_lib.estimate(own, m) for m in ('texts', 'pictures')}
  # Of one text there is no interval; of the pictures 1, 0, 1 there is.
  assert found['texts'].value == 1 and math.isnan(found['texts'].half_width)
  assert found['pictures'].value == pytest.approx(2 / 3)
  assert (found['pictures'].over, found['pictures'].count) == ('problems', 3)


def test_differences_are_paired_by_seed(scores):
  # b - a = 1, 2, 3, whatever the level of the seed.
  first, other = scores(_seeds([0, 50, 90]), _seeds([1, 52, 93]))
  found = scores_lib.difference(first, other, 'reward')
  assert (found.value, found.over, found.count) == (2, 'seeds', 3)
  assert found.is_paired
  assert found.half_width == pytest.approx(T2 / math.sqrt(3), abs=1e-6)


def test_other_seeds_are_not_paired(scores):
  others = [dict(seed=s, rewards=(s,), right=[1]) for s in (7, 8, 9)]
  first, other = scores(_seeds([4, 5, 6]), others)
  found = scores_lib.difference(first, other, 'reward')
  assert (found.value, found.over, found.is_paired) == (3, 'seeds', False)
  # Welch, 4 degrees of freedom.
  assert found.half_width == pytest.approx(2.776445 * math.sqrt(2 / 3))


def test_single_seeds_are_paired_by_problem(scores):
  first, other = scores(
    [dict(right=[0, 0, 1, 1])], [dict(seed=1, right=[1, 0, 1, 1])]
  )
  found = scores_lib.difference(first, other, 'accuracy')
  # 1, 0, 0, 0: squares 9 / 16 + 3 / 16 over 3: s = 1 / 2, over sqrt(4).
  assert (found.value, found.over, found.count) == (0.25, 'problems', 4)
  assert found.is_paired
  assert found.half_width == pytest.approx(T3 / 4, abs=1e-6)
  reward = scores_lib.difference(first, other, 'reward')
  assert reward.value == 0 and math.isnan(reward.half_width)


def test_other_problems_are_not_paired(scores):
  first, other = scores([dict(right=[0, 1])], [dict(right=[1, 0, 1])])
  found = scores_lib.difference(first, other, 'accuracy')
  assert (found.over, found.count, found.is_paired) == ('problems', 2, False)


def test_a_seed_against_several_has_no_interval(scores):
  first, other = scores(_seeds([4, 6]), _seeds([8]))
  found = scores_lib.difference(first, other, 'reward')
  assert found.value == 3 and math.isnan(found.half_width)
  assert scores_lib.difference(first, other, 'nothing') is None


def test_runs_on_their_way_wait_for_the_finished(scores):
  late = dict(seed=2, rewards=(0,), iterations=9)
  (own,) = scores([*_seeds([4, 6], iterations=9), late])
  assert own.by_seed['reward'] == {0: 4, 1: 6}
  (own,) = scores([dict(rewards=(1, 3), lengths=(5, 5), iterations=9)])
  assert own.by_seed['reward'] == {0: 2}
  assert own.by_seed['minutes'] == {0: 1}  # Between its two records.
  assert own.stage is None and 'accuracy' not in own.by_seed
