"""Problems as JSON holds them: those of text as before there were pictures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from k15.data_types import ImageRef, Problem


def to_record(problem: Problem) -> dict[str, Any]:
  """The fields of a problem; where there are none, not `images`."""
  record = dataclasses.asdict(problem)
  if not problem.images:
    del record['images']
  return record


def from_record(record: Mapping[str, Any]) -> Problem:
  """What `to_record` was made of."""
  images = tuple(ImageRef(**image) for image in record.get('images', ()))
  return Problem(**{**record, 'images': images})
