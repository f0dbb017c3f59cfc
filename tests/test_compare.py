"""The command, its text and its page."""

import json

import pytest
import test_eval_pairs

from k15 import compare


def _write(path, rewards, **changes):
  lines = [
    r for p in test_eval_pairs.side(rewards, **changes).values() for r in p
  ]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  return str(path)


def test_text_and_page(tmp_path, capsys):
  a = _write(tmp_path / 'a.jsonl', [[0, 0], [1, 1], [1, 0], [0, 0]])
  b = _write(
    tmp_path / 'b.jsonl', [[0, 1], [0, 0], [0, 1]],
    prompt='<b>q</b>',
  )  # fmt: skip
  page = tmp_path / 'compare.html'
  compare.main([a, b, '--html', str(page)])
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
  compare.main([a, b, '--html', ''])
  text = capsys.readouterr().out
  assert '\x1b' not in text and '\\x1b[31mred' in text and '…' in text
  assert max(map(len, text.splitlines())) < 140
  assert not (tmp_path / 'compare.html').exists()


def test_what_cannot_be_compared_is_one_sentence(tmp_path):
  a = _write(tmp_path / 'a.jsonl', [[0]])
  with pytest.raises(SystemExit, match='^k15: .*no evaluation'):
    compare.main([a, str(tmp_path / 'none')])
  b = _write(tmp_path / 'b.jsonl', [[0]], set='t')
  with pytest.raises(SystemExit, match='no set is on both sides'):
    compare.main([a, b])
