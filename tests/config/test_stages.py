"""Rows fit pages and keys; a new stage is a row, a page and a group of keys."""

import functools
import json

import pytest
import small_run

from experiments import base
from k15 import recipe
from k15 import streams
from k15.config import checks
from k15.config import keys as keys_lib
from k15.config import resume
from k15.config import stages as stages_lib
from k15.runtime import weights
from k15.stages import kinds
from k15.stages import sft

NEW = dict(stages=('sft', 'again'), sft__steps=2, evaluation__samples=1)


def test_what_the_rows_say_is_there():
  config = base.get_config()
  for stage, row in stages_lib.STAGES.items():
    assert row.kind in kinds.TRAIN or not row.curves, stage
    assert bool(row.curves) == bool(row.title) == bool(row.done), stage
    assert all(key in config[stage] for key in row.done), stage
    assert all(group in config for group in row.reads), stage


@pytest.mark.parametrize(
  ('stage', 'changes', 'total'),
  [
    ('sft', {}, 1500),
    ('sft', {'sft.epochs': 2}, 2),
    ('sft', {'sft.steps': 0}, 0),
    ('long_cot', {}, 2),
    ('rl', {'rl.iterations': 7}, 7),
    ('dpo', {}, 100),
    ('merge', {}, 1),
  ],
)
def test_when_a_stage_is_done(stage, changes, total):
  config = base.get_config()
  config.update_from_flattened_dict(changes)
  assert stages_lib.total(config, stage) == total


@pytest.mark.parametrize(
  ('group', 'stages', 'expected'),
  [
    ('rl', ('short_rl',), True),
    ('length_reward', ('short_rl',), False),
    ('sft', ('sft_long',), True),  # sft.num_examples
    ('sft_long', ('sft',), False),
    ('reward_model', ('sft', 'merge'), False),
    ('policy', (), True),  # Named by no row.
  ],
)
def test_who_reads_a_group(group, stages, expected):
  assert stages_lib.may_read(group, stages) == expected


@pytest.fixture
def with_a_new_stage(monkeypatch):
  """A row after 'sft', rows of its keys, a function, and a random stream."""
  row = stages_lib.Stage(
    'again', 'sft', 'Once more', ('steps',), ('again',), 199
  )
  rows = {}
  for stage, other in stages_lib.STAGES.items():
    rows |= {stage: other} | ({'again': row} if stage == 'sft' else {})
  keys = keys_lib.KEYS | keys_lib.supervised('again')
  monkeypatch.setattr(stages_lib, 'STAGES', rows)
  monkeypatch.setattr(keys_lib, 'KEYS', keys)
  monkeypatch.setitem(streams.NUMBERS, 'again', row.stream)
  monkeypatch.setitem(
    kinds.TRAIN,
    'again',
    lambda c, stage, model: sft.train(
      c, functools.partial(weights.load_params, c, model), stage
    ),
  )
  group = base.get_config().sft.to_dict()
  del group['num_examples']
  group.update(optimizer='adam', steps=3, batch_tokens=64, warmup_steps=0)
  make = base.get_config

  def get_config():
    config = make()
    with config.unlocked():
      config.again = group
    return config

  monkeypatch.setattr(base, 'get_config', get_config)


def test_a_new_stage_is_a_row_a_page_and_a_group(with_a_new_stage, tmp_path):
  context = small_run.make_context(tmp_path, **NEW)
  config = context.config
  checks.validate(config, 8, config.task.kinds)
  text = json.dumps(resume.to_json(config))
  (context.workdir / 'config.json').write_text(text)  # As `k15.main` does.
  summary = recipe.run(context)
  assert 0 <= summary['accuracy_after_again'] <= 1
  html = (context.workdir / 'report.html').read_text()
  assert html.index('Supervised warm-up') < html.index('Once more')
  again = recipe.run(context)  # Done is done.
  assert again | {'seconds': 0} == summary | {'seconds': 0}
  before = resume.to_json(config)
  config.again.learning_rate = 0.5
  assert len(resume.refuse_changes(before, config, ['sft'])) == 1
  with pytest.raises(keys_lib.ConfigError, match='again.learning_rate'):
    resume.refuse_changes(before, config, ['sft', 'again'])
  config.again.end_learning_rate = 0.9
  with pytest.raises(keys_lib.ConfigError, match='again.end_learning_rate'):
    checks.validate(config, 8, config.task.kinds)
