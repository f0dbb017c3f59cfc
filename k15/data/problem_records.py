"""Problems as JSON holds them: those of text as before there were pictures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from k15.data_types import ImageRef, Problem


def to_record(problem: Problem) -> dict[str, Any]:
  """The fields of a problem; where there are none, not `images`."""
  record = dataclasses.asdict(problem)
  del record['images']
  return record | images_of(problem)


def images_of(problem: Problem) -> dict[str, Any]:
  """`images` of a record of a problem; of one without, nothing."""
  found = list(map(dataclasses.asdict, problem.images))
  return dict(images=found) if found else {}


def from_record(record: Mapping[str, Any]) -> Problem:
  """What `to_record` was made of."""
  images = tuple(ImageRef(**image) for image in record.get('images', ()))
  return Problem(**{**record, 'images': images})
