"""What a resumed run may change, and what has changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from k15.config import keys
from k15.config import stages


def to_json(config: ConfigDict) -> dict[str, Any]:
  """The config as nested dicts JSON can hold, in the order of the keys."""

  def plain(value):
    if keys.is_group(value):
      return {key: plain(value[key]) for key in sorted(value)}
    return list(value) if isinstance(value, tuple) else value

  return plain(config)


def differences(
  old_json: Mapping[str, Any], config: ConfigDict
) -> dict[str, str]:
  """What changed since `to_json` made old_json: key -> 'key: old -> new'."""
  old, new = map(keys.leaves, (old_json, to_json(config)))
  return {
    key: f'{key}: {old.get(key, "(none)")} -> {new.get(key, "(none)")}'
    for key in sorted(old | new)
    if key not in old or key not in new or old[key] != new[key]
  }


def refuse_changes(
  old_json: Mapping[str, Any],
  config: ConfigDict,
  begun: Sequence[str] = tuple(stages.STAGES),
) -> list[str]:
  """The differences of a resumed run, 'key: old -> new', all allowed.

  Args:
    old_json: `to_json` of the run's config.
    config: the one it is to go on with.
    begun: the stages that have begun, in their order.

  Raises:
    ConfigError: a key changed that is not free, and that a stage which has
      begun reads; or such a stage would lose its place.
  """
  changes = differences(old_json, config)
  # 'evaluate' begins anew with every model.
  kept = [stage for stage in config.stages if stage != 'evaluate']
  keeps_places = kept[: len(begun)] == [*begun]
  fixed = [
    change
    for key, change in changes.items()
    if not (keeps_places if key == 'stages' else _is_free(key, begun))
  ]
  keys.refuse(
    fixed,
    f'a resumed run cannot change {"; ".join(fixed)}: take this back or choose '
    'another workdir',
  )
  return list(changes.values())


def _is_free(key, begun):
  """Of older versions there may be keys that have no row any more."""
  row, group = keys.KEYS.get(key), key.rpartition('.')[0]
  if (row and row.free) or group in keys.FREE_GROUPS:
    return True
  return not stages.may_read(group, begun)
