"""A plan so small that its programs compile in seconds."""

import importlib.util
import platform

import pytest

from experiments import base
from launch.plan import __main__ as plan
from launch.plan import programs

# Where it could be installed and is not, tests fail.
needs_libtpu = pytest.mark.skipif(
  (platform.system(), platform.machine()) != ('Linux', 'x86_64')
  and importlib.util.find_spec('libtpu') is None,
  reason='libtpu, the compiler for TPUs, comes for Linux on x86-64 only',
)


def tiny_config():
  """Two layers and 256 columns, whose rows two chips share."""
  config = base.get_config()
  base.smoke(config)
  config.policy.update(
    num_layers=2, num_kv_heads=2, dtype='bfloat16', scan_layers=True,
    remat='full', attention='splash', cache_block=128, logprob_chunk=64,
  )  # fmt: skip
  config.mesh.update(fsdp=2, context=2)
  config.rl.update(
    problems_per_iteration=4, group_size=2, updates_per_iteration=2
  )
  config.rollout.update(
    mesh=(2, 1, 2), num_slots=4, prefill_batch=2, max_prompt_length=64,
    max_length=192, token_budget=96, tokens_per_call=32,
  )  # fmt: skip
  config.optimizer.micro_batch_rows = 2
  return config


def use(peak, limit=100, held=0, name='update'):
  program = programs.Compiled(name, arguments=peak)
  return plan.Use(program, held, limit)
