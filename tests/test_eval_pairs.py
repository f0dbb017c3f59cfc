"""Won, lost, and whether that is chance."""

import json

import pytest

from k15 import compare


def record(problem_id, sample, reward, **changes):
  values = dict(
    set='s', problem_id=problem_id, sample=sample, reward=float(reward),
    prompt='q', answer='7', judge='j', response=f'{problem_id} {sample}',
    length=10, stop='eos', verdict='correct' if reward else 'wrong',
  )  # fmt: skip
  return values | changes


def side(rewards, **changes):
  """One record list per problem p0, p1, ... from its samples' rewards."""
  return {
    f'p{i}': [record(f'p{i}', k, r, **changes) for k, r in enumerate(samples)]
    for i, samples in enumerate(rewards)
  }


def test_a_file_or_a_workdir(tmp_path):
  folder = tmp_path / 'evaluation'
  folder.mkdir()
  lines = [record('p', 0, 1), record('p', 1, 0)]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (folder / 's.jsonl').write_text(text)
  (folder / 'journal-1.jsonl').write_text('{"set": "s"}\n')
  expected = dict(s=dict(p=lines))
  assert compare.read(str(tmp_path)) == expected
  assert compare.read(str(folder)) == expected
  assert compare.read(str(folder / 's.jsonl')) == expected
  old = tmp_path / 'evaluation_rl.jsonl'
  old.write_text(json.dumps({k: v for k, v in lines[0].items() if k != 'set'}))
  assert list(compare.read(str(old))) == ['held_out']
  with pytest.raises(ValueError, match='no evaluation that has finished'):
    compare.read(str(tmp_path / 'nothing'))
  (folder / 's.jsonl').write_text('{"set": "s"}\n')
  with pytest.raises(ValueError, match="a record of \\['set'\\]"):
    compare.read(str(folder))


def test_the_same_problems_only():
  a, b = side([[1], [0]]), side([[1]])
  assert [p.problem_id for p in compare.pairs_of(a, b, 's')] == ['p0']
  with pytest.raises(ValueError, match='s: no problem is on both sides'):
    compare.pairs_of(a, {}, 's')
  with pytest.raises(ValueError, match="p0 has answer '7' and '8'"):
    compare.pairs_of(a, side([[1]], answer='8'), 's')


def test_measures_by_hand():
  a = side([[0], [0], [0], [1], [1]], length=10)
  b = side([[1], [1], [1], [1], [0]], length=30)
  m = compare.measure(compare.pairs_of(a, b, 's'))
  assert (m['a'], m['b'], m['won'], m['lost']) == (0.4, 0.8, 3, 1)
  assert m['difference']['value'] == pytest.approx(0.4)
  assert m['difference']['low'] <= 0.4 <= m['difference']['high']
  # 2 (C(4,0) + C(4,1)) / 16.
  assert m['p_mcnemar'] == pytest.approx(0.625)
  # Of the 5^5 draws of five gains out of 1, 1, 1, 0, -1, 617 sum to 0 or less:
  # a share of 0.197 (3125 draws), and p is twice that.
  assert m['p_bootstrap'] == pytest.approx(2 * 617 / 3125, abs=0.03)
  assert (m['tokens_a'], m['tokens_b']) == (10, 30)


def test_kinds_with_several_samples():
  a, b = side([[0, 1], [1, 1], [0, 0]]), side([[1, 1], [1, 0], [1, 1]])
  kinds = compare.of_kinds(compare.pairs_of(a, b, 's'))
  assert [p.problem_id for p in kinds['won']] == ['p2', 'p0']
  assert [p.gain for p in kinds['won']] == [1.0, 0.5]
  assert [p.problem_id for p in kinds['lost']] == ['p1']
