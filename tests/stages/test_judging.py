"""A run that trains a reward model, and RL that learns from what it says."""

import json

import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import resume
from k15.data import answer_pairs
from k15.data_types import StopReason
from k15.runtime import model_judges
from k15.stages import judging
from k15.stages.rl import metrics

CHANGES = dict(
  stages=('sft', 'classic_rm', 'rl'),
  reward__default='classic_rm',
  reward__truth='exact_answer',
  reward_model__kinds=('fraction',),
  reward_model__pairs=32,
  reward_model__held_out=4,
  reward_model__max_prompt_length=96,
  reward_model__max_length=96,
  classic_rm__steps=2,
  classic_rm__warmup_steps=0,
  classic_rm__batch_tokens=192,
  cot_rm__steps=2,
  cot_rm__warmup_steps=0,
  cot_rm__row_tokens=192,
  cot_rm__batch_tokens=384,
)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  context = small_run.make_context(tmp_path_factory.mktemp('run'), **CHANGES)
  text = json.dumps(resume.to_json(context.config))
  (context.workdir / 'config.json').write_text(text)  # As `k15.main` does.
  return context, recipe.run(context)


def test_the_reward_model_is_measured_and_the_policy_goes_on(run):
  context, summary = run
  records = files.read_jsonl(context.workdir / 'judged_classic_rm.jsonl')
  assert len(records) == 4
  right = [r['is_correct'] == (r['verdict'] == 'correct') for r in records]
  assert summary['accuracy_of_classic_rm'] == sum(right) / 4
  assert 'accuracy_after_classic_rm' not in summary  # It answers nothing.
  # RL began with the model of SFT, and the run's last model is RL's.
  record = json.loads((context.workdir / 'stages' / 'rl.json').read_text())
  assert record['source'].endswith('models/sft')
  last = models.directory_of(context.workdir)
  assert last.name == 'rl'


def test_too_few_pairs_are_told_before_the_first_stage(tmp_path, monkeypatch):
  monkeypatch.setattr(answer_pairs, '_DRAWS_IN_VAIN', 100)
  changes = CHANGES | dict(reward_model__held_out=40000)
  context = small_run.make_context(tmp_path, **changes)
  with pytest.raises(ValueError, match=r'only \d+ of 40000 distinct pairs'):
    recipe.run(context)
  assert not (tmp_path / 'models').exists()


def test_what_the_rule_says_is_beside_what_the_model_says(run):
  context, _ = run
  groups = files.read_jsonl(context.workdir / 'groups.jsonl')
  assert groups and all(
    len(g['truths']) == len(g['rewards']) == 2 for g in groups
  )
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  rows = [row for row in rows if 'reward/truth' in row]
  for row in rows:
    # What the model takes for right is what is right, and what deceives it,
    # without what it takes for wrong.
    assert row['reward/accuracy'] == pytest.approx(
      row['reward/truth']
      + row['reward/false_positive']
      - row['reward/false_negative']
    )
  html = (context.workdir / 'report.html').read_text()
  assert 'Classic reward model' in html
  assert 'The reward model beside the rule' in html


def test_done_is_done(run, monkeypatch):
  context, summary = run
  monkeypatch.setattr(model_judges, 'load', None)  # Nobody is asked again.
  assert recipe.run(context) | dict(seconds=0) == summary | dict(seconds=0)


def test_a_chain_of_thought_model_is_trained_as_text(tmp_path):
  context = small_run.make_context(
    tmp_path,
    **CHANGES | dict(stages=('cot_rm',), reward__default='exact_answer'),
  )
  summary = recipe.run(context)
  assert summary['error_of_cot_rm'] == 1  # Two steps teach no form.
  assert (tmp_path / 'run/models/cot_rm/config.json').is_file()
  rows = files.read_jsonl(tmp_path / 'run/metrics.jsonl')
  assert {row['stage'] for row in rows} == {'cot_rm'}


def test_a_row_of_tokens_by_hand(tmp_path):
  context = small_run.make_context(tmp_path, **CHANGES)
  pair = answer_pairs.Pair('fraction', 'q', '3/4', '6/8', True, '2*4=8')
  long = answer_pairs.Pair('fraction', 'q', '3/4', '6/8', True, '2*4=8' * 50)
  bare = answer_pairs.Pair('fraction', 'q', '3/4', '6/8', True, '')
  [(prompt, response, _)], left_out = judging.token_pairs(
    context, [pair, long, bare]
  )
  decode = context.task.tokenizer.decode
  assert decode(prompt).endswith('response: "6/8"\n')
  assert decode(response) == '2*4=8\n</think>{"correct": true}'
  assert response[-1] == context.task.tokenizer.eos_id
  assert left_out == 2
  assert len(judging.labelled(context, [pair, bare])) == 2


def test_shares_by_hand():
  records = [
    dict(is_correct=label, verdict=kind)
    for label, kind in (
      (True, 'correct'), (True, 'wrong'), (False, 'correct'), (False, 'error'),
    )
  ]  # fmt: skip
  assert judging.shares_of(records) == dict(
    accuracy=0.25, false_positive=0.25, error=0.25
  )


def test_false_positives_by_hand():
  group = small_run.make_group(0, [1, 1, 0, 0], [4, 4, 4, 4])
  said = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, None)]
  parts = [
    dict(accuracy=model) | ({} if rule is None else dict(truth=rule))
    for model, rule in said
  ]
  trajectories = tuple(
    t.__class__(
      t.group_id, t.problem_id, t.sample_index, t.segments, StopReason.EOS,
      t.reward, part,
    )
    for t, part in zip(group.trajectories, parts, strict=True)
  )  # fmt: skip
  group = group.__class__(0, group.problem, trajectories)
  values = metrics.of_groups([group])
  # Of the three that the rule has judged.
  assert values['reward/false_positive'] == pytest.approx(1 / 3)
  assert values['reward/false_negative'] == pytest.approx(1 / 3)
  assert values['reward/truth'] == pytest.approx(2 / 3)
  assert values['reward/accuracy'] == 0.5
  [record] = metrics.group_records([group])
  assert record['truths'] == [1.0, 0.0, 1.0, None]
