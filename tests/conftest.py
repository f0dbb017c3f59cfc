"""Eight CPU devices for every test: a mesh needs no accelerator.

Computations that name no mesh stay on the first.
"""

import os
import pathlib
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax  # noqa: E402  (the platform is chosen first)

jax.config.update('jax_num_cpu_devices', 8)
