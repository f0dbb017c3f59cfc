"""A work unit on its way to a cloud, for tests."""

import dataclasses

from k15 import config_keys
from launch import cloud as cloud_lib
from launch import sweep

CLOUD = cloud_lib.Cloud(
  project='p',
  location='us-east5',
  bucket='gs://b-1/rl',
  topology='v5p:4x4x4',
  image='registry/k15:1',
)
CONFIG = 'experiments/pod.py:qwen25_7b_32k'


def make_cloud(**changes) -> cloud_lib.Cloud:
  return dataclasses.replace(CLOUD, **changes)


def settings(**overrides) -> dict:
  """Values of the config by dotted key; 'mesh__fsdp' is mesh.fsdp."""
  changed = {key.replace('__', '.'): value for key, value in overrides.items()}
  return config_keys.leaves(sweep.load_config(CONFIG, changed))


def make_work(cloud=CLOUD, **overrides) -> cloud_lib.Work:
  changed = {key.replace('__', '.'): value for key, value in overrides.items()}
  unit = sweep.Unit('tau=0.4,seed=3', {'loss.tau': 0.4, 'seed': 3, **changed})
  values = config_keys.leaves(sweep.load_config(CONFIG, unit.overrides))
  return cloud_lib.make_work(cloud, CONFIG, unit, values)
