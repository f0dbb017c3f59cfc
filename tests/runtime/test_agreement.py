"""Texts are found beside their pictures, and answers compared by level."""

import math
import types

from experiments import base
from k15.data_types import ImageRef, Problem
from k15.runtime import agreement


def problem(name, level=None):
  if level is None:
    return Problem(name, name, '2', 'add')
  image = ImageRef('d', 8, 8, f'rendered text, level {level}')
  return Problem(
    f'image:{name}', 'solve the picture', '2', 'image add', images=(image,)
  )


def record(name, response, stop='eos'):
  right = response.endswith('#### 2')
  return dict(
    problem_id=name, prompt='', response=response, stop=stop, accuracy=right
  )


def context_of(*held_out):
  task = types.SimpleNamespace(held_out=held_out, opening=lambda prompt: '')
  return types.SimpleNamespace(config=base.get_config(), task=task)


def test_answers_are_compared_in_pairs_and_by_level():
  context = context_of(
    problem('1+1'), problem('1+1', 0), problem('2+0'), problem('2+0', 2),
    problem('0+2', 2), problem('3-1'),
  )  # fmt: skip
  found = agreement.of_records(
    context,
    [
      record('1+1', 'so\n#### 2'), record('image:1+1', 'see 1+1\n#### 2'),
      record('2+0', '#### 2'), record('image:2+0', '#### 20'),
      # Its text was not asked; and this one has no picture.
      record('image:0+2', '#### 2'), record('3-1', '#### 2'),
    ],
  )  # fmt: skip
  assert list(found) == ['all', 'level 0', 'level 2']
  assert [part['pairs'] for part in found.values()] == [2, 1, 1]
  values = {part: m['agreement']['value'] for part, m in found.items()}
  assert values == {'all': 0.5, 'level 0': 1, 'level 2': 0}
  assert found['all']['gap']['value'] == 0.5


def test_a_response_that_was_cut_has_no_answer():
  context = context_of(problem('1+1'), problem('1+1', 0))
  records = [
    record('1+1', '#### 2'),
    record('image:1+1', '#### 2', 'max_length'),
  ]
  assert agreement.of_records(context, records)['all']['agreement'][
    'value'
  ] == 0  # fmt: skip


def test_a_curve_has_accuracies_and_agreement():
  held_out = (
    problem('1+1'),
    problem('1+1', 0),
    problem('2+0'),
    problem('2+0', 2),
  )
  picture = dict(images=['d'], domain='image add')
  records = [
    record('1+1', '#### 2'), record('image:1+1', '#### 2') | picture,
    record('2+0', '#### 20'), record('image:2+0', '#### 20') | picture,
  ]  # fmt: skip
  context = context_of(*held_out)
  assert agreement.on_the_way(context, records) == dict(
    accuracy_texts=0.5, accuracy_pictures=0.5, agreement=1.0,
    agreement_given_text=1.0, **{'pictures_image add': 0.5},
  )  # fmt: skip
  assert agreement.on_the_way(context, records[::2]) == {}
  # Where no text is right, nothing can be said of those that are.
  found = agreement.on_the_way(context_of(*held_out[2:]), records[2:])
  assert found['agreement'] == 1 and math.isnan(found['agreement_given_text'])


def test_without_pairs_there_is_nothing_to_say():
  context = context_of(problem('1+1'))
  assert agreement.of_records(context, [record('1+1', '#### 2')]) == {}
