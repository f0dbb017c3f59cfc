"""A work unit on its way to a cloud, for tests."""

import dataclasses

from k15.config import keys
from launch.cloud import works
from launch.units import sweep

CLOUD = works.Cloud(
  project='p',
  location='us-east5',
  bucket='gs://b-1/rl',
  topology='v5p:4x4x4',
  image='registry/k15:1',
)
CONFIG = 'experiments/pod.py:qwen25_7b_32k'


def make_cloud(**changes) -> works.Cloud:
  return dataclasses.replace(CLOUD, **changes)


def settings(**overrides) -> dict:
  """Values of the config by dotted key; 'mesh__fsdp' is mesh.fsdp."""
  changed = {key.replace('__', '.'): value for key, value in overrides.items()}
  return keys.leaves(sweep.load_config(CONFIG, changed))


def make_work(cloud=CLOUD, **overrides) -> works.Work:
  changed = {key.replace('__', '.'): value for key, value in overrides.items()}
  unit = sweep.Unit('tau=0.4,seed=3', {'loss.tau': 0.4, 'seed': 3, **changed})
  values = keys.leaves(sweep.load_config(CONFIG, unit.overrides))
  return works.make_work(cloud, CONFIG, unit, values)
