"""A stage knows what it began with."""

import json

import pytest
import small_run

from experiments import base
from k15 import config_changes
from k15 import config_rules
from k15 import models
from k15 import recipe
from k15 import stage_inputs

SFT = dict(stages=('sft',), sft__steps=2)


def test_a_run_may_be_given_further_stages_and_their_keys(tmp_path):
  context = small_run.make_context(tmp_path, **SFT)
  recipe.run(context)
  begun = stage_inputs.begun(context.workdir)
  assert begun == ['sft']
  record = json.loads((context.workdir / 'stages/sft.json').read_text())
  assert record['config']['sft']['steps'] == 2
  assert (record['source'], record['fingerprint']) == ('', '')
  old = config_changes.to_json(context.config)
  further = small_run.make_config(
    tmp_path, **SFT | dict(stages=('sft', 'rl'), loss__tau=0.4)
  )
  assert config_changes.refuse_changes(old, further, begun) == [
    'loss.tau: 0.1 -> 0.4',
    "stages: ['sft'] -> ['sft', 'rl']",
  ]
  with pytest.raises(config_rules.ConfigError, match='sft.steps: 2 -> 3'):
    further.sft.steps = 3
    config_changes.refuse_changes(old, further, begun)


def test_stages_that_have_begun_keep_their_places():
  old = config_changes.to_json(base.get_config())
  config = base.get_config()
  config.stages = ('rl',)
  with pytest.raises(config_rules.ConfigError, match="stages: .'sft', 'rl'."):
    config_changes.refuse_changes(old, config, ['sft'])
  assert config_changes.refuse_changes(old, config, []) == [
    "stages: ['sft', 'rl'] -> ['rl']"
  ]


def test_another_model_before_a_stage_is_named(tmp_path):
  both = SFT | dict(stages=('sft', 'rl'), rl__iterations=1)
  context = small_run.make_context(tmp_path, **both)
  recipe.run(context)
  recipe.run(context)  # Nothing has changed.
  longer = small_run.make_context(tmp_path, **both | dict(sft__steps=4))
  with pytest.raises(stage_inputs.Changed, match="stage 'rl' began with"):
    recipe.run(longer)


def test_fingerprints_tell_models_apart(tmp_path):
  context = small_run.make_context(tmp_path, **SFT)
  recipe.run(context)
  directory = context.workdir / 'models/sft'
  before = models.fingerprint(directory)
  assert models.fingerprint(directory) == before
  path = directory / 'model.safetensors'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  assert models.fingerprint(directory) != before
