"""Programs compiled for a plan are those that a run elsewhere asks for.

On the CPU, whose processes compile for each other as they do for a TPU.
"""

import os
import pathlib
import subprocess
import sys

import pytest

_SUPPORT = pathlib.Path(__file__).resolve().parents[2] / 'support'
_BEGIN = """
import pathlib, sys
import jax
jax.config.update('jax_num_cpu_devices', 4)
import small_run
from launch.plan import cache as cache_lib
folder = pathlib.Path(sys.argv[1])
changes = dict(
  mesh__data=2, mesh__fsdp=2, reward__cut_is_wrong=False,
  rollout__token_budget=16, length_reward__weight=1.0, rl__iterations=1,
  optimizer__micro_batch_rows=4, rollout__prefill_batch=4,
)
cache = cache_lib.Cache(str(folder / 'programs'))
"""
PLAN = (
  _BEGIN
  + """
import types
from launch.plan import __main__ as plan
from launch.plan import programs
config = small_run.make_config(folder, **changes)
run = programs.make_run(config, jax.devices())
uses = list(plan._uses(run, types.SimpleNamespace(hbm_bytes=1 << 30)))
uses += programs.compile_shorter(run)
print(cache.made, cache.found)
"""
)
RUN = (
  _BEGIN
  + """
from k15.runtime import weights
from k15.stages.rl import loop
context = small_run.make_context(folder, **changes)
loop.train(context, lambda: weights.init_params(context.layout, 0))
"""
)
# Of jitted functions, as the cache names them.
OF_A_RUN = {'jit_step', 'jit_logprobs', 'jit_prefill', 'jit_insert',
            'jit_generate', 'jit_free', 'jit_init_decode_state'}  # fmt: skip


def _python(code, folder):
  environment = os.environ | dict(
    PYTHONPATH=os.pathsep.join([str(_SUPPORT), str(_SUPPORT.parents[1])])
  )
  done = subprocess.run(
    [sys.executable, '-c', code, str(folder)],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  return done.stdout


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('plan')


def _names(folder):
  """What of the cache is of a function that a run is made of."""
  files = (folder / 'programs').glob('*-cache')
  return {f.name for f in files if f.name.rsplit('-', 2)[0] in OF_A_RUN}


def test_a_run_compiles_none_of_the_planned_programs_again(folder):
  made, found = map(int, _python(PLAN, folder).split())
  assert made >= len(OF_A_RUN) and not found
  before = _names(folder)
  assert {name.rsplit('-', 2)[0] for name in before} == OF_A_RUN
  _python(RUN, folder)
  assert _names(folder) == before
