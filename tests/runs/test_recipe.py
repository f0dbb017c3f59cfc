"""Stages in order, none twice, and numbers of the state they are of."""

import json

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.runtime import context as context_lib
from k15.runtime import weights

# One iteration, in which all responses finish.
SHORT = dict(rl__iterations=1, rollout__token_budget=16)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A whole run: its folder and summary."""
  folder = tmp_path_factory.mktemp('recipe')
  context = small_run.make_context(folder, **SHORT)
  return folder, recipe.run(context)


def _files(workdir):
  names = ('metrics.jsonl', 'trajectories.jsonl', 'groups.jsonl')
  names += ('evaluation_sft.jsonl', 'evaluation_rl.jsonl')
  return {name: (workdir / name).read_bytes() for name in names}


def test_summary(done):
  folder, summary = done
  assert summary == json.loads((folder / 'run/summary.json').read_text())
  assert summary['held_out_problems'] == 4
  assert summary['seed'] == 0
  assert summary['seconds'] > 0
  for stage in ('sft', 'rl'):
    records = files.read_jsonl(folder / f'run/evaluation_{stage}.jsonl')
    assert len(records) == 4
    rewards = [record['reward'] for record in records]
    assert summary[f'accuracy_after_{stage}'] == np.mean(rewards)
    lengths = [record['length'] for record in records]
    assert summary[f'mean_tokens_after_{stage}'] == np.mean(lengths)


def test_a_finished_run_is_left_alone(done):
  folder, summary = done
  before = _files(folder / 'run')
  again = recipe.run(small_run.make_context(folder, **SHORT))
  assert again | {'seconds': 0} == summary | {'seconds': 0}
  assert _files(folder / 'run') == before


def test_a_longer_run_is_evaluated_again(done, tmp_path):
  folder, _ = done
  before = files.read_jsonl(folder / 'run/evaluation_rl.jsonl')
  context = small_run.make_context(
    folder, **SHORT | dict(rl__iterations=2, evaluation__samples=2)
  )
  recipe.run(context)
  after = files.read_jsonl(folder / 'run/evaluation_rl.jsonl')
  assert len(after) == 2 * len(before)
  assert len(files.read_jsonl(folder / 'run/evaluation_sft.jsonl')) == 8


def test_a_request_to_stop_does_not_wait_for_the_evaluation(tmp_path):
  context = small_run.make_context(tmp_path, stages=('rl',), rl__iterations=0)
  context.stop.set()
  with pytest.raises(
    context_lib.Interrupted, match='evaluate rl: what was sam'
  ):
    recipe.run(context)
  assert not (context.workdir / 'evaluation_rl.jsonl').exists()


def test_an_evaluation_that_was_cut_off_samples_nothing_twice(tmp_path):
  changes = dict(stages=('rl',), rl__iterations=0)
  recipe.run(small_run.make_context(tmp_path, **changes))
  records = tmp_path / 'run/evaluation_rl.jsonl'
  whole = records.read_bytes()
  records.unlink()
  (journal,) = (tmp_path / 'run/evaluation/held_out').glob('journal-*.jsonl')
  kept = journal.read_text().splitlines(keepends=True)[:3]
  journal.write_text(''.join(kept))  # Of 4 responses and 4 verdicts.
  recipe.run(small_run.make_context(tmp_path, **changes))
  assert records.read_bytes() == whole
  lines = journal.read_text().splitlines(keepends=True)
  assert lines[:3] == kept
  sampled = [json.loads(line) for line in lines if '"text"' in line]
  assert len(sampled) == len({record['problem_id'] for record in sampled}) == 4


def test_sets_are_asked_before_and_after(done, tmp_path):
  folder, _ = done
  path = tmp_path / 'asked.jsonl'
  rows = [dict(prompt=f'{i}+3', answer=f'{i + 3}') for i in range(6)]
  path.write_text('\n'.join(map(json.dumps, rows)))
  changes = dict(
    stages=('rl', 'evaluate'),
    rl__iterations=0,
    checkpoint=str(folder / 'run'),
    evaluation__before=True,
    evaluation__sets=(f'own:{path}',),
  )
  summary = recipe.run(small_run.make_context(tmp_path, **changes))
  # Nothing is learnt in between, and the same random numbers are drawn.
  assert summary['own_before'] == summary['own_after']
  assert summary['evaluation_before'] == summary['evaluation']
  for name in ('evaluation_before', 'evaluation'):
    records = files.read_jsonl(tmp_path / f'run/{name}/own.jsonl')
    rights = [record['verdict'] == 'correct' for record in records]
    assert len(rights) == 6
    assert summary['own_after'] == np.mean(rights)


def test_parts_of_the_held_out_problems(tmp_path):
  changes = dict(
    stages=('rl',),
    task__name='word_problems',
    task__train_problems=8,
    task__held_out_problems=4,
    task__max_steps=1,
    task__max_distractors=0,
    rollout__max_prompt_length=256,
    sft__num_examples=4,
    rl__iterations=0,
  )
  context = small_run.make_context(tmp_path, **changes)
  parts = recipe.run(context)['parts_after_rl']
  assert {k: p['problems'] for k, p in parts.items()} == dict(
    seen_templates=3, new_templates=1
  )


def test_rl_alone_starts_from_random_weights(tmp_path):
  context = small_run.make_context(tmp_path, stages=('rl',), rl__iterations=1)
  summary = recipe.run(context)
  assert 'accuracy_after_sft' not in summary
  assert 0 <= summary['accuracy_after_rl'] <= 1
  assert (context.workdir / 'report.html').exists()


def test_random_weights_lie_over_the_mesh(tmp_path):
  context = small_run.make_context(
    tmp_path, mesh__fsdp=2, rollout__prefill_batch=2
  )
  params = weights.load_params(context, None)
  specs = {str(x.sharding.spec) for x in jax.tree.leaves(params)}
  assert any('fsdp' in spec for spec in specs)
