"""Eight CPU devices for every test: a mesh needs no accelerator.

Computations that name no mesh stay on the first.
"""

import gc
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Public data sets, if they lie beside the repository; see
# benchmarks/quality/public_data.py.
os.environ.setdefault('K15_DATA', str(ROOT.parent / 'shared' / 'data'))
# A program is compiled once for all tests and the processes they start, and
# not again the next time.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR', str(ROOT / '.cache' / 'programs')
)
# Small programs that run once: LLVM's optimizations cost more than they give,
# and XLA's newer emitters of fusions compile three times as long.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
os.environ.setdefault(
  'XLA_FLAGS',
  '--xla_cpu_parallel_codegen_split_count=1 '
  '--xla_cpu_use_fusion_emitters=false',
)
# A page is compiled by the first process that reads it, not by each.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
sys.dont_write_bytecode = False
# A command compiles dozens of programs that take a few milliseconds each.
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '-1'
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402  (the platform is chosen first)
import pytest  # noqa: E402

from k15.report import figures  # noqa: E402
from k15.rewards.sandbox import pool as pool_lib  # noqa: E402
from k15.rewards.sandbox import walls  # noqa: E402

# Traced programs are many small objects that live on: to look for cycles among
# them at Python's usual 700 new ones takes a sixth of a test's time.
gc.set_threshold(100_000, 50, 50)
jax.config.update('jax_num_cpu_devices', 8)
# Begun first, the longest first: a worker takes whole pages, and one that
# began a long page last would keep the others waiting.
LONG = (
  'test_commands.py', 'test_two_processes.py', 'test_picture_stages.py',
  'test_main.py', 'test_tower.py', 'test_killed_vision.py', 'test_parts.py',
  'test_chaos.py', 'test_update_vision.py', 'test_pretrain.py', 'test_loop.py',
  'test_lora.py', 'test_geometry.py', 'test_plan_vision.py',
  'test_rollout_correction.py', 'test_long2short_stages.py',
  'test_notebooks.py', 'test_models.py', 'test_hf_vision.py', 'test_policy.py',
  'test_sft.py', 'test_sft_vision.py', 'test_inference.py', 'test_meshes.py',
)  # fmt: skip
# Where whole runs go in this process, and each would draw its report.
RUNS = ('checkpoints', 'config', 'runs', 'stages')


def pytest_addoption(parser):
  parser.addoption(
    '--thorough', action='store_true', help='further cases of what is tested'
  )


def pytest_collection_modifyitems(config, items):
  if not config.getoption('--thorough'):
    kept, left_out = [], []
    for item in items:
      (left_out if item.get_closest_marker('thorough') else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)
  places = {name: place for place, name in enumerate(LONG)}
  items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture(scope='module', autouse=True)
def compiled_alike():
  """A page that changed how programs are compiled would do so for all others.

  What they share was compiled another way, and would be compiled anew.
  """
  before = _compiled_how()
  yield
  assert _compiled_how() == before


def _compiled_how():
  config = jax.config
  is_quick = config.read('jax_disable_most_optimizations')
  return is_quick, config.jax_compilation_cache_dir


@pytest.fixture(scope='module', autouse=True)
def undrawn(request):
  """Reports of whole runs have their figures, but no pictures of them.

  tests/report draws all kinds, and `k15.main` in a process of its own all of
  a run.
  """
  with pytest.MonkeyPatch.context() as patch:
    if request.path.relative_to(ROOT / 'tests').parts[0] in RUNS:
      patch.setattr(figures, 'to_png', lambda figure, dpi=180: b'\x89PNG')
    yield


@pytest.fixture(scope='module')
def pool():
  """A sandbox with two workers; skips where this machine holds none."""
  try:
    with pool_lib.Pool(workers=2) as pool:
      yield pool
  except walls.SandboxError as error:
    pytest.skip(str(error))
