"""Further cases of what a test has tried: with `make test ARGS=--thorough`.

Each is of the same code by the same path, in another shape or another way.
"""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

MARK = pytest.mark.thorough


def after(cases: Sequence[Any], count: int = 1, whole: bool = False):
  """The first cases as they are, the others marked.

  A tuple has a value of each argument, unless it is one, as a whole.
  """
  return [*cases[:count], *(_marked(case, whole) for case in cases[count:])]


def but(cases: Sequence[Any], always: Collection[Any], whole: bool = False):
  """All cases, marked but for those that run always."""
  return [case if case in always else _marked(case, whole) for case in cases]


def _marked(case, whole):
  values = case if isinstance(case, tuple) and not whole else (case,)
  return pytest.param(*values, marks=MARK)
