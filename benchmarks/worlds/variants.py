"""A diagram thinned out, or of worlds that are like one's own."""

import dataclasses
from collections.abc import Sequence

from benchmarks.worlds.diagrams import Diagram
from benchmarks.worlds.diagrams import Place


def thinned(diagram: Diagram) -> Diagram:
  """The first place of each series, the one in the middle, and the last."""
  kept = [
    place
    for some in _by_series(diagram)
    for place in dict.fromkeys((some[0], some[len(some) // 2], some[-1]))
  ]
  return dataclasses.replace(diagram, places=kept)


def changed(diagram: Diagram, settings: Sequence[str]) -> Diagram:
  """The diagram with other numbers at all of its places.

  Series that these numbers told apart are then drawn alike.

  Args:
    settings: of fields of `World` and `Nature`, such as 'drawn=128' or
      'easy=0.3,0.8'.

  Raises:
    ValueError: there is no such field, the axis hangs on it, or the number is
      none or does not fit the others.
  """
  numbers = {}
  for setting in settings:
    key, _, text = setting.partition('=')
    if any(len({_of(p).get(key) for p in s}) > 1 for s in _by_series(diagram)):
      raise ValueError(f'{key}: the places of a line differ in it')
    if key in diagram.fixed:
      raise ValueError(f'{key}: the axis is computed from it')
    like = _of(diagram.places[0])
    if key not in like:
      raise ValueError(f'no {key!r}; there are {", ".join(like)}')
    numbers[key] = _number(setting, text, type(like[key]))
  places = [_changed(place, numbers) for place in diagram.places]
  return dataclasses.replace(diagram, places=places)


def _by_series(diagram):
  by_series = {}
  for place in diagram.places:
    by_series.setdefault(place.series, []).append(place)
  return by_series.values()


def _of(place):
  """All numbers of a place, by field."""
  return dataclasses.asdict(place.world) | place.nature._asdict()


def _number(setting, text, kind):
  try:
    if kind is tuple:
      low, high = map(float, text.split(','))
      return low, high
    return kind(text)
  except ValueError:
    wanted = 'two numbers' if kind is tuple else f'of type {kind.__name__}'
    raise ValueError(f'{setting!r}: what is set has to be {wanted}') from None


def _changed(place: Place, numbers) -> Place:
  of_nature = {k: v for k, v in numbers.items() if k in place.nature._fields}
  of_world = {k: v for k, v in numbers.items() if k not in of_nature}
  return dataclasses.replace(
    place,
    world=dataclasses.replace(place.world, **of_world),
    nature=place.nature._replace(**of_nature),
  )
