"""What word problems are told with: templates, and words to fill them.

A story is one template that opens it, any number that go on, and one that ends
it with the question, all of one world; a value x runs through them.  Texts are
filled by names: {A}, {B} and {C} are people, {She}, {she} and {her} stand for
A, {things}, {doing} and {unit} are words of the story, {a} to {d} and {p}
numbers.
"""

import dataclasses

import numpy as np

WORLDS = ('things', 'money', 'time', 'length')
OPEN, GO_ON, END = 'open', 'go_on', 'end'


@dataclasses.dataclass(frozen=True)
class Template:
  """A part of a story.

  Attributes:
    world: one of WORLDS.
    place: OPEN, GO_ON or END.
    name: unique within world and place.
    steps: computations, 'left operation right' each.  An operand is a number,
      the letter of one that is drawn, x, the value before this template, or
      y, the result of the step before; 'p % x' is p percent of x.  The last
      result is the next x; an opening without steps makes it a.
    says: phrasings; those of END end with the question.
    why: of each step, what a worked solution says before the equation.
    ranges: letter -> (least, most) it is drawn from; p comes of PERCENTS.
    only: 'food', 'object' or a unit that the story has to be about; '': any.
    held_out: whether no problem to be trained on has it.
  """

  world: str
  place: str
  name: str
  steps: tuple[str, ...]
  says: tuple[str, ...]
  why: tuple[str, ...]
  ranges: dict[str, tuple[int, int]]
  only: str = ''
  held_out: bool = False

  @property
  def id(self) -> str:
    return f'{self.world}/{self.place}/{self.name}'


PERCENTS = (10, 20, 25, 50, 75)
_SHE = (
  'Anna', 'Clara', 'Emma', 'Grace', 'Iris', 'Kate', 'Maria', 'Olga', 'Rosa',
  'Tina',
)  # fmt: skip
_HE = (
  'Ben', 'David', 'Frank', 'Henry', 'Jack', 'Leo', 'Noah', 'Paul', 'Sam',
  'Victor',
)  # fmt: skip
_THINGS = {
  'food': (
    'apples', 'cookies', 'oranges', 'eggs', 'tomatoes', 'plums', 'muffins',
    'peaches',
  ),
  'object': (
    'pens', 'marbles', 'stickers', 'cards', 'shells', 'beads', 'buttons',
    'stamps', 'balloons', 'candles', 'postcards', 'ribbons',
  ),
}  # fmt: skip
_DOINGS = ('reading', 'drawing', 'gardening', 'chess', 'music', 'homework')
_UNITS = ('metres', 'centimetres')
# Sentences whose number {d}, of this range, has nothing to do with the answer.
DISTRACTORS = (
  ('{A} is {d} years old.', (8, 40)),
  ('{B} is {d} years older than {A}.', (2, 9)),
  ('{B} lives {d} kilometres away.', (2, 30)),
  ('{A} got up at {d} in the morning.', (5, 10)),
  ('There are {d} children in the class of {B}.', (15, 30)),
  ('It is {d} degrees outside.', (5, 30)),
  ('{A} has {d} cousins.', (2, 12)),
  ('The house of {B} has {d} windows.', (4, 20)),
  ('The bus from the station was {d} minutes late.', (3, 25)),
  ('{B} read a book of {d} pages last week.', (60, 300)),
)


@dataclasses.dataclass(frozen=True)
class Cast:
  """Who and what a story is about.

  Attributes:
    words: what names in braces stand for.
    kinds: what `Template.only` may ask for.
  """

  words: dict[str, str]
  kinds: frozenset[str]


def cast(rng: np.random.Generator) -> Cast:
  """Draws three different people, a sort of thing, a pastime and a unit."""
  names = [str(name) for name in rng.permutation(_SHE + _HE)[:3]]
  she, her = ('she', 'her') if names[0] in _SHE else ('he', 'him')
  kind = _one(rng, tuple(_THINGS))
  unit = _one(rng, _UNITS)
  words = dict(
    zip('ABC', names, strict=True),
    She=she.capitalize(),
    she=she,
    her=her,
    things=_one(rng, _THINGS[kind]),
    doing=_one(rng, _DOINGS),
    unit=unit,
  )
  return Cast(words, frozenset({'', kind, unit}))


def _one(rng, values):
  return values[int(rng.integers(len(values)))]
