"""Eight CPU devices for every test: a mesh needs no accelerator.

Computations that name no mesh stay on the first.
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Public data sets, if they lie beside the repository; see
# benchmarks/public_data.py.
os.environ.setdefault('K15_DATA', str(ROOT.parent / 'shared' / 'data'))
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402  (the platform is chosen first)
import pytest  # noqa: E402

from k15.rewards import sandbox  # noqa: E402
from k15.rewards import sandbox_rungs  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)


@pytest.fixture(scope='module')
def pool():
  """A sandbox with two workers; skips where this machine holds none."""
  try:
    with sandbox.Pool(workers=2) as pool:
      yield pool
  except sandbox_rungs.SandboxError as error:
    pytest.skip(str(error))
