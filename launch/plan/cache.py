"""What was compiled for a plan, kept for the run: jax's compilation cache.

A program's name in the cache is made of its text, of the topology, and of the
versions of jax and libtpu, not of where it was compiled.  What is for a TPU is
read by processes that have one: here it is found by its name, and made again.
"""

import dataclasses
import warnings

import jax
from jax.experimental.compilation_cache import compilation_cache

_FOUND = '/jax/compilation_cache/cache_hits'
_MADE = '/jax/compilation_cache/cache_misses'


@dataclasses.dataclass
class Cache:
  """A folder of compiled programs, from now on in use.

  Attributes:
    directory: a path, or 'gs://...'.
    found: programs that were in it.
    made: programs that were not, and are now.
  """

  directory: str
  found: int = 0
  made: int = 0

  def __post_init__(self):
    # Small programs too: a pod waits for each of them as well.
    jax.config.update('jax_compilation_cache_dir', self.directory)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
    # libtpu's, of a program for a TPU that is not here.
    warnings.filterwarnings(
      'ignore', 'Error reading persistent compilation cache entry'
    )
    # Or the folder that was in use before stays so.
    compilation_cache.reset_cache()
    jax.monitoring.register_event_listener(self._count)

  def __str__(self) -> str:
    return (
      f'{self.directory}: {self.made} programs compiled, {self.found} found;'
      f' start the run with JAX_COMPILATION_CACHE_DIR={self.directory}'
    )

  def close(self) -> None:
    """Counts no more."""
    jax.monitoring.unregister_event_listener(self._count)

  def _count(self, name, **_):
    self.found += name == _FOUND
    self.made += name == _MADE
