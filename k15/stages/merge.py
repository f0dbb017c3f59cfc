"""Long2short by merging, Kimi k1.5, 2.4: the mean of two models on disk."""

import pathlib

from k15.checkpoints import merging
from k15.checkpoints import models
from k15.devices import hosts
from k15.runtime.context import Context


def merge(
  context: Context, source: pathlib.Path, directory: pathlib.Path
) -> None:
  """The mean of the model at `source` and the config's short one."""
  config = context.config.long2short
  if hosts.is_first():
    merging.merge(
      directory,
      source,
      models.directory_of(config.short_model),
      config.short_share,
      models.Origin('merge', 1, 0),
    )
  hosts.wait(f'{directory}: merged')
