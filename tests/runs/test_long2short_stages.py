"""The four methods as stages of one run, from a model on disk to the report."""

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import checks
from k15.config import keys as keys_lib
from k15.config import resume
from k15.rewards.verdict import Verdict
from k15.runtime import weights
from k15.stages import collection

STAGES = ('merge', 'shortest', 'dpo', 'short_rl')
SHORT = dict(
  stages=STAGES,
  rollout__token_budget=16,
  long2short__problems=26,
  long2short__samples=6,
  shortest__steps=2,
  shortest__batch_tokens=64,
  shortest__warmup_steps=1,
  dpo__steps=2,
  dpo__batch_pairs=4,
  dpo__warmup_steps=1,
  short_rl__iterations=1,
  short_rl__max_length=10,
)


def _even(response, reference):
  """Right is a text of an even number of characters."""
  return Verdict('correct' if len(response) % 2 == 0 else 'wrong')


def _run(folder, workdir, **changes):
  context = small_run.make_context(folder, workdir, **changes)
  context.scorer._judges['exact_answer'] = _even
  checks.validate(context.config, jax.device_count(), ('add',))
  return context, recipe.run(context)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A long and a short model, and all four stages from them."""
  folder = tmp_path_factory.mktemp('long2short')
  changes = dict(
    stages=('sft',), task__kinds=('add',), sft__steps=30,
    sft__learning_rate=0.03,
  )  # fmt: skip
  _run(folder, 'long', **changes)
  _run(folder, 'short', **changes | dict(seed=1))
  changes = SHORT | dict(
    task__kinds=('add',),
    checkpoint=str(folder / 'long'),
    long2short__short_model=str(folder / 'short'),
  )
  return folder, changes, *_run(folder, 'run', **changes)


def test_every_stage_leaves_a_model_and_an_evaluation(done):
  folder, _, context, summary = done
  for stage in STAGES:
    assert models.read_origin(folder / 'run/models' / stage).stage == stage
    records = files.read_jsonl(folder / f'run/evaluation_{stage}.jsonl')
    assert len(records) == 4
    assert 0 <= summary[f'accuracy_after_{stage}'] <= 1
  assert (folder / 'run/report.html').exists()


def test_a_stage_begins_with_the_model_before_it(done):
  folder, _, context, _ = done
  lines = files.read_jsonl(folder / 'run/responses.jsonl')
  keys = [line['key'] for line in lines if 'text' in line]
  # 26 problems, 6 times, of the merged model, then of the next.
  for part, stage in ((keys[:156], 'merge'), (keys[156:], 'shortest')):
    model = folder / 'run/models' / stage
    asks = collection.asks_of(context, model, context.task.train, 6)
    assert sorted(part) == sorted(ask.key for ask in asks)
  first = weights.load_params(context, folder / 'run/models/merge')
  long, short = (
    weights.load_params(context, folder / name / 'models/sft')
    for name in ('long', 'short')
  )
  jax.tree.map(
    lambda x, y, z: np.testing.assert_array_equal(x, (y + z) / 2),
    first, long, short,
  )  # fmt: skip


def test_a_finished_run_is_left_alone(done):
  folder, changes, _, summary = done
  before = (folder / 'run/metrics.jsonl').read_bytes()
  _, again = _run(folder, 'run', **changes)
  assert again | {'seconds': 0} == summary | {'seconds': 0}
  assert (folder / 'run/metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(stages=('merge',)), "short_model: no directory ''"),
    (
      dict(stages=('merge',), long2short__short_model='.'),
      "stage 'merge' needs a long-CoT model",
    ),
    (
      dict(stages=('short_rl',), short_rl__max_length=17),
      'short_rl.max_length is 17, above rollout.max_length, 16',
    ),
    (
      dict(stages=('short_rl',), short_rl__candidates=('nowhere',)),
      "short_rl.candidates: no directory 'nowhere'",
    ),
    (
      dict(stages=('dpo',), dpo__steps=1, dpo__warmup_steps=1),
      'dpo.warmup_steps is 1, and has to be < dpo.steps, 1',
    ),
    (
      dict(stages=('shortest',), shortest__batch_tokens=31),
      'shortest.batch_tokens is 31, less than one row',
    ),
    (dict(long2short__longer=1.0), 'long2short.longer is 1.0, and has to be'),
  ],
)
def test_what_cannot_run(tmp_path, changes, message):
  changes = dict(short_rl__max_length=16) | changes
  config = small_run.make_config(tmp_path, **changes)
  with pytest.raises(keys_lib.ConfigError, match=message):
    checks.validate(config, 1, config.task.kinds)


def test_keys_of_stages_that_have_not_begun_may_change(tmp_path):
  config = small_run.make_config(tmp_path)
  before = resume.to_json(config)
  config.dpo.beta, config.long2short.samples = 0.2, 4
  assert len(resume.refuse_changes(before, config, ['sft', 'rl'])) == 2
  with pytest.raises(keys_lib.ConfigError, match='dpo.beta: 0.1 -> 0.2'):
    resume.refuse_changes(before, config, ['dpo'])
