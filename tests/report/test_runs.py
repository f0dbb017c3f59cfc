"""What is read of a run, and what is no run."""

import json

import pytest
import run_dirs

from k15 import files
from k15.report import runs as runs_lib


def test_runs_are_read_once_each_under_short_names(tmp_path):
  a = run_dirs.write(tmp_path / 'x' / 'a', seed=3)
  b = run_dirs.write(tmp_path / 'x' / 'b', right=[1, 0])
  runs = runs_lib.read([a, f'{b}/', tmp_path / 'x' / '..' / 'x' / 'a'])
  assert [run.name for run in runs] == ['a', 'b']
  assert [run.seed for run in runs] == [3, 0]
  assert runs[1].summary['accuracy_after_rl'] == 0.5
  assert runs[0].summary == {}


def test_what_is_no_run_is_named(tmp_path):
  with pytest.raises(ValueError, match='/none is no run: there is no such'):
    runs_lib.check(tmp_path / 'none')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='it has none of summary.json, met'):
    runs_lib.read([tmp_path / 'empty'])
  model = tmp_path / 'model'
  model.mkdir()
  (model / 'config.json').write_text('{"model_type": "qwen3"}')
  with pytest.raises(ValueError, match='no config.json with stages'):
    runs_lib.check(model)
  (model / 'config.json').write_text('{"stages": ["rl"]}')
  runs_lib.check(model)  # A run that has just begun.


def test_a_seed_is_also_in_the_summary(tmp_path):
  run_dirs.write(tmp_path / 'a', right=[1])
  (tmp_path / 'a' / 'config.json').unlink()
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert run.config == {} and run.seed is None
  (tmp_path / 'a' / 'summary.json').write_text('{"seed": 4}')
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert run.seed == 4


def test_stages_are_those_with_a_measured_end_in_the_order_of_the_run(tmp_path):
  run_dirs.write(tmp_path / 'a', right=[1, 0])
  config = {'stages': ['sft', 'rl', 'short_rl'], 'rl': {'iterations': 1}}
  (tmp_path / 'a' / 'config.json').write_text(json.dumps(config))
  answers = [run_dirs.response(0, True)]
  files.append_jsonl(tmp_path / 'a' / 'evaluation_sft.jsonl', answers)
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert runs_lib.stages(run) == ['sft', 'rl']
  assert len(runs_lib.responses(run, 'rl')) == 2
  assert runs_lib.responses(run, None) == []
  assert not runs_lib.is_finished(run.config, run.summary)
  assert runs_lib.progress(run) == (1, 1)


def test_the_sets_of_an_evaluation_are_read_without_its_journals(tmp_path):
  run_dirs.write(tmp_path / 'a', right=[1], stage='evaluate')
  folder = tmp_path / 'a' / 'evaluation'
  folder.mkdir()
  for name in ('gsm8k', 'math', 'journal-0'):
    answer = run_dirs.response(0, True) | {'set': name}
    files.append_jsonl(folder / f'{name}.jsonl', [answer])
  (run,) = runs_lib.read([tmp_path / 'a'])
  found = runs_lib.responses(run, 'evaluate')
  assert [record['set'] for record in found] == ['gsm8k', 'math']
  assert runs_lib.is_finished(run.config, run.summary)


def test_iterations_are_of_the_last_stage_of_rl(tmp_path):
  run_dirs.write(tmp_path / 'a', rewards=(0, 1), lengths=(9, 9), iterations=7)
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert runs_lib.iterations(run.records) == 2
  assert runs_lib.progress(run) == (2, 7)
  record = {'stage': 'short_rl', 'step': 0, 'rl/reward': 1.0}
  files.append_jsonl(tmp_path / 'a' / 'metrics.jsonl', [record])
  (run,) = runs_lib.read([tmp_path / 'a'])
  assert runs_lib.progress(run) == (1, None)
