"""The page that compares runs."""

import pytest
import run_dirs

from k15 import files
from k15.report import comparison_page
from tests.report import test_run_page


def _read(paths, out):
  assert comparison_page.write_comparison(paths, out) == str(out)
  text = out.read_text()
  return text, test_run_page.Tags(text)


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
  """Two arms of two seeds, whose models and configs are hostile."""
  root = tmp_path_factory.mktemp('<b>runs')
  hostile = test_run_page.HOSTILE
  paths = [
    run_dirs.write(
      root / f'{tau}-{seed}', seed, (0.5, tau), (30, 40), [1, seed, 0],
      config={'loss': {'tau': tau}, 'suffix': hostile},
    )
    for tau in (0.1, 0.4)
    for seed in (0, 1)
  ]  # fmt: skip
  for path, verdicts in zip(paths, ('010', '110', '001', '110'), strict=True):
    answers = [
      run_dirs.response(i, v == '1', text=hostile)
      for i, v in enumerate(verdicts)
    ]
    files.replace_jsonl(path / 'evaluation_rl.jsonl', answers)
  return _read(paths, root / 'page.html')


def test_the_page_has_every_part(compared):
  _, tags = compared
  for title in (
    *('Comparison of runs', 'At the end', 'Config differences', 'All 4 runs'),
    *('Accuracy against tokens', 'Held-out accuracy', 'Reward'),
    *('Reinforcement learning', 'Responses side by side', 'loss.tau'),
    '4 runs · 2 groups · runs of a group differ only in the seed',
  ):
    assert title in tags.texts, title
  # Two at the end; reward, length, seconds.
  assert tags.names.count('img') == 5


def test_the_same_problems_stand_side_by_side(compared):
  text, tags = compared
  # Seed 0 of both: 010 and 001.
  assert 'tau=0.1 · seed 0 · after rl' in tags.texts
  assert 'tau=0.4 · seed 0 · after rl' in tags.texts
  assert not any('seed 1 · after' in found for found in tags.texts)
  disagree, agree = (text.index(t) for t in ('They disagree', 'All are wrong'))
  assert '2 of 3 problems' in text[disagree:agree]
  assert 'p1' in text[disagree:agree] and 'p0' in text[agree:]
  assert 'All are right' not in text


def test_hostile_text_stays_text(compared):
  text, tags = compared
  assert 'script' not in tags.names
  assert not any(name.startswith('on') for _, name, _ in tags.attributes)
  assert '</pre><script>' not in text and '\x00' not in text
  assert 'alert(1)' in ''.join(tags.texts)
  links = [v for _, n, v in tags.attributes if n in ('src', 'href', 'srcset')]
  assert links and all(v.startswith('data:image/png;base64,') for v in links)
  assert 'url(' not in text and "default-src 'none'" in text


def test_the_runs_of_a_single_group_are_compared(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f's{seed}', seed, right=[1, seed])
    for seed in (0, 1)
  ]
  text, tags = _read(paths, tmp_path / 'page.html')
  assert '2 runs · 1 group · runs of a group differ only in the seed' in text
  assert 's0 · seed 0 · after rl' in tags.texts
  assert '<td>seed</td><td>0</td><td class="other">1</td>' in text
  assert 'All 2 runs' not in text and '<h2>Runs</h2>' in text


def test_runs_in_every_state(tmp_path):
  full = run_dirs.write(tmp_path / 'full', right=[1, 0])
  begun = run_dirs.write(
    tmp_path / 'begun', config={'a': 1}, rewards=(), lengths=()
  )
  sft = run_dirs.write(tmp_path / 'sft', stage='sft', right=[1, 1])
  asked = run_dirs.write(tmp_path / 'asked', stage='evaluate', right=[1])
  (asked / 'evaluation').mkdir()
  answer = run_dirs.response(0, True) | {'set': 'math'}
  files.append_jsonl(asked / 'evaluation' / 'math.jsonl', [answer])
  torn = run_dirs.write(tmp_path / 'torn', right=[0])
  for name in ('config.json', 'summary.json', 'evaluation_rl.jsonl'):
    (torn / name).write_text('{"seed": 0, "st')
  paths = [full, begun, sft, asked, torn]
  text, tags = _read(paths, tmp_path / 'page.html')
  assert '5 runs · 5 groups · 2 not finished' in text
  assert 'They disagree' in tags.texts  # p1 after RL and after SFT.
  assert 'was not asked this' not in text
  text, _ = _read([begun, torn], tmp_path / 'page.html')
  assert 'Responses side by side' not in text


def test_without_a_problem_in_common_it_says_so(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f'{i}', config={'a': i}, right=[1])
    for i in (0, 1)
  ]
  answers = [run_dirs.response(7, True)]
  files.replace_jsonl(paths[1] / 'evaluation_rl.jsonl', answers)
  _, tags = _read(paths, tmp_path / 'page.html')
  assert 'No problem was asked of two of them.' in tags.texts


def test_who_was_not_asked_has_an_empty_column(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f'{i}', config={'a': i}, right=[1] * (3 - i))
    for i in range(3)
  ]
  text, _ = _read(paths, tmp_path / 'page.html')
  # p0 was asked of three, p1 of two; p2 of one is left out.
  assert '2 of 2 problems' in text
  assert text.count('was not asked this') == 1


def test_eight_columns_of_responses_at_most(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f'{i}', config={'a': i}, right=[1])
    for i in range(10)
  ]
  text, tags = _read(paths, tmp_path / 'page.html')
  assert text.count('class="side"') == 8
  assert any(t.endswith('The first 8 of 10 groups.') for t in tags.texts)
  assert '2 more groups' in tags.texts
