"""Tests of k15/report/run_page.py."""

import html.parser
import json
import math
import random

import numpy as np
import pytest

from k15 import files
from k15.report import run_page
from k15.training import logs

HOSTILE = '</pre><script>alert(1)</script><img src=x onerror=alert(2)>"\'&\x00'
KINDS = 'add', 'subtract', 'multiply', 'divide', 'signs', 'root'


def write_run(workdir, iterations=60, stages=('sft', 'rl'), text='', seed=0):
  """Writes what a run leaves: plausible numbers, no model."""
  rng = random.Random(seed)
  logger = logs.Logger(workdir)
  for step in range(0, 1500, 25):
    loss = 0.35 + 2.4 * math.exp(-step / 180) + rng.gauss(0, 0.02)
    accuracy = 0.88 - 0.6 * math.exp(-step / 200) + rng.gauss(0, 0.006)
    values = {'sft/loss': loss, 'sft/token_accuracy': accuracy}
    logger.scalars('sft', step, values)
  _write_evaluation(workdir / 'evaluation_sft.jsonl', 0.38, 62, rng, text)
  config = {'seed': seed, 'stages': stages, 'rl': {'iterations': iterations}}
  config['loss'] = {'method': 'mirror_descent', 'tau': 0.1}
  (workdir / 'config.json').write_text(json.dumps(config))
  if 'rl' in stages:
    for i in range(iterations):
      logger.scalars('rl', i, _rl_values(i / max(iterations, 60), rng))
      records = [_response(j, 0.4 + i / 200, 60 + i, rng, text) for j in (1, 2)]
      for record in records:
        n = record['length']
        cut = {'segments': [n - 9, 9], 'versions': [i - 1, i]}
        record |= cut if i else {'segments': [n], 'versions': [i]}
      logger.trajectories('rl', i, records)
    _write_evaluation(workdir / 'evaluation_rl.jsonl', 0.74, 88, rng, text)
    summary = {'seconds': 23.4 * 60, 'seed': seed}
    summary |= {'accuracy_after_sft': 0.4, 'accuracy_after_rl': 0.9}
    (workdir / 'summary.json').write_text(json.dumps(summary))
  logger.close()


def _rl_values(t, rng):
  reward = 0.4 + 0.35 * (1 - math.exp(-3 * t)) + rng.gauss(0, 0.025)
  length = 62 + 26 * t + rng.gauss(0, 2)
  loops, longest = 0.05 * math.exp(-4 * t), 0.02 + 0.01 * rng.random()
  budget = 0.1 + 0.1 * t
  values = {
    'rl/reward': reward,
    'rl/reward_easy': min(reward + 0.2, 1),
    'rl/reward_medium': reward + rng.gauss(0, 0.04),
    'rl/reward_hard': max(reward - 0.25 + rng.gauss(0, 0.04), 0),
    'rl/length_mean': length,
    'rl/length_p95': 2.1 * length + rng.gauss(0, 6),
    'rl/length_correct': length * 0.85,
    'rl/length_wrong': length * 1.3 + rng.gauss(0, 4),
    'rl/entropy': 0.35 * math.exp(-t) + rng.gauss(0, 0.01),
    'rl/log_ratio_mean': -0.02 + rng.gauss(0, 0.01),
    'rl/log_ratio_rms': 0.3 + 0.1 * rng.random(),
    'rl/log_ratio_max': 2 + 2 * rng.random(),
    'rl/stop_eos': 1 - loops - longest - budget,
    'rl/stop_budget': budget,
    'rl/stop_max_length': longest,
    'rl/stop_repetition': loops,
    'rl/zero_variance_groups': 0.3 + 0.2 * t + rng.gauss(0, 0.03),
    'time/rollout_seconds': 6 + 3 * t + rng.random(),
    'time/reward_seconds': 0.2,
    'time/ref_logprobs_seconds': 1.1,
    'time/update_seconds': 4.2 + 0.3 * rng.random(),
    'time/checkpoint_seconds': 0.4,
  }
  if rng.random() < 0.15:
    values['evaluation/accuracy'] = reward - 0.03
  for n, kind in enumerate(KINDS):
    noise = rng.gauss(0, 0.04)
    values[f'rl/reward_domain_{kind}'] = min(reward + 0.1 * (2 - n) + noise, 1)
  return values


def _response(number, accuracy, length, rng, text):
  difficulty = number % 17 / 17
  right = rng.random() < accuracy + 0.3 * (0.5 - difficulty)
  a, b = 100 + number, 17 + number % 50
  tried = [f'try {k}: {a} * {b} = {a * b - k}, check: no' for k in (3, 2, 1)]
  answer = a * b if right else a * b + 10
  worked = '\n'.join(tried[: rng.randint(0, 3)] + [f'so {answer}'])
  return {
    'problem_id': f'multiply-{number:04d}',
    'prompt': f'What is {a} * {b}?{text}',
    'answer': str(a * b),
    'response': f'{worked}{text}\n#### {answer}',
    'reward': float(right),
    'length': max(9, int(rng.gauss(length, 20))),
    'stop': 'eos',
    'domain': KINDS[number % len(KINDS)],
    'difficulty': difficulty,
  }


def _write_evaluation(path, accuracy, length, rng, text):
  records = [_response(i, accuracy, length, rng, text) for i in range(320)]
  files.append_jsonl(path, records)


class Tags(html.parser.HTMLParser):
  """Collects elements, attributes and text of a page."""

  def __init__(self, page):
    super().__init__()
    self.names, self.attributes, self.texts = [], [], []
    self.feed(page)

  def handle_starttag(self, tag, attrs):
    self.names.append(tag)
    self.attributes += [(tag, name, value) for name, value in attrs]

  def handle_data(self, data):
    self.texts.append(data.strip())


def _read(workdir):
  path = run_page.write_report(workdir)
  assert path == str(workdir / 'report.html')
  text = (workdir / 'report.html').read_text()
  return text, Tags(text)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished run whose model writes hostile text, and its page."""
  workdir = tmp_path_factory.mktemp('<b>run')
  write_run(workdir, iterations=12, text=HOSTILE)
  return workdir, *_read(workdir)


def test_the_page_has_every_part(finished):
  _, text, tags = finished
  titles = ' | '.join(tags.texts)
  for title in (
    *('Loss', 'Token accuracy', 'Reward', 'Response length', 'Entropy'),
    *('Reward by difficulty', 'Reward by domain', 'Groups without signal'),
    *('Accuracy against length', 'Distance from the reference', 'Time'),
    *('Why responses stop', 'Accuracy by domain', 'Accuracy by difficulty'),
    *('Wrong, then right', 'Wrong both times', 'Configuration'),
    *('Early: iterations 0 to 1', 'Late: iterations 10 to 11'),
    'Finished · 12 of 12 RL iterations',
  ):
    assert title in titles, title
  assert tags.names.count('img') == 18
  assert len(text) < 4e6


def test_the_head_line_comes_from_the_evaluations(finished):
  workdir, _, tags = finished
  accuracies, lengths = [], []
  for stage in ('sft', 'rl'):
    found = files.read_jsonl(workdir / f'evaluation_{stage}.jsonl')
    accuracies.append(100 * np.mean([r['reward'] for r in found]))
    lengths.append(np.mean([r['length'] for r in found]))
  assert f'{accuracies[0]:.1f} → {accuracies[1]:.1f} %' in tags.texts
  assert f'{lengths[0]:.1f} → {lengths[1]:.1f}' in tags.texts
  assert '23.4' in tags.texts and '320' in tags.texts


def test_hostile_text_stays_text(finished):
  _, text, tags = finished
  assert 'script' not in tags.names
  assert not any(name.startswith('on') for _, name, _ in tags.attributes)
  assert '</pre><script>' not in text and '\x00' not in text
  assert 'alert(1)' in ''.join(tags.texts)  # Shown, not swallowed.
  assert tags.names.count('pre') == text.count('</pre>')


def test_the_page_needs_nothing_from_outside(finished):
  _, text, tags = finished
  links = [v for _, n, v in tags.attributes if n in ('src', 'href', 'srcset')]
  assert links and all(v.startswith('data:image/png;base64,') for v in links)
  assert 'url(' not in text and '@import' not in text
  assert "default-src 'none'" in text


def test_the_key_picture_is_a_png(finished):
  content = (finished[0] / 'learning_curve.png').read_bytes()
  assert content.startswith(b'\x89PNG') and len(content) < 300_000


def test_an_empty_directory_gives_a_page(tmp_path):
  _, tags = _read(tmp_path)
  assert 'Not finished' in tags.texts
  assert 'img' not in tags.names
  assert [path.name for path in tmp_path.iterdir()] == ['report.html']


def test_a_run_before_rl_shows_its_warm_up(tmp_path):
  write_run(tmp_path, stages=('sft',))
  _, tags = _read(tmp_path)
  assert 'Supervised warm-up' in tags.texts
  assert 'Reinforcement learning' not in tags.texts
  assert any(text.endswith(' → … %') for text in tags.texts)
  assert 'after SFT' in tags.texts and 'after RL' not in tags.texts
  assert not (tmp_path / 'learning_curve.png').exists()


def test_one_iteration_with_few_keys_and_torn_files(tmp_path):
  logger = logs.Logger(tmp_path)
  values = {'rl/reward': 0.25, 'rl/length_mean': 80, 'rl/entropy': math.nan}
  logger.scalars('rl', 0, values | {'time/rollout_seconds': 3.0})
  record = {'response': 'one', 'reward': 1.0, 'length': 3, 'stop': 'eos'}
  logger.trajectories('rl', 0, [record, record | {'reward': None}])
  logger.close()
  for name in ('metrics', 'trajectories', 'evaluation_sft'):
    with open(tmp_path / f'{name}.jsonl', 'a') as file:
      file.write('{"stage": "rl", "st')
  (tmp_path / 'config.json').write_text('{"seed": 0')
  _, tags = _read(tmp_path)
  # Reward, length, their scatter, and time; an entropy of NaN has no figure.
  assert tags.names.count('img') == 4
  assert 'Early: iterations 0 to 0' in tags.texts
  assert not any('Late' in text for text in tags.texts)
  assert 'Right' in tags.texts and 'Wrong' not in tags.texts
  assert (tmp_path / 'learning_curve.png').exists()


def test_the_first_of_several_samples_is_compared(tmp_path):
  record = {'problem_id': 'p', 'prompt': '?', 'length': 1, 'stop': 'eos'}
  for stage, rewards in (('sft', (0.0, 1.0)), ('rl', (1.0, 0.0))):
    path = tmp_path / f'evaluation_{stage}.jsonl'
    files.append_jsonl(path, [record | {'reward': r} for r in rewards])
  _, tags = _read(tmp_path)
  assert 'Wrong, then right' in tags.texts
  assert '1 of 1 problems' in tags.texts
  assert '50.0 → 50.0 %' in tags.texts
  assert '2 responses each time' in tags.texts


def test_the_slots_of_every_worker_are_shown(tmp_path):
  spans = [
    dict(slot=0, kind='decode', start=0.0, end=1.0, group_id=1),
    dict(slot=1, kind='decode', start=0.0, end=2.0, group_id=2),
  ]
  facts = dict(sample_index=0, version=1, tokens=4, stop='ended')
  for name in ('timeline', 'timeline-8001'):
    path = tmp_path / f'{name}.jsonl'
    files.append_jsonl(path, [span | facts for span in spans])
  _, tags = _read(tmp_path)
  assert tags.names.count('img') == 2
  assert 'Slots over time' in tags.texts
  assert 'Slots over time: 8001' in tags.texts


def test_the_command_writes_the_page_of_one_run(tmp_path, capsys):
  write_run(tmp_path / 'a', stages=('sft',))
  run_page.main([str(tmp_path / 'a')])
  assert capsys.readouterr().out == f'{tmp_path}/a/report.html\n'
  with pytest.raises(SystemExit, match='2'):
    run_page.main([str(tmp_path / 'a'), '--out=x.html'])
  assert '--out is for several runs' in capsys.readouterr().err


def test_the_command_compares_several(tmp_path, capsys, monkeypatch):
  paths = [str(tmp_path / name) for name in 'ab']
  for seed, path in enumerate(paths):
    write_run(tmp_path / path, iterations=2, seed=seed)
  run_page.main([*paths, f'--out={tmp_path}/c.html'])
  assert capsys.readouterr().out == f'{tmp_path}/c.html\n'
  monkeypatch.chdir(tmp_path)
  run_page.main(paths)
  assert capsys.readouterr().out == 'comparison.html\n'
  text = (tmp_path / 'comparison.html').read_text()
  assert text == (tmp_path / 'c.html').read_text()
  assert '2 runs · 1 group' in text
  assert not (tmp_path / 'a' / 'report.html').exists()


@pytest.mark.parametrize('count', [1, 2])
def test_a_path_that_is_no_run_is_one_sentence(tmp_path, capsys, count):
  with pytest.raises(SystemExit) as stopped:
    run_page.main([str(tmp_path / 'none')] * count)
  assert stopped.value.code == 2
  error = capsys.readouterr().err
  assert (
    error == f'k15: {tmp_path}/none is no run: there is no such directory\n'
  )


def test_parts_and_sets_have_tiles(tmp_path):
  write_run(tmp_path, iterations=4)
  path = tmp_path / 'summary.json'
  summary = json.loads(path.read_text())
  for stage, accuracy in (('sft', 0.25), ('rl', 0.5)):
    part = dict(new_templates=dict(problems=96, accuracy=accuracy))
    summary[f'parts_after_{stage}'] = part
  before, after = (
    dict(own={'problems': 6, 'pass@1': dict(value=value)})
    for value in (0.03, 0.06)
  )
  summary |= dict(evaluation_before=before)
  path.write_text(json.dumps(summary))
  run_page.write_report(tmp_path)
  page = (tmp_path / 'report.html').read_text()
  assert 'Accuracy, new templates' in page
  assert '25.0 → 50.0 %' in page and '96 problems' in page
  assert 'own, before → after' in page and '3.0 %' in page
  path.write_text(json.dumps(summary | dict(evaluation=after)))
  run_page.write_report(tmp_path)
  page = (tmp_path / 'report.html').read_text()
  assert '3.0 → 6.0 %' in page
