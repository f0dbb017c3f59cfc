"""An evaluation that is cut off ends as one that is not."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.stages import evaluate
from k15.stages import held_out

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHORT = dict(
  stages=('rl', 'evaluate'),
  rl__iterations=0,
  rollout__max_prompt_length=24,
  evaluation__samples=2,
  evaluation__pass_at=(1, 2),
  evaluation__resamples=100,
  evaluation__top_p=0.9,
)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A run that is evaluated on sets of 30 and 3 problems."""
  folder = tmp_path_factory.mktemp('evaluate')
  sums = small_run.write_problems(folder / 'sums.jsonl')
  few = small_run.write_problems(folder / 'few.jsonl', 3)
  sets = (str(sums), f'few:{few}')
  train = small_run.write_problems(folder / 'train.jsonl', 60)
  changes = SHORT | dict(
    task__train_path=str(train),
    evaluation__sets=sets,
    evaluation__templates=('few:{prompt}',),
  )
  context = small_run.make_context(folder, **changes)
  return folder, changes, recipe.run(context)


def _files(workdir):
  names = ('sums.jsonl', 'few.jsonl', 'results.json')
  return {n: (workdir / 'evaluation' / n).read_text() for n in names}


def _journal(workdir):
  (path,) = (workdir / 'evaluation').glob('journal-*.jsonl')
  return path


def test_what_it_leaves(done):
  folder, _, summary = done
  results = json.loads((folder / 'run/evaluation/results.json').read_text())
  assert results['settings']['top_p'] == 0.9
  sums = results['sets']['sums']
  assert summary['evaluation'] == results['sets']
  assert (sums['problems'], sums['samples']) == (30, 2)
  assert set(sums) > {'pass@1', 'pass@2', 'majority@2', 'tokens', 'truncated'}
  records = files.read_jsonl(folder / 'run/evaluation/sums.jsonl')
  assert [r['sample'] for r in records] == [0, 1] * 30
  assert records[0]['prompt'] == '0+1\n'
  few = files.read_jsonl(folder / 'run/evaluation/few.jsonl')
  assert few[0]['prompt'] == '0+1'
  accuracy = summary['accuracy_after_evaluate']
  right = sum(r['reward'] for r in records + few)
  assert accuracy == pytest.approx(right / 66)
  assert all(r['reward'] == 0 for r in records if r['stop'] != 'eos')


def test_cut_off_it_ends_the_same(done, tmp_path):
  folder, changes, _ = done
  workdir = folder / 'again'
  shutil.copytree(folder / 'run/models', workdir / 'models')
  whole = _journal(folder / 'run').read_bytes()
  lines = whole.splitlines(True)
  # As a kill -9 leaves it: responses without verdicts, and a torn line.
  kept = b''.join(line for line in lines if b'"text"' in line)[:6000]
  assert not kept.endswith(b'\n')
  path = workdir / 'evaluation' / _journal(folder / 'run').name
  path.parent.mkdir()
  path.write_bytes(kept)
  context = small_run.make_context(folder, 'again', **changes)
  evaluate.run(context, workdir / 'models/rl')
  expected = _files(folder / 'run')
  assert _files(workdir) | {'results.json': ''} == expected | {
    'results.json': ''
  }
  results = (
    json.loads(f['results.json'])['sets'] for f in (_files(workdir), expected)
  )
  assert next(results) == next(results)
  # Nothing that was there was sampled again.
  added = path.read_bytes()[len(kept) :]
  assert added.count(b'"text"') == 66 - kept.count(b'\n')


DYING = """
import os, pathlib, signal
import small_run
from k15.generation import journal
from k15.stages import evaluate
from k15.stages import held_out

def dies_after_five(self, ask, written, add=journal.Journal.add_response):
  add(self, ask, written)
  if len(self._responses) == 5:
    os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.add_response = dies_after_five
folder = pathlib.Path({folder!r})
context = small_run.make_context(folder, 'killed', **{changes!r})
held_out.held_out(context, 'rl', folder / 'run/models/rl')
"""


def test_killed_in_the_middle_held_out_records_are_the_same(done):
  """A process that is gone between two responses: kill -9."""
  folder, changes, _ = done
  changes = changes | dict(evaluation__samples=3)
  code = DYING.format(folder=str(folder), changes=changes)
  paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'support')])
  env = os.environ | dict(JAX_NUM_CPU_DEVICES='8', PYTHONPATH=paths)
  killed = subprocess.run([sys.executable, '-c', code], env=env)
  assert killed.returncode == -signal.SIGKILL

  def records(name):
    context = small_run.make_context(folder, name, **changes)
    model = folder / 'run/models/rl'
    found = held_out.held_out(context, 'rl', model)
    (journal,) = (context.workdir / 'evaluation/held_out').glob('journal-*')
    return found, files.read_jsonl(journal)

  (own, lines), (expected, whole) = records('killed'), records('whole')
  assert own == expected and len(own) == 4 * 3
  # No response and no verdict is there twice.
  assert len(lines) == len(whole) == 2 * 12
  names = [(x['key'], x['sample'], 'judge' in x) for x in lines]
  assert len(set(names)) == 24


def test_asked_to_stop_it_keeps_what_it_has(done):
  folder, changes, _ = done
  context = small_run.make_context(folder, 'stopped', **changes)
  context.stop.set()
  with pytest.raises(
    context_lib.Interrupted, match='what was sampled is saved'
  ):
    evaluate.run(context, folder / 'run')
  assert _journal(context.workdir).read_bytes().count(b'"text"') == 1
  assert not (context.workdir / 'evaluation/results.json').exists()


def test_more_samples_and_other_answers_cost_what_is_new(done, tmp_path):
  folder, changes, _ = done
  workdir = folder / 'more'
  shutil.copytree(folder / 'run', workdir)
  path = _journal(workdir)
  before = path.read_bytes()
  context = small_run.make_context(
    folder, 'more', **changes | dict(evaluation__samples=3)
  )
  evaluate.run(context, workdir / 'models/rl')
  added = path.read_bytes()[len(before) :]
  assert added.count(b'"text"') == added.count(b'"verdict"') == 33
  records = files.read_jsonl(workdir / 'evaluation/sums.jsonl')
  old = files.read_jsonl(folder / 'run/evaluation/sums.jsonl')
  assert [r for r in records if r['sample'] < 2] == old
  # Another answer: judged again, not sampled again.
  before = path.read_bytes()
  few = folder / 'few.jsonl'
  text = few.read_text()
  few.write_text(text.replace('"answer": "3"', '"answer": "4"'))
  context = small_run.make_context(
    folder, 'more', **changes | dict(evaluation__samples=3)
  )
  evaluate.run(context, workdir / 'models/rl')
  few.write_text(text)
  added = path.read_bytes()[len(before) :]
  assert (added.count(b'"text"'), added.count(b'"verdict"')) == (0, 3)


def _again(done, name, **more):
  """The same workdir once more, some keys changed; the journals' lines."""
  folder, changes, _ = done
  workdir = folder / name
  if not workdir.exists():
    shutil.copytree(folder / 'run', workdir)
  context = small_run.make_context(folder, name, **changes | more)
  evaluate.run(context, folder / 'run')
  journals = (workdir / 'evaluation').glob('journal-*.jsonl')
  return [line for path in journals for line in files.read_jsonl(path)]


def test_what_decides_a_verdict_or_a_response_is_in_the_journal(done):
  before = files.read_jsonl(_journal(done[0] / 'run'))
  assert _again(done, 'same') == before
  # Another marker of answers: all is judged again, and nothing sampled.
  judged = _again(done, 'judged', task__answer_marker='=')
  assert [x for x in judged if 'text' in x] == [
    x for x in before if 'text' in x
  ]
  assert len(judged) == len(before) + 66
  # As the stage of a workdir whose config is another one would not notice.
  lengths = dict(rollout__max_length=12, rollout__token_budget=6)
  for name, more in (('shorter', lengths), ('loops', _LOOPS)):
    lines = _again(done, name, **more)
    assert sum('text' in x for x in lines) == 132, name


_LOOPS = dict(rollout__repetition_count=2)


def test_verdicts_of_a_judge_that_is_down_are_not_kept(done, monkeypatch):
  folder, changes, _ = done
  context = small_run.make_context(folder, 'down', **changes)
  down = lambda *_: Verdict('error', 'service: away')  # noqa: E731
  make = judges.make_judges
  monkeypatch.setattr(
    judges, 'make_judges', lambda c, names, *_: dict.fromkeys(names, down)
  )
  with pytest.raises(scoring.Failed, match='evaluate: all 66 verdicts are'):
    evaluate.run(context, folder / 'run')
  assert b'"verdict"' not in _journal(context.workdir).read_bytes()
  monkeypatch.setattr(judges, 'make_judges', make)
  evaluate.run(context, folder / 'run')
  names = ('sums.jsonl', 'few.jsonl')
  own, expected = _files(context.workdir), _files(folder / 'run')
  assert [own[n] for n in names] == [expected[n] for n in names]
