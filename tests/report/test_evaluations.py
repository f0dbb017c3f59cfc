"""Won, lost, and whether that is chance.

The command, its text and its page.
"""

import json

import pytest

from k15.report import evaluations


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
  assert evaluations.read(str(tmp_path)) == expected
  assert evaluations.read(str(folder)) == expected
  assert evaluations.read(str(folder / 's.jsonl')) == expected
  old = tmp_path / 'evaluation_rl.jsonl'
  old.write_text(json.dumps({k: v for k, v in lines[0].items() if k != 'set'}))
  assert list(evaluations.read(str(old))) == ['held_out']
  with pytest.raises(ValueError, match='no evaluation that has finished'):
    evaluations.read(str(tmp_path / 'nothing'))
  (folder / 's.jsonl').write_text('{"set": "s"}\n')
  with pytest.raises(ValueError, match="a record of \\['set'\\]"):
    evaluations.read(str(folder))


def test_the_same_problems_only():
  a, b = side([[1], [0]]), side([[1]])
  assert [p.problem_id for p in evaluations.pairs_of(a, b, 's')] == ['p0']
  with pytest.raises(ValueError, match='s: no problem is on both sides'):
    evaluations.pairs_of(a, {}, 's')
  with pytest.raises(ValueError, match="p0 has answer '7' and '8'"):
    evaluations.pairs_of(a, side([[1]], answer='8'), 's')


def test_measures_by_hand():
  a = side([[0], [0], [0], [1], [1]], length=10)
  b = side([[1], [1], [1], [1], [0]], length=30)
  m = evaluations.measure(evaluations.pairs_of(a, b, 's'))
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
  kinds = evaluations.of_kinds(evaluations.pairs_of(a, b, 's'))
  assert [p.problem_id for p in kinds['won']] == ['p2', 'p0']
  assert [p.gain for p in kinds['won']] == [1.0, 0.5]
  assert [p.problem_id for p in kinds['lost']] == ['p1']


def _write(path, rewards, **changes):
  lines = [r for p in side(rewards, **changes).values() for r in p]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  return str(path)


def test_text_and_page(tmp_path, capsys):
  a = _write(tmp_path / 'a.jsonl', [[0, 0], [1, 1], [1, 0], [0, 0]])
  b = _write(
    tmp_path / 'b.jsonl', [[0, 1], [0, 0], [0, 1]],
    prompt='<b>q</b>',
  )  # fmt: skip
  page = tmp_path / 'compare.html'
  evaluations.main([a, b, '--html', str(page)])
  text = capsys.readouterr().out
  assert 's: 1 won: p0' in text and 's: 1 lost: p1' in text
  assert '--- p0: 0/2 -> 1/2' in text
  # The telling samples: the first wrong one of A, the first right one of B.
  (line,) = (line for line in text.splitlines() if 'p0 0' in line)
  left, right = line.split('|')
  assert (left.strip(), right.strip()) == ('p0 0', 'p0 1')
  row = next(x for x in text.splitlines() if x.startswith('s  ')).split()
  assert row[1:4] == ['3', '0.500', '0.333']
  assert 's: 1 problems are on one side only' in text
  html = page.read_text()
  assert '<b>q</b>' not in html and 'Won' in html and 'Lost' in html
  assert 'http' not in html.replace('http-equiv', '')


def test_control_characters_do_not_reach_a_terminal(tmp_path, capsys):
  a = _write(tmp_path / 'a.jsonl', [[0]], response='\x1b[31mred ' * 200)
  b = _write(tmp_path / 'b.jsonl', [[1]], response='x\ty')
  evaluations.main([a, b, '--html', ''])
  text = capsys.readouterr().out
  assert '\x1b' not in text and '\\x1b[31mred' in text and '…' in text
  assert max(map(len, text.splitlines())) < 140
  assert not (tmp_path / 'compare.html').exists()


def test_what_cannot_be_compared_is_one_sentence(tmp_path):
  a = _write(tmp_path / 'a.jsonl', [[0]])
  with pytest.raises(SystemExit, match='^k15: .*no evaluation'):
    evaluations.main([a, str(tmp_path / 'none')])
  b = _write(tmp_path / 'b.jsonl', [[0]], set='t')
  with pytest.raises(SystemExit, match='no set is on both sides'):
    evaluations.main([a, b])
