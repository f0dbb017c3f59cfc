"""An answer taken apart: units, words and what is left to parse."""

import dataclasses
import functools
import re

from k15.rewards import answer_parser
from k15.rewards import answer_text

MAX_LENGTH = 1000  # characters of an answer that is looked into

# Unit -> (dimension, how many of the dimension's base unit).
UNITS = {
  'mm': ('length', 0.001), 'cm': ('length', 0.01), 'm': ('length', 1),
  'km': ('length', 1000), 'in': ('length', 0.0254), 'ft': ('length', 0.3048),
  'yd': ('length', 0.9144), 'mi': ('length', 1609.344),
}  # fmt: skip
_LETTERS = re.compile(r'(?<![\\a-zA-Z])[a-zA-Z]{2,}')
