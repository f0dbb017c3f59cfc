"""What a resumed run may change, and what has changed since it began."""

import copy
import json

import pytest

from experiments import base
from k15.config import keys
from k15.config import resume


def _config(**changes):
  """Defaults with some keys changed; '__' stands for the dot."""
  config = base.get_config()
  flat = {key.replace('__', '.'): value for key, value in changes.items()}
  config.update_from_flattened_dict(flat)
  return config


def test_json_round_trip_has_no_differences():
  config = base.get_config()
  written = json.loads(json.dumps(resume.to_json(config)))
  assert resume.differences(written, config) == {}
  assert written['stages'] == ['sft', 'rl']
  assert list(written) == sorted(written)


def test_a_resumed_run_may_change_some_keys():
  old = resume.to_json(base.get_config())
  free = _config(rl__iterations=80, saving__keep=3, mesh__data=-1)
  assert resume.refuse_changes(old, free) == [
    'mesh.data: 1 -> -1',
    'rl.iterations: 60 -> 80',
    'saving.keep: 2 -> 3',
  ]
  mixed = _config(rl__iterations=80, loss__tau=0.4, stages=('rl',))
  with pytest.raises(keys.ConfigError) as error:
    resume.refuse_changes(old, mixed)
  assert str(error.value) == (
    "a resumed run cannot change loss.tau: 0.1 -> 0.4; stages: ['sft', 'rl'] "
    "-> ['rl']: take this back or choose another workdir"
  )


def test_keys_that_came_or_went_are_differences():
  old = copy.deepcopy(resume.to_json(base.get_config()))
  old['loss']['gone'] = old['loss'].pop('tau')
  assert resume.differences(old, base.get_config()) == {
    'loss.gone': 'loss.gone: 0.1 -> (none)',
    'loss.tau': 'loss.tau: (none) -> 0.1',
  }


def test_keys_of_older_versions_are_free_where_their_group_is():
  old = resume.to_json(base.get_config())
  old['evaluation']['gone'] = old['dpo']['gone'] = 1
  assert resume.refuse_changes(old, base.get_config(), ['sft', 'rl']) == [
    'dpo.gone: 1 -> (none)',
    'evaluation.gone: 1 -> (none)',
  ]
  with pytest.raises(keys.ConfigError, match='change dpo.gone: 1 -> '):
    resume.refuse_changes(old, base.get_config(), ['dpo'])


@pytest.mark.parametrize(
  'key',
  [
    'rl.iterations', 'sft.log_every', 'long_cot_examples.server_seconds',
    'sft.files', 'checkpoint', 'rollout.tls_key', 'rollout.silence_seconds',
    'curation.samples', 'policy.remat', 'optimizer.offload', 'mesh.rules',
  ],
)  # fmt: skip
def test_free_whatever_has_begun(key):
  old = resume.to_json(base.get_config())
  *group, name = key.split('.')
  (old[group[0]] if group else old)[name] = 'another'
  assert len(resume.refuse_changes(old, base.get_config())) == 1


@pytest.mark.parametrize(
  'key',
  [
    'seed', 'task.prompt_suffix', 'policy.d_model', 'long_cot_examples.server',
    'rollout.temperature', 'rollout.dtype', 'reward.default', 'loss.tau',
    'optimizer.learning_rate', 'sft.steps', 'tokenizer.words',
  ],
)  # fmt: skip
def test_fixed_once_all_stages_have_begun(key):
  old = resume.to_json(base.get_config())
  *group, name = key.split('.')
  (old[group[0]] if group else old)[name] = 'another'
  with pytest.raises(keys.ConfigError, match=f'cannot change {key}: '):
    resume.refuse_changes(old, base.get_config())
