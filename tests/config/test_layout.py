"""Layouts that are refused before a device is touched, in one sentence."""

import pytest

from experiments import base
from k15.config import checks
from k15.config import keys
from k15.config import layout

KINDS = base.get_config().task.kinds


def _validate(num_devices=8, **changes):
  config = base.get_config()
  config.update_from_flattened_dict(
    {key.replace('__', '.'): value for key, value in changes.items()}
  )
  checks.validate(config, num_devices, KINDS)


def _refusal(**changes):
  with pytest.raises(keys.ConfigError) as error:
    _validate(**changes)
  return str(error.value)


def _rules(*changed):
  named = {text.partition(':')[0] for text in changed}
  kept = (
    r for r in base.get_config().mesh.rules if r.split(':')[0] not in named
  )
  return (*kept, *changed)


def test_the_rules_of_the_config_are_those_of_the_code():
  written = base.get_config().mesh.rules
  whole = tuple((name, None) for name, _ in layout.RULES)
  assert layout.parse_rules(written, whole) == layout.RULES
  assert len(written) == len(layout.RULES)


def test_rules_that_are_not_written_are_those_of_the_code():
  _validate(mesh__rules=('embed:fsdp+context',))
  rules = layout.parse_rules(('embed:', 'mlp:tensor+fsdp', 'norm:data'))
  assert dict(rules) == dict(layout.RULES) | {
    'embed': None, 'mlp': ('tensor', 'fsdp'), 'norm': 'data'
  }  # fmt: skip


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      # 64 + 256 columns of a row.
      dict(mesh__context=3),
      'mesh.context splits a row over 3 devices, which does not divide its 320'
      ' tokens, rollout.max_prompt_length 64 + rollout.max_length 256',
    ),
    (
      dict(mesh__rules=_rules('embed:fdsp')),
      "mesh.rules holds 'embed:fdsp'; a mesh has the axes data, fsdp, tensor,"
      ' context, each once',
    ),
    (dict(mesh__rules=_rules('embed:fsdp+fsdp')), 'each once'),
    (dict(mesh__rules=_rules('embde:fsdp')), "'embde' is none of batch, slots"),
    (dict(mesh__rules=_rules('embed')), "holds 'embed', and has to hold rules"),
    (
      dict(rollout__mesh_rules=('embed:', 'embed:fsdp')),
      "rollout.mesh_rules has two rules for 'embed'",
    ),
    (
      dict(rollout__mesh=(1, 2)),
      'rollout.mesh is (1, 2), and has to be (data,',
    ),
    (
      dict(mesh__fsdp=8, rollout__mesh=(2, 1, 2)),
      'rollout.mesh is (2, 1, 2), 4 devices, and has to hold the 8 of mesh',
    ),
    (
      dict(mesh__fsdp=8, rollout__mesh=(1, 1, 8)),
      'policy.num_heads is 4, not a multiple of the rollout.mesh tensor, 8',
    ),
    (
      dict(mesh__fsdp=8, rollout__mesh=(-1, 1, 3)),
      "rollout.mesh is {'data': -1, 'fsdp': 1, 'tensor': 3, 'context': 1},"
      ' whose 3 devices do not fit the 8 there are',
    ),
  ],
)
def test_refused(changes, sentence):
  assert sentence in _refusal(**changes)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(mesh__num_processes=2),
      "mesh.coordinator is '', and 2 processes need the 'host:port' of the",
    ),
    (
      dict(mesh__num_processes=2, mesh__coordinator='node-0'),
      "mesh.coordinator is 'node-0', and 2 processes need",
    ),
    (dict(mesh__num_processes=0), 'mesh.num_processes is 0, and has to be >='),
    (
      dict(mesh__num_processes=-1, rollout__workers=('node-1:9000',)),
      "rollout.workers are ('node-1:9000',), and the -1 processes of mesh",
    ),
  ],
)
def test_processes_that_cannot_meet(changes, sentence):
  assert sentence in _refusal(**changes)


def test_accepted():
  for changes in (
    dict(mesh__fsdp=8, rollout__mesh=(-1, 1, 4)),
    dict(mesh__fsdp=8, rollout__mesh_rules=('embed:',)),
    dict(mesh__num_processes=2, mesh__coordinator='node-0:8476'),
    dict(mesh__num_processes=-1),  # A pod knows its own.
    dict(mesh__context=8),  # 320 = 8 * 40
    # Slots follow the rollout's mesh alone: 12 rows over 8 devices of training.
    dict(mesh__data=8, rollout__mesh=(2, 1, 4), rollout__num_slots=12)
    | dict(rollout__prefill_batch=4),
  ):
    _validate(**changes)
