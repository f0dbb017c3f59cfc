"""Fields of the JSON files of a checkpoint, each of the type it has to be.

Such files are written by many programs and by hand.  Whatever a field holds,
it is read or refused by one sentence that names file, field and value.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

_INT32_END = 1 << 31  # Positions, sizes and ids are int32.


@dataclasses.dataclass(frozen=True)
class Fields:
  """A JSON object that a file holds.

  Every method raises ValueError for a value that is not as it says.

  Attributes:
    where: the file, and the field of it that holds the object, if one does.
    values: the object.
  """

  where: str
  values: Mapping[str, Any]

  def refuse(self, key: str, wanted: str) -> ValueError:
    """The error of a field that has to be what is wanted."""
    value = self.values.get(key)
    return ValueError(
      f'{self.where}: {key} is {_short(value)}, and has to be {wanted}'
    )

  def size(self, key: str, default: int | None = None) -> int:
    """An int32 of at least 1; null stands for the default, if there is one."""
    value = self.values.get(key)
    value = default if value is None else value
    if type(value) is not int or not 1 <= value < _INT32_END:
      raise self.refuse(key, 'an int >= 1 and below 2 ** 31')
    return value

  def positive(self, key: str, default: float | None = None) -> float:
    """A finite number above 0; the default where there is no such field."""
    value = self.values.get(key, default)
    # A whole number of JSON may be larger than any float.
    is_number = type(value) is float or type(value) is int and value < 1 << 64
    if not (is_number and math.isfinite(value) and value > 0):
      raise self.refuse(key, 'a number > 0')
    return float(value)

  def flag(self, key: str, default: bool) -> bool:
    """true or false; null stands for the default."""
    value = self.values.get(key)
    value = default if value is None else value
    if type(value) is not bool:
      raise self.refuse(key, 'true or false')
    return value

  def text(self, key: str) -> str | None:
    """A text, or None for null and where there is no such field."""
    value = self.values.get(key)
    if not isinstance(value, str | None):
      raise self.refuse(key, 'a text')
    return value

  def texts(self, key: str) -> list[str]:
    """A list of texts; none for null and where there is no such field."""
    value = self.values.get(key)
    value = [] if value is None else value
    if not isinstance(value, list) or not all(type(x) is str for x in value):
      raise self.refuse(key, 'a list of texts')
    return value

  def ids(self, key: str) -> tuple[int, ...]:
    """Token ids: an int, a list of ints or null; below 0 is no id."""
    value = self.values.get(key)
    value = [] if value is None else value
    ids = value if isinstance(value, list) else [value]
    if not all(type(i) is int and i < _INT32_END for i in ids):
      raise self.refuse(key, 'an int or a list of ints, below 2 ** 31')
    return tuple(i for i in ids if i >= 0)

  def id(self, key: str) -> int | None:
    """A token id; None for null, below 0, and where there is no such field."""
    if isinstance(self.values.get(key), list):
      raise self.refuse(key, 'an int')
    return next(iter(self.ids(key)), None)

  def group(self, key: str) -> 'Fields':
    """A JSON object; an empty one for null and where there is none."""
    value = self.values.get(key)
    value = {} if value is None else value
    if not isinstance(value, dict):
      raise self.refuse(key, 'a JSON object')
    return Fields(f'{self.where}: {key}', value)


def _short(value, most=80):
  text = repr(value)
  return text if len(text) <= most else text[:most] + ' ...'
