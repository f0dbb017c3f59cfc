"""What checks of a configuration are made of: each raises one sentence."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

_COMPARE = {
  '>': operator.gt,
  '>=': operator.ge,
  '<': operator.lt,
  '<=': operator.le,
}


class ConfigError(ValueError):
  """A configuration that cannot run; the message is one sentence."""


def check_number(key: str, value: Any, rule: str) -> None:
  """Refuses what is no finite number, or breaks a rule: '>= 0 and < 1'."""
  is_number = isinstance(value, int | float) and math.isfinite(value)
  for part in rule.split(' and '):
    sign, bound = part.split()
    holds = is_number and _COMPARE[sign](value, float(bound))
    refuse(not holds, f'{key} is {value}, and has to be {rule}')


def check_members(key: str, values: Sequence, choices: Sequence) -> None:
  """Refuses no values at all, and one that is not among the choices."""
  known = ', '.join(str(choice) or "''" for choice in choices)
  refuse(not values, f'{key} is empty; it holds some of {known}')
  for value in values:
    hint = " (a tuple is written \"('a', 'b')\")" if ',' in str(value) else ''
    refuse(
      value not in choices, f'{key}: {value!r} is not one of {known}{hint}'
    )


def refuse(condition: Any, sentence: str) -> None:
  """Raises the sentence as a `ConfigError` where the condition holds."""
  if condition:
    raise ConfigError(sentence)


def refuse_above(get: Callable[[str], Any], low: str, high: str) -> None:
  """Refuses a key whose value is above another's."""
  refuse(
    get(low) > get(high), f'{low} is {get(low)}, above {high}, {get(high)}'
  )


def refuse_equal_or_above(
  get: Callable[[str], Any], low: str, high: str
) -> None:
  """Refuses a key whose value is not below another's."""
  refuse(
    get(low) >= get(high),
    f'{low} is {get(low)}, not below {high}, {get(high)}',
  )
